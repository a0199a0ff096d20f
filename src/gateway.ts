import { isBookmark } from "./cookie/seal.ts"
import { BOOKMARK_UNFIT, type Diagnostics } from "./diagnostics.ts"
import { SessionError, StoreError } from "./errors.ts"
import type {
  Change,
  ChangeIdOptions,
  DeleteByUserOptions,
  FollowingStore,
  Gone,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "./store.ts"

const LONGEST_TIMER = 2 ** 31 - 1

/** The store as the core calls it: every operation answers in time, and fails with a `SessionError`. */
export class Gateway implements FollowingStore {
  readonly #store: SessionStore
  readonly #timeout: number
  readonly #diagnostics: Diagnostics

  constructor(store: SessionStore, timeout: number, diagnostics: Diagnostics) {
    this.#store = store
    this.#timeout = Math.min(timeout, LONGEST_TIMER)
    this.#diagnostics = diagnostics
  }

  get name(): string {
    return this.#store.name
  }

  get capabilities(): StoreCapabilities {
    return this.#store.capabilities
  }

  /** Whether the store keeps requests in step with their browser's last one by a bookmark. */
  get follows(): boolean {
    return typeof this.#store.follow === "function"
  }

  /** Whether a read that is not `fresh` may show a session as it was a while ago. */
  get mayLag(): boolean {
    return this.follows || !this.capabilities.promptRevocation
  }

  /** The store for one request: this one, if it is the same for all. */
  follow(bookmark: string | undefined): Gateway {
    if (!this.follows) return this
    try {
      const following = (this.#store as Required<SessionStore>).follow(bookmark)
      return new Gateway(following, this.#timeout, this.#diagnostics)
    } catch (error) {
      throw this.#reported("follow", error)
    }
  }

  /** What the cookie is to carry, if the store has a bookmark for it. */
  get bookmark(): string | undefined {
    const bookmark: unknown = (this.#store as Partial<FollowingStore>).bookmark
    if (bookmark === undefined || isBookmark(bookmark)) return bookmark
    this.#diagnostics.warn(...BOOKMARK_UNFIT)
    return undefined
  }

  create(id: SessionId, record: NewRecord): Promise<void> {
    return this.#call("create", () => this.#store.create(id, record))
  }

  load(id: SessionId, options?: { fresh?: boolean | undefined }): Promise<SessionRecord | Gone | undefined> {
    return this.#call("load", () => this.#store.load(id, options))
  }

  update(id: SessionId, change: Change, options?: { ifVersion?: number | undefined }): Promise<Written> {
    return this.#call("update", () => this.#store.update(id, change, options))
  }

  updateTtl(id: SessionId): Promise<Written> {
    return this.#call("updateTtl", () => this.#store.updateTtl(id))
  }

  changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    return this.#call("changeId", () => this.#store.changeId(oldId, newId, options))
  }

  delete(id: SessionId, options?: { tombstone?: Tombstone | undefined }): Promise<void> {
    return this.#call("delete", () => this.#store.delete(id, options))
  }

  deleteExpired(options?: { limit?: number | undefined }): Promise<number> {
    return this.#call("deleteExpired", () => this.#store.deleteExpired(options))
  }

  listByUser(userId: string): Promise<SessionSummary[]> {
    return this.#call("listByUser", () => this.#store.listByUser(userId))
  }

  deleteByUser(userId: string, options?: DeleteByUserOptions): Promise<number> {
    return this.#call("deleteByUser", () => this.#store.deleteByUser(userId, options))
  }

  async #call<T>(operation: string, run: () => Promise<T>): Promise<T> {
    try {
      const answer = run()
      let settled = false
      const settle = (): void => {
        settled = true
      }
      answer.then(settle, settle)
      // A store in this process has answered by now, and a timer would take longer than all it did.
      await Promise.resolve()
      return await (settled ? answer : this.#inTime(operation, answer))
    } catch (error) {
      throw this.#reported(operation, error)
    }
  }

  #reported(operation: string, error: unknown): SessionError {
    const failure =
      error instanceof SessionError ? error : this.#failure(operation, "failed; see cause", error)
    if (failure instanceof StoreError) {
      this.#diagnostics.emit({ type: "store-failed", operation, error: failure })
    }
    return failure
  }

  async #inTime<T>(operation: string, answer: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const refuse = (): void =>
        reject(
          this.#failure(
            operation,
            `did not answer within ${this.#timeout} ms (storeTimeout): it cannot be reached, is overloaded, or its client has no free connection`,
          ),
        )
      timer = setTimeout(refuse, this.#timeout)
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #failure(operation: string, what: string, cause?: unknown): StoreError {
    const store = this.#store.name
    return new StoreError(`The session store ${store}: ${operation} ${what}.`, {
      operation,
      store,
      ...(cause === undefined ? undefined : { cause }),
    })
  }
}

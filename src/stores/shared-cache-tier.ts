import type { SessionId } from "../store.ts"
import type { Effort } from "./shared-cache-effort.ts"

/**
 * The fast tier of a cached store: texts under ids, each for a while. It may forget, fail or be slow as it likes. It must be trusted as the
 * authority is, for whoever writes to it makes sessions; it holds no ticket.
 */
export interface SessionCache {
  /** Whether other processes read what this one has set. */
  readonly shared: boolean
  get(id: SessionId): PromiseLike<string | null | undefined> | string | null | undefined
  /** @param ttl milliseconds after which the text must not be given any more */
  set(id: SessionId, text: string, ttl: number): PromiseLike<unknown> | void
  delete(id: SessionId): PromiseLike<unknown> | void
}

/** Milliseconds for which a cache that has failed is neither read nor filled. */
const REST = 1000

/** A cache that cannot fail, nor keep anyone waiting for long. */
export class FastTier {
  readonly shared: boolean
  readonly #cache: SessionCache
  readonly #effort: Effort
  #restsUntil = -Infinity

  constructor(cache: SessionCache, effort: Effort) {
    this.shared = cache.shared
    this.#cache = cache
    this.#effort = effort
  }

  /** @returns at once what the cache gives at once. */
  get(id: SessionId): Promise<string | undefined> | string | undefined {
    if (this.#isResting()) return undefined
    const text = this.#effort.try("get", () => this.#cache.get(id), this.#rest)
    return text instanceof Promise ? text.then(textOf) : textOf(text)
  }

  async set(id: SessionId, text: string, ttl: number): Promise<void> {
    if (!this.#isResting()) await this.#effort.try("set", () => this.#cache.set(id, text, ttl), this.#rest)
  }

  /** From a cache that rests as well: others may read what it holds. */
  async delete(id: SessionId): Promise<void> {
    await this.#effort.try("delete", () => this.#cache.delete(id), this.#rest)
  }

  readonly #rest = (): undefined => {
    this.#restsUntil = performance.now() + REST
  }

  #isResting(): boolean {
    return performance.now() < this.#restsUntil
  }
}

function textOf(text: unknown): string | undefined {
  return typeof text === "string" ? text : undefined
}

import {
  DuplicateIdError,
  type Gone,
  SessionError,
  StoreError,
  UnknownIdError,
  VersionConflictError,
} from "../errors.ts"
import type { JsonObject } from "../json.ts"
import type {
  Change,
  ChangeIdOptions,
  DeleteByUserOptions,
  MoveTombstone,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "../store.ts"
import { fromEngineText } from "./shared-json.ts"
import {
  corrupt,
  goneOf,
  type Integer,
  type LiveRow,
  parseState,
  recordOf,
  type StandingRow,
  summaryOf,
  type SummaryRow,
} from "./shared-rows.ts"

/** A store whose table has to be made first. */
export interface SqlStore extends SessionStore {
  /**
   * Creates the table and its indexes, or brings an older layout to the newest. Does nothing where it is the newest already; safe while
   * many servers start at once, and while sessions are in use.
   * @throws {StoreError} if a table of this name exists that coatcheck has not made.
   */
  migrate(): Promise<void>
  /** What `migrate` runs on an empty database, for a tool that keeps migrations. Running it again changes nothing. */
  migrationSql(): string
}

/**
 * What an engine is asked for, one statement each. What no live row has is answered with `undefined`, `false` or 0; or with what stands in its
 * place, where the engine can look in the same round trip.
 */
export interface SqlEngine {
  readonly name: string
  /** Whether the row was inserted, or has taken the place of an expired one. */
  create(id: SessionId, record: NewRecord): Promise<boolean>
  /** The row under an id, unless it has expired. */
  find(id: SessionId): Promise<FoundRow | undefined>
  /** Changes nothing if the version is not the one given, or if the change is to be merged into what is no JSON object. */
  update(id: SessionId, change: Change, ifVersion: number | undefined): Promise<Written | Missed | undefined>
  touch(id: SessionId): Promise<Written | Missed | undefined>
  /** `"taken"` if a row has the new id. */
  move(
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    tombstone: MoveTombstone,
  ): Promise<Written | "taken" | Missed | undefined>
  remove(id: SessionId): Promise<boolean | Missed>
  removeExpired(id: SessionId): Promise<boolean>
  /** Turns a session into word of its end. May follow moves by itself. */
  end(id: SessionId, ttl: number): Promise<boolean | Missed>
  /** Looks at up to `window` rows whose time seems to have come, and removes up to `limit` of them. */
  sweep(window: number, limit: number): Promise<{ readonly removed: number; readonly isDone: boolean }>
  list(userId: string): Promise<SummaryRow[]>
  /** @param ttl of the tombstones; undefined: none are left */
  endByUser(userId: string, except: SessionId | undefined, ttl: number | undefined): Promise<number>
  migrate(): Promise<void>
  migrationSql(): string
  /** Whether the engine has undone the statement because of another, so that it may be tried again. */
  isTransient(error: unknown): boolean
  /** What a user can do about an error, if that is known. */
  adviceFor(error: unknown): string | undefined
}

interface Standing extends StandingRow {
  /** The engine's clock, in milliseconds since the epoch. */
  readonly now: number
}

export interface FoundRow extends Standing, LiveRow {}

/** Nothing was written. */
export interface Missed {
  /** The id looked at last. */
  readonly id: SessionId
  /** The row that stands under it, unless it has expired: a tombstone, or one of another version. */
  readonly found: Standing | undefined
}

export const SUMMARY_COLUMNS: string = "id, label, created_at, signed_in_at, last_seen_at, deadline"

export type SummaryCells = readonly [
  id: string,
  label: string | null,
  createdAt: Integer,
  signedInAt: Integer | null,
  lastSeenAt: Integer,
  deadline: Integer,
]

export function summaryRow(cells: SummaryCells): SummaryRow {
  const [id, label, created_at, signed_in_at, last_seen_at, deadline] = cells
  return { id, label, created_at, signed_in_at, last_seen_at, deadline }
}

/** The shortest time to live that ends a new record, from the moment it is created. */
export function firstTtl({ idleTtl, fixedTtl, absoluteTtl }: NewRecord): number {
  return Math.min(idleTtl ?? absoluteTtl, fixedTtl ?? absoluteTtl, absoluteTtl)
}

/** Whether a change builds on the state that is there. */
export function isMerge({ clear, set, remove }: Change): boolean {
  return clear !== true && (clear !== undefined || set.size > 0 || remove.size > 0)
}

export const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: true,
  compareAndSet: true,
  promptRevocation: true,
  userIndex: true,
  atomicRotation: true,
  clock: "store",
})

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }
/** Rows for one statement of a sweep: a few milliseconds' work. */
const BATCH = 1000
/** How many batches a sweep looks at besides those it removes: among the rows whose time seemed to have come, some have been extended. */
const MAX_ROUNDS = 100
/** Of many that contend for one row under REPEATABLE READ, one wins each time; a deletion by user meets all who rotate the user's sessions. */
const MAX_TRIES = 100
/** Milliseconds between two tries: at most, and so together no more than two seconds. */
const LONGEST_WAIT = 20

/** A session store on an engine that has a clock, a JSON type and atomic statements. */
export class EngineStore implements SqlStore {
  readonly name: string
  readonly capabilities: StoreCapabilities
  readonly #engine: SqlEngine

  /** @param capabilities where they are not all there are */
  constructor(engine: SqlEngine, capabilities: StoreCapabilities = CAPABILITIES) {
    this.name = engine.name
    this.capabilities = capabilities
    this.#engine = engine
  }

  migrate(): Promise<void> {
    return this.#run("migrate", () => this.#engine.migrate())
  }

  migrationSql(): string {
    return this.#engine.migrationSql()
  }

  create(id: SessionId, record: NewRecord): Promise<void> {
    return this.#run("create", async () => {
      if (!(await this.#engine.create(id, record))) throw new DuplicateIdError({ id })
    })
  }

  load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    return this.#run("load", async () => {
      const row = await this.#engine.find(id)
      if (row === undefined) return undefined
      if (row.state === null) return goneOf(row, row.now)
      return recordOf(this.name, id, this.#parse(id, row.state), row, row.now)
    })
  }

  update(id: SessionId, change: Change, options: { ifVersion?: number | undefined } = {}): Promise<Written> {
    return this.#run("update", () =>
      this.#write("update", id, options.ifVersion, () => this.#engine.update(id, change, options.ifVersion)),
    )
  }

  updateTtl(id: SessionId): Promise<Written> {
    return this.#run("updateTtl", () => this.#write("updateTtl", id, undefined, () => this.#engine.touch(id)))
  }

  changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const { change = NO_CHANGE, ifVersion, tombstone } = options
    return this.#run("changeId", () =>
      this.#write("changeId", oldId, ifVersion, async () => {
        const isSame = oldId === newId && (await this.#engine.find(newId))?.state != null
        if (isSame) throw new DuplicateIdError({ id: newId })
        const moved = await this.#engine.move(oldId, newId, change, ifVersion, tombstone)
        if (moved !== "taken") return moved
        // An expired row may have the new id in theory; a live one must not be touched.
        const isFree = await this.#engine.removeExpired(newId)
        if (!isFree && (await this.#engine.find(newId)) !== undefined)
          throw new DuplicateIdError({ id: newId })
        return undefined
      }),
    )
  }

  delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const { tombstone } = options
    return this.#run("delete", async () => {
      if (tombstone === undefined) {
        const removed = await this.#engine.remove(id)
        if (removed === true) return
        throw unknown(id, removed === false ? await this.#engine.find(id) : removed.found)
      }
      const seen = new Set<SessionId>()
      for (let last = id; ;) {
        const ended = await this.#engine.end(last, tombstone.ttl)
        if (ended === true) return
        if (ended !== false) throw unknown(ended.id, ended.found)
        if (seen.has(last))
          throw corrupt(this.name, id, "The way that a session has moved leads in a circle.")
        seen.add(last)
        const row = await this.#engine.find(last)
        if (row?.moved_to == null || Number(row.privilege_changed) === 1) throw unknown(last, row)
        last = row.moved_to
      }
    })
  }

  async deleteExpired(options: { limit?: number | undefined } = {}): Promise<number> {
    const { limit = BATCH } = options
    let removed = 0
    for (let round = 0; removed < limit && round < MAX_ROUNDS + limit / BATCH; round++) {
      // Each round by itself, so that what one has removed is counted though the next is tried again.
      const swept = await this.#run("deleteExpired", () => this.#engine.sweep(BATCH, limit - removed))
      removed += swept.removed
      if (swept.isDone) break
    }
    return removed
  }

  listByUser(userId: string): Promise<SessionSummary[]> {
    return this.#run("listByUser", async () => (await this.#engine.list(userId)).map(summaryOf))
  }

  deleteByUser(userId: string, options: DeleteByUserOptions = {}): Promise<number> {
    const { except, tombstone } = options
    return this.#run("deleteByUser", () => this.#engine.endByUser(userId, except, tombstone?.ttl))
  }

  /** Why a statement found no row is asked only when it did: a second question costs those who ask in vain, and no one else. */
  async #write(
    operation: string,
    id: SessionId,
    ifVersion: number | undefined,
    write: () => Promise<Written | Missed | undefined>,
  ): Promise<Written> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const written = await write()
      if (written !== undefined && "version" in written) return written
      const row = written === undefined ? await this.#engine.find(id) : written.found
      if (row === undefined || row.state === null) throw unknown(id, row)
      if (ifVersion !== undefined && ifVersion !== Number(row.version)) {
        throw new VersionConflictError("The record has changed since it was read.", { id })
      }
      this.#parse(id, row.state)
    }
    throw this.#failure(operation, "the record changed each time it was to be written")
  }

  #parse(id: SessionId, text: string): JsonObject {
    return parseState(this.name, id, fromEngineText(text))
  }

  /** Tries again what the engine has undone because of another statement, and says what can be done about other failures. */
  async #run<T>(operation: string, task: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await task()
      } catch (error) {
        if (error instanceof SessionError) throw error
        if (this.#engine.isTransient(error)) {
          if (tries < MAX_TRIES) {
            await pause(Math.random() * Math.min(2 ** tries, LONGEST_WAIT))
            continue
          }
          throw this.#failure(
            operation,
            `the engine has undone it ${MAX_TRIES} times because of others`,
            error,
          )
        }
        const advice = this.#engine.adviceFor(error)
        throw advice === undefined ? error : this.#failure(operation, advice, error)
      }
    }
  }

  #failure(operation: string, what: string, cause?: unknown): StoreError {
    return new StoreError(`The session store ${this.name}: ${operation} failed: ${what}.`, {
      operation,
      store: this.name,
      ...(cause === undefined ? undefined : { cause }),
    })
  }
}

function unknown(id: SessionId, row: Standing | undefined): UnknownIdError {
  return new UnknownIdError({ id, gone: row && goneOf(row, row.now) })
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

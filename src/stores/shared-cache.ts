import { DuplicateIdError, VersionConflictError } from "../errors.ts"
import type {
  Change,
  ChangeIdOptions,
  DeleteByUserOptions,
  Gone,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "../store.ts"
import { Effort } from "./shared-cache-effort.ts"
import { type CacheEntry, entryOf, entryText } from "./shared-cache-entries.ts"
import { type Invalidation, type InvalidationMessage, Subscription } from "./shared-cache-invalidation.ts"
import { FastTier, type SessionCache } from "./shared-cache-tier.ts"
import { Watermarks } from "./shared-cache-watermarks.ts"

/** How often a cached store was asked to load, and by whom that was answered, since it was made. */
export interface CacheStatistics {
  /** Loads that the cache has answered. */
  readonly hits: number
  /** Loads that it has not, fresh ones aside. */
  readonly misses: number
  /** Those of the misses that were given the answer to the question of another. */
  readonly joined: number
  /** Loads that had to be fresh. */
  readonly fresh: number
  /** What could not be done, or not in time, and was done without. */
  readonly failures: number
}

/** A store behind a cache. */
export interface CachedStore extends SessionStore {
  stats(): CacheStatistics
  /** Stops listening to other servers. The store itself goes on; the cache and the authority are left as they are. */
  close(): Promise<void>
}

/** How a store and a cache are put together. Times are milliseconds. */
export interface CachedParts {
  readonly cache: SessionCache
  readonly authority: SessionStore
  readonly staleness: number
  readonly cacheTimeout: number
  /** By how much the clock of whoever made an entry may be ahead, where the cache does not keep to the ttl by itself. */
  readonly clockTolerance: number
  /** Whether requests may wait for each other. In Workers they may not: one that is cut off leaves the others waiting. */
  readonly joins: boolean
  /** What is done about an entry on its way to the cache. */
  readonly settle: (set: Promise<void>) => Promise<void> | void
  readonly invalidation: Invalidation | undefined
  readonly onCacheError: ((error: unknown) => void) | undefined
  readonly clock: () => number
}

/** How old a question to the authority may be for others to wait for its answer, in milliseconds: one that hangs must not draw all after it in. */
const LONGEST_FLIGHT = 1000
/** An entry from further in the future says nothing about its age. */
const LONGEST_LEAD = 60_000

/** A question to the authority that is under way. */
interface Flight {
  readonly askedAt: number
  readonly answer: Promise<Answer>
}

type Answer =
  | { readonly record: SessionRecord; readonly text: string }
  | { readonly record?: undefined; readonly gone: Gone | undefined }

/**
 * Reads from a cache, and does everything else to the authority. What it reads was true at most `staleness` before it was asked. In this process no read
 * misses a write that was acknowledged before.
 *
 * That rests on watermarks, not on the cache: each write leaves one after it, for as long as any entry made before it may be read. So it
 * does not matter whether the entry could be deleted, or was put back by a load that began earlier.
 */
export class AuthorityCachedStore implements CachedStore {
  readonly name: string
  readonly capabilities: StoreCapabilities
  readonly #authority: SessionStore
  readonly #tier: FastTier
  readonly #effort: Effort
  readonly #staleness: number
  readonly #joins: boolean
  readonly #settle: CachedParts["settle"]
  readonly #invalidation: Subscription | undefined
  readonly #clock: () => number
  readonly #flights = new Map<SessionId, Flight>()
  readonly #versions: Watermarks
  readonly #users: Watermarks
  #hits = 0
  #misses = 0
  #joined = 0
  #fresh = 0

  constructor(parts: CachedParts) {
    const { authority, cacheTimeout, staleness, clockTolerance, clock, invalidation } = parts
    this.name = `cached ${authority.name}`
    this.capabilities = Object.freeze({ ...authority.capabilities, promptRevocation: false })
    this.#authority = authority
    this.#effort = new Effort(cacheTimeout, parts.onCacheError)
    this.#tier = new FastTier(parts.cache, this.#effort)
    this.#staleness = staleness
    this.#joins = parts.joins
    this.#settle = parts.settle
    this.#clock = () => Math.floor(clock())
    this.#versions = new Watermarks(staleness + clockTolerance, this.#clock)
    this.#users = new Watermarks(staleness + clockTolerance, this.#clock)
    if (invalidation !== undefined) {
      this.#invalidation = new Subscription(invalidation, this.#effort, (message) => this.#hear(message))
    }
  }

  async load(
    id: SessionId,
    options: { fresh?: boolean | undefined } = {},
  ): Promise<SessionRecord | Gone | undefined> {
    this.#invalidation?.open()
    if (options.fresh === true) return this.#loadFresh(id)
    const cached = this.#cached(id)
    const record = cached instanceof Promise ? await cached : cached
    if (record !== undefined) {
      this.#hits += 1
      return record
    }
    this.#misses += 1
    const flight = this.#joinable(id)
    if (flight === undefined) return this.#ask(id)
    const answer = await flight.answer
    // It may have been created since that was asked.
    if (answer.record === undefined && answer.gone === undefined) return this.#ask(id)
    this.#joined += 1
    // A copy: the record belongs to who asked first.
    return answer.record === undefined ? answer.gone : this.#entry(id, answer.text)?.record(0)
  }

  /** Nothing is cached of an id that nobody knows yet. */
  create(id: SessionId, record: NewRecord): Promise<void> {
    return this.#authority.create(id, record)
  }

  update(id: SessionId, change: Change, options?: { ifVersion?: number | undefined }): Promise<Written> {
    return this.#write(id, options?.ifVersion, true, () => this.#authority.update(id, change, options))
  }

  /** Other servers are not told: all that has changed for them is that they think the session due again. */
  updateTtl(id: SessionId): Promise<Written> {
    return this.#write(id, undefined, false, () => this.#authority.updateTtl(id))
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    try {
      const written = await this.#authority.changeId(oldId, newId, options)
      await this.#drop([oldId], Infinity, true)
      return written
    } catch (error) {
      await this.#dropAfter(error, oldId, options.ifVersion, true)
      throw error
    }
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    try {
      await this.#authority.delete(id, options)
    } finally {
      await this.#drop([id], Infinity, true)
    }
    // The session has ended, whatever comes of this.
    if (options.tombstone !== undefined) await this.#effort.try("load", () => this.#dropTrail(id), nothing)
  }

  deleteExpired(options?: { limit?: number | undefined }): Promise<number> {
    return this.#authority.deleteExpired(options)
  }

  listByUser(userId: string): Promise<SessionSummary[]> {
    return this.#authority.listByUser(userId)
  }

  /** Entries know whose they are. Those that other processes read are looked up first. */
  async deleteByUser(userId: string, options?: DeleteByUserOptions): Promise<number> {
    const none = (): SessionId[] => []
    const ids = this.#tier.shared
      ? await this.#effort.try("listByUser", () => this.#idsOf(userId), none)
      : none()
    try {
      return await this.#authority.deleteByUser(userId, options)
    } finally {
      this.#forgetUser(userId)
      await Promise.all([this.#drop(ids, Infinity, false), this.#invalidation?.publish([{ userId }])])
    }
  }

  stats(): CacheStatistics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      joined: this.#joined,
      fresh: this.#fresh,
      failures: this.#effort.failures,
    }
  }

  async close(): Promise<void> {
    await this.#invalidation?.close()
  }

  #cached(id: SessionId): Promise<SessionRecord | undefined> | SessionRecord | undefined {
    if (this.#versions.of(id) === Infinity) return undefined
    const text = this.#tier.get(id)
    return text instanceof Promise ? text.then((answer) => this.#read(id, answer)) : this.#read(id, text)
  }

  #read(id: SessionId, text: string | undefined): SessionRecord | undefined {
    const entry = text === undefined ? undefined : this.#entry(id, text)
    if (entry === undefined || !this.#isTrusted(id, entry)) return undefined
    const age = this.#clock() - entry.askedAt
    if (age >= this.#staleness || age < -LONGEST_LEAD) return undefined
    return entry.record(Math.max(age, 0))
  }

  #isTrusted(id: SessionId, { version, userId }: CacheEntry): boolean {
    return version >= this.#versions.of(id) && (userId === null || this.#users.of(userId) === 0)
  }

  #entry(id: SessionId, text: string): CacheEntry | undefined {
    return entryOf(this.name, id, text)
  }

  /** A question whose answer is as good as that to one's own: young, and not older than a write of this process. */
  #joinable(id: SessionId): Flight | undefined {
    const flight = this.#flights.get(id)
    if (!this.#joins || flight === undefined) return undefined
    const age = this.#clock() - flight.askedAt
    return age >= 0 && age < Math.min(this.#staleness, LONGEST_FLIGHT) ? flight : undefined
  }

  async #loadFresh(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    this.#fresh += 1
    const found = await this.#ask(id)
    // Whoever has seen this must not be shown anything older afterwards.
    if (found !== undefined && "state" in found) this.#versions.raise(id, found.version)
    else await this.#drop([id], Infinity, false)
    return found
  }

  /** Asks the authority, and fills the cache. */
  async #ask(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const askedAt = this.#clock()
    const flight: Flight = { askedAt, answer: this.#answer(id, askedAt) }
    this.#flights.set(id, flight)
    try {
      const answer = await flight.answer
      if (answer.record === undefined) return answer.gone
      await this.#keep(id, answer.record.version, answer.text, askedAt)
      return answer.record
    } finally {
      if (this.#flights.get(id) === flight) this.#flights.delete(id)
    }
  }

  async #answer(id: SessionId, askedAt: number): Promise<Answer> {
    const found = await this.#authority.load(id)
    const isLive = found !== undefined && "state" in found
    return isLive ? { record: found, text: entryText(id, found, askedAt) } : { gone: found }
  }

  async #keep(id: SessionId, version: number, text: string, askedAt: number): Promise<void> {
    const ttl = this.#staleness - Math.max(0, this.#clock() - askedAt)
    if (ttl <= 0 || version < this.#versions.of(id)) return
    await this.#effort.try("set", () => this.#settle(this.#tier.set(id, text, ttl)), nothing)
  }

  async #write(
    id: SessionId,
    ifVersion: number | undefined,
    isNews: boolean,
    run: () => Promise<Written>,
  ): Promise<Written> {
    try {
      const written = await run()
      await this.#drop([id], written.version, isNews)
      return written
    } catch (error) {
      await this.#dropAfter(error, id, ifVersion, isNews)
      throw error
    }
  }

  /** Most failures leave it open what has happened. */
  async #dropAfter(
    error: unknown,
    id: SessionId,
    ifVersion: number | undefined,
    isNews: boolean,
  ): Promise<void> {
    if (error instanceof DuplicateIdError) return
    // Someone else has written since that version was read, and has told of it.
    const isConflict = error instanceof VersionConflictError
    const lowest = isConflict && ifVersion !== undefined ? ifVersion + 1 : Infinity
    await this.#drop([id], lowest, isNews && !isConflict)
  }

  /** @param version the lowest that may still be read */
  async #drop(ids: readonly SessionId[], version: number, isNews: boolean): Promise<void> {
    for (const id of ids) {
      this.#versions.raise(id, version)
      this.#flights.delete(id)
    }
    const messages = ids.map((id) => (version === Infinity ? { id } : { id, version }))
    await Promise.all([
      ...ids.map((id) => this.#tier.delete(id)),
      isNews && messages.length > 0 ? this.#invalidation?.publish(messages) : undefined,
    ])
  }

  #forgetUser(userId: string): void {
    this.#users.raise(userId, Infinity)
    this.#flights.clear()
  }

  /** What another server, or this one, has written. */
  #hear(message: InvalidationMessage): void {
    if ("userId" in message) return this.#forgetUser(message.userId)
    const { id, version } = message
    this.#versions.raise(id, typeof version === "number" ? version : Infinity)
    this.#flights.delete(id)
  }

  /** Drops what is cached of a session that has just been ended, where it had moved to. The tombstones on the way tell. */
  async #dropTrail(id: SessionId): Promise<void> {
    const trail = [id]
    for (;;) {
      const found = await this.#authority.load(trail.at(-1) as SessionId)
      if (found === undefined || !("movedTo" in found) || found.privilegeChanged) break
      if (trail.includes(found.movedTo)) break
      trail.push(found.movedTo)
    }
    await this.#drop(trail.slice(1), Infinity, true)
  }

  async #idsOf(userId: string): Promise<SessionId[]> {
    return (await this.#authority.listByUser(userId)).map(({ id }) => id)
  }
}

function nothing(): undefined {}

import { ConfigError, DuplicateIdError, type Gone, UnknownIdError, VersionConflictError } from "../errors.ts"
import { define, type JsonObject, type JsonValue } from "../json.ts"
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

export interface MemoryStoreOptions {
  /** How many records and tombstones are kept; the ones unused for longest make room. Default: no bound. */
  readonly max?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

interface LiveEntry {
  readonly kind: "record"
  /** Key to JSON text, so that nothing is shared with a caller. */
  readonly state: Map<string, string>
  version: number
  userId: string | null
  label: string | null
  readonly createdAt: number
  signedInAt: number | null
  lastSeenAt: number
  idleTtl: number | null
  fixedEnd: number | null
  cookieKind: SessionRecord["cookieKind"]
  absoluteEnd: number
  deadline: number
}

type Entry =
  | LiveEntry
  | { readonly kind: "ended"; readonly deadline: number }
  | {
      readonly kind: "moved"
      readonly deadline: number
      readonly movedTo: SessionId
      readonly graceEnd: number
      readonly privilegeChanged: boolean
    }

const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: true,
  compareAndSet: true,
  promptRevocation: true,
  userIndex: true,
  atomicRotation: true,
  clock: "app",
})

/** How many of the oldest entries each write looks at for expired ones: enough to keep up without a timer. */
const SWEEP_STEP = 2

/** Keeps sessions in this process's memory: for tests, development, and servers of one process that may forget. */
export function memoryStore(options: MemoryStoreOptions = {}): SessionStore {
  return new MemoryStore(options)
}

class MemoryStore implements SessionStore {
  readonly name = "memory"
  readonly capabilities: StoreCapabilities = CAPABILITIES
  readonly #max: number
  readonly #clock: () => number
  /** In the order of the last use, the longest unused first. */
  readonly #entries = new Map<SessionId, Entry>()
  readonly #byUser = new Map<string, Set<SessionId>>()

  constructor({ max = Infinity, clock = Date.now }: MemoryStoreOptions) {
    if (max !== Infinity && !(Number.isSafeInteger(max) && max > 0)) {
      throw new ConfigError("max: expected a whole number above 0.", { option: "max" })
    }
    if (typeof clock !== "function") throw new ConfigError("clock: expected a function.", { option: "clock" })
    this.#max = max
    this.#clock = clock
  }

  async create(id: SessionId, record: NewRecord): Promise<void> {
    const now = this.#clock()
    if (this.#find(id, now) !== undefined) throw new DuplicateIdError({ id })
    const entry: LiveEntry = {
      kind: "record",
      state: new Map(record.state),
      version: 1,
      userId: record.userId,
      label: record.label,
      createdAt: now,
      signedInAt: record.userId === null ? null : now,
      lastSeenAt: now,
      idleTtl: record.idleTtl,
      fixedEnd: record.fixedTtl === null ? null : now + record.fixedTtl,
      cookieKind: record.cookieKind,
      absoluteEnd: now + record.absoluteTtl,
      deadline: 0,
    }
    this.#touch(entry, now)
    this.#put(id, entry)
    this.#sweepSome(now)
  }

  async load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const now = this.#clock()
    const entry = this.#find(id, now)
    if (entry?.kind !== "record") return goneOf(entry, now)
    const state: JsonObject = {}
    for (const [key, text] of entry.state) define(state, key, JSON.parse(text) as JsonValue)
    return {
      state,
      version: entry.version,
      userId: entry.userId,
      label: entry.label,
      createdAt: new Date(entry.createdAt),
      signedInAt: entry.signedInAt === null ? null : new Date(entry.signedInAt),
      lastSeenAt: new Date(entry.lastSeenAt),
      idleTtl: entry.idleTtl,
      fixedExpiresIn: entry.fixedEnd === null ? null : entry.fixedEnd - now,
      cookieKind: entry.cookieKind,
      expiresIn: entry.deadline - now,
      absoluteExpiresIn: entry.absoluteEnd - now,
    }
  }

  async update(
    id: SessionId,
    change: Change,
    options: { ifVersion?: number | undefined } = {},
  ): Promise<Written> {
    const now = this.#clock()
    const entry = this.#live(id, now)
    assertVersion(id, entry, options.ifVersion)
    this.#apply(id, entry, change, now)
    this.#put(id, entry)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async updateTtl(id: SessionId): Promise<Written> {
    const now = this.#clock()
    const entry = this.#live(id, now)
    this.#touch(entry, now)
    this.#put(id, entry)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const now = this.#clock()
    const entry = this.#live(oldId, now)
    assertVersion(oldId, entry, options.ifVersion)
    if (this.#find(newId, now) !== undefined) throw new DuplicateIdError({ id: newId })
    this.#remove(oldId)
    this.#put(newId, entry)
    this.#apply(newId, entry, options.change ?? NO_CHANGE, now)
    this.#put(oldId, movedEntry(newId, options.tombstone, now))
    this.#sweepSome(now)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const now = this.#clock()
    let last = id
    let entry = this.#find(last, now)
    while (options.tombstone !== undefined && entry?.kind === "moved" && !entry.privilegeChanged) {
      last = entry.movedTo
      entry = this.#find(last, now)
    }
    if (entry?.kind !== "record") throw new UnknownIdError({ id, gone: goneOf(entry, now) })
    this.#end(last, options.tombstone, now)
  }

  async deleteExpired(options: { limit?: number | undefined } = {}): Promise<number> {
    const now = this.#clock()
    const limit = options.limit ?? Infinity
    let count = 0
    for (const [id, entry] of this.#entries) {
      if (count >= limit) break
      if (entry.deadline > now) continue
      this.#remove(id)
      count += 1
    }
    return count
  }

  async listByUser(userId: string): Promise<SessionSummary[]> {
    const now = this.#clock()
    return this.#liveOf(userId, now)
      .map(([id, entry]) => ({
        id,
        label: entry.label,
        createdAt: new Date(entry.createdAt),
        signedInAt: entry.signedInAt === null ? null : new Date(entry.signedInAt),
        lastSeenAt: new Date(entry.lastSeenAt),
        expiresAt: new Date(entry.deadline),
      }))
      .sort((a, b) => b.lastSeenAt.getTime() - a.lastSeenAt.getTime())
  }

  async deleteByUser(userId: string, options: DeleteByUserOptions = {}): Promise<number> {
    const now = this.#clock()
    const ended = this.#liveOf(userId, now).filter(([id]) => id !== options.except)
    for (const [id] of ended) this.#end(id, options.tombstone, now)
    return ended.length
  }

  #find(id: SessionId, now: number): Entry | undefined {
    const entry = this.#entries.get(id)
    return entry !== undefined && entry.deadline > now ? entry : undefined
  }

  #live(id: SessionId, now: number): LiveEntry {
    const entry = this.#find(id, now)
    if (entry?.kind !== "record") throw new UnknownIdError({ id, gone: goneOf(entry, now) })
    return entry
  }

  #liveOf(userId: string, now: number): [SessionId, LiveEntry][] {
    const live: [SessionId, LiveEntry][] = []
    for (const id of this.#byUser.get(userId) ?? []) {
      const entry = this.#find(id, now)
      if (entry?.kind === "record") live.push([id, entry])
    }
    return live
  }

  #apply(id: SessionId, entry: LiveEntry, change: Change, now: number): void {
    const { clear } = change
    if (clear === true) entry.state.clear()
    else if (clear !== undefined) {
      for (const key of entry.state.keys()) if (!clear.except.includes(key)) entry.state.delete(key)
    }
    for (const key of change.remove) entry.state.delete(key)
    for (const [key, text] of change.set) entry.state.set(key, text)
    entry.version += 1
    if (change.user !== undefined) {
      this.#unlink(id, entry)
      entry.userId = change.user.userId
      entry.label = change.user.label
      entry.signedInAt = change.user.userId === null ? null : now
      if (change.user.absoluteTtl !== null) entry.absoluteEnd = now + change.user.absoluteTtl
      this.#link(id, entry)
    }
    if (change.expiry !== undefined) {
      entry.idleTtl = change.expiry.idleTtl
      entry.fixedEnd = change.expiry.fixedTtl === null ? null : now + change.expiry.fixedTtl
      entry.cookieKind = change.expiry.cookieKind
    }
    this.#touch(entry, now)
  }

  #touch(entry: LiveEntry, now: number): void {
    entry.lastSeenAt = Math.max(entry.lastSeenAt, now)
    entry.deadline = Math.min(
      entry.idleTtl === null ? Infinity : now + entry.idleTtl,
      entry.fixedEnd ?? Infinity,
      entry.absoluteEnd,
    )
  }

  /** Makes an entry the one used last, and the longest unused make room. */
  #put(id: SessionId, entry: Entry): void {
    this.#remove(id)
    this.#entries.set(id, entry)
    if (entry.kind === "record") this.#link(id, entry)
    if (this.#entries.size > this.#max) this.#remove(this.#entries.keys().next().value as SessionId)
  }

  #remove(id: SessionId): void {
    const entry = this.#entries.get(id)
    if (entry?.kind === "record") this.#unlink(id, entry)
    this.#entries.delete(id)
  }

  #end(id: SessionId, tombstone: Tombstone | undefined, now: number): void {
    this.#remove(id)
    if (tombstone !== undefined) this.#put(id, { kind: "ended", deadline: now + tombstone.ttl })
  }

  #link(id: SessionId, entry: LiveEntry): void {
    if (entry.userId === null) return
    const ids = this.#byUser.get(entry.userId)
    if (ids === undefined) this.#byUser.set(entry.userId, new Set([id]))
    else ids.add(id)
  }

  #unlink(id: SessionId, entry: LiveEntry): void {
    if (entry.userId === null) return
    const ids = this.#byUser.get(entry.userId)
    ids?.delete(id)
    if (ids?.size === 0) this.#byUser.delete(entry.userId)
  }

  /** So that a store nobody sweeps does not grow for ever. */
  #sweepSome(now: number): void {
    let looked = 0
    for (const [id, entry] of this.#entries) {
      if (looked++ >= SWEEP_STEP) return
      if (entry.deadline <= now) this.#remove(id)
    }
  }
}

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }

function movedEntry(movedTo: SessionId, tombstone: MoveTombstone, now: number): Entry {
  return {
    kind: "moved",
    deadline: now + tombstone.ttl,
    movedTo,
    graceEnd: now + tombstone.grace,
    privilegeChanged: tombstone.privilegeChanged,
  }
}

function goneOf(entry: Entry | undefined, now: number): Gone | undefined {
  if (entry?.kind === "ended") return { ended: true }
  if (entry?.kind !== "moved") return undefined
  const { movedTo, graceEnd, privilegeChanged } = entry
  return { movedTo, graceExpiresIn: Math.max(0, graceEnd - now), privilegeChanged }
}

function assertVersion(id: SessionId, entry: LiveEntry, ifVersion: number | undefined): void {
  if (ifVersion === undefined || ifVersion === entry.version) return
  throw new VersionConflictError("The record has changed since it was read.", { id })
}

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
import { DeadlineQueue, type Due } from "./shared-deadlines.ts"

export interface MemoryStoreOptions {
  /** How many records and tombstones are kept: expired ones make room first, then those unused for longest, which are simply gone. Default: no bound. */
  readonly max?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

interface LiveEntry extends Due {
  readonly kind: "record"
  id: SessionId
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

interface EndedEntry extends Due {
  readonly kind: "ended"
  readonly id: SessionId
}

interface MovedEntry extends Due {
  readonly kind: "moved"
  readonly id: SessionId
  readonly movedTo: SessionId
  readonly graceEnd: number
  readonly privilegeChanged: boolean
}

type Entry = LiveEntry | EndedEntry | MovedEntry

const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: true,
  compareAndSet: true,
  promptRevocation: true,
  userIndex: true,
  atomicRotation: true,
  clock: "app",
})

/** How many expired entries each new one removes: more than a write can add, so that the store keeps up without a timer. */
const SWEEP_STEP = 4

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
  readonly #deadlines = new DeadlineQueue<Entry>()
  readonly #byUser = new Map<string, Set<SessionId>>()

  constructor({ max = Infinity, clock = Date.now }: MemoryStoreOptions) {
    if (max !== Infinity && !(Number.isSafeInteger(max) && max > 0)) {
      throw new ConfigError("max: expected a whole number above 0.", { option: "max" })
    }
    if (typeof clock !== "function") throw new ConfigError("clock: expected a function.", { option: "clock" })
    this.#max = max
    this.#clock = () => Math.floor(clock())
  }

  async create(id: SessionId, record: NewRecord): Promise<void> {
    const now = this.#clock()
    if (this.#find(id, now) !== undefined) throw new DuplicateIdError({ id })
    const entry: LiveEntry = {
      kind: "record",
      id,
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
      place: 0,
    }
    touch(entry, now)
    this.#put(id, entry, now)
  }

  async load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const now = this.#clock()
    const entry = this.#find(id, now)
    if (entry?.kind !== "record") return goneOf(entry, now)
    // Now it is the one used last.
    this.#entries.delete(id)
    this.#entries.set(id, entry)
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
    this.#remove(id)
    applyChange(entry, change, now)
    this.#put(id, entry, now)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async updateTtl(id: SessionId): Promise<Written> {
    const now = this.#clock()
    const entry = this.#live(id, now)
    this.#remove(id)
    touch(entry, now)
    this.#put(id, entry, now)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const now = this.#clock()
    const entry = this.#live(oldId, now)
    assertVersion(oldId, entry, options.ifVersion)
    if (this.#find(newId, now) !== undefined) throw new DuplicateIdError({ id: newId })
    this.#remove(oldId)
    entry.id = newId
    applyChange(entry, options.change ?? NO_CHANGE, now)
    this.#put(oldId, movedEntry(oldId, newId, options.tombstone, now), now)
    this.#put(newId, entry, now)
    return { version: entry.version, expiresIn: entry.deadline - now }
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const now = this.#clock()
    const last = options.tombstone === undefined ? id : this.#follow(id, now)
    const entry = this.#find(last, now)
    if (entry?.kind !== "record") throw new UnknownIdError({ id, gone: goneOf(entry, now) })
    this.#end(last, options.tombstone, now)
  }

  async deleteExpired(options: { limit?: number | undefined } = {}): Promise<number> {
    const now = this.#clock()
    return this.#sweep(now, options.limit ?? Infinity)
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
    const kept = options.except === undefined ? undefined : this.#follow(options.except, now)
    const ended = this.#liveOf(userId, now).filter(([id]) => id !== kept)
    for (const [id] of ended) this.#end(id, options.tombstone, now)
    return ended.length
  }

  /** Where an id has moved to, through every hop that was no privilege change. An entry moves but once, so the way has an end. */
  #follow(id: SessionId, now: number): SessionId {
    let last = id
    for (;;) {
      const entry = this.#find(last, now)
      if (entry?.kind !== "moved" || entry.privilegeChanged) return last
      last = entry.movedTo
    }
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

  /** Makes an entry the one used last; expired ones make room, then those unused for longest. */
  #put(id: SessionId, entry: Entry, now: number): void {
    this.#remove(id)
    this.#entries.set(id, entry)
    this.#deadlines.add(entry)
    if (entry.kind === "record") this.#link(id, entry)
    this.#sweep(now, SWEEP_STEP)
    if (this.#entries.size > this.#max) this.#remove(this.#entries.keys().next().value as SessionId)
  }

  #remove(id: SessionId): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    if (entry.kind === "record") this.#unlink(id, entry)
    this.#deadlines.remove(entry)
    this.#entries.delete(id)
  }

  #end(id: SessionId, tombstone: Tombstone | undefined, now: number): void {
    this.#remove(id)
    if (tombstone !== undefined)
      this.#put(id, { kind: "ended", id, deadline: now + tombstone.ttl, place: 0 }, now)
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

  /** The ones that expired first go first. */
  #sweep(now: number, limit: number): number {
    let count = 0
    for (
      let due = this.#deadlines.first();
      due !== undefined && count < limit;
      due = this.#deadlines.first()
    ) {
      if (due.deadline > now) break
      this.#remove(due.id)
      count += 1
    }
    return count
  }
}

function applyChange(entry: LiveEntry, { clear, set, remove, user, expiry }: Change, now: number): void {
  const { state } = entry
  if (clear === true) state.clear()
  else if (clear !== undefined) {
    for (const key of state.keys()) if (!clear.except.includes(key)) state.delete(key)
  }
  for (const key of remove) state.delete(key)
  for (const [key, text] of set) state.set(key, text)
  entry.version += 1
  if (user !== undefined) {
    entry.userId = user.userId
    entry.label = user.label
    entry.signedInAt = user.userId === null ? null : now
    if (user.absoluteTtl !== null) entry.absoluteEnd = now + user.absoluteTtl
  }
  if (expiry !== undefined) {
    entry.idleTtl = expiry.idleTtl
    entry.fixedEnd = expiry.fixedTtl === null ? null : now + expiry.fixedTtl
    entry.cookieKind = expiry.cookieKind
  }
  touch(entry, now)
}

/** Only on an entry that is not in the queue of deadlines: it would not notice. */
function touch(entry: LiveEntry, now: number): void {
  entry.lastSeenAt = Math.max(entry.lastSeenAt, now)
  entry.deadline = Math.min(
    entry.idleTtl === null ? Infinity : now + entry.idleTtl,
    entry.fixedEnd ?? Infinity,
    entry.absoluteEnd,
  )
}

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }

function movedEntry(id: SessionId, movedTo: SessionId, tombstone: MoveTombstone, now: number): MovedEntry {
  return {
    kind: "moved",
    id,
    place: 0,
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

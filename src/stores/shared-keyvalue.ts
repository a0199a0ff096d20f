import {
  CapabilityError,
  DuplicateIdError,
  type Gone,
  RecordCorruptError,
  SessionError,
  StoreError,
  UnknownIdError,
} from "../errors.ts"
import { joinObject } from "../json.ts"
import type {
  Change,
  ChangeIdOptions,
  CookieKind,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "../store.ts"
import { corrupt, mergedState, parseState, recordOf } from "./shared-rows.ts"

/** What a plain key-value storage is asked for: whole texts under keys, and no more. */
export interface KeyValueEngine {
  readonly name: string
  /** Whether a new id is looked up before something is written under it. */
  readonly checksIds: boolean
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  keyOf(id: SessionId): string
  /** @returns null if there is nothing. */
  get(key: string): Promise<string | null>
  /** @param ttl milliseconds after which the engine may drop it by itself */
  put(key: string, text: string, ttl: number): Promise<void>
  remove(key: string): Promise<void>
  /** Every key that a session may have; none where the engine drops by itself what has expired. */
  keys(): Promise<readonly string[]>
  /** After how many milliseconds a write may be tried once more that was refused for coming too soon; undefined: it was not. */
  retryAfter(error: unknown): number | undefined
  /** What a user can do about an error, if that is known. */
  adviceFor(error: unknown): string | undefined
}

/** The facts of a live session, named as the columns of the SQL stores. Times are milliseconds since the epoch. */
interface Facts {
  readonly deadline: number
  readonly version: number
  readonly user_id: string | null
  readonly label: string | null
  readonly created_at: number
  readonly signed_in_at: number | null
  readonly last_seen_at: number
  readonly idle_ttl: number | null
  readonly fixed_end: number | null
  readonly cookie_kind: CookieKind | null
  readonly absolute_end: number
}

/** A live session: `state` is the text of a JSON object, if all is well. */
interface Live {
  readonly facts: Facts
  readonly state: string
}

type Left = { readonly ended: true } | { readonly movedTo: SessionId; readonly privilegeChanged: boolean }

/** Word of a session that is no more. */
interface Word {
  readonly deadline: number
  readonly gone: Left
}

/** What stands under an id, and when it was read. */
type Found = (Live | Word) & { readonly now: number }

const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: false,
  compareAndSet: false,
  promptRevocation: false,
  userIndex: false,
  atomicRotation: false,
  clock: "app",
})

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }
/** How many records a sweep reads at once. */
const SWEEP_WIDTH = 16
/** Milliseconds after which a sweep begins no more: half the default `storeTimeout`. */
const SWEEP_TIME = 1000

/**
 * A session store on an engine that knows whole values and nothing else. A write is a read and a write of the whole record: of two
 * at once from different processes the later one wins, even over a tombstone. Within this process they take turns.
 */
export class KeyValueStore implements SessionStore {
  readonly name: string
  readonly capabilities: StoreCapabilities = CAPABILITIES
  readonly #engine: KeyValueEngine
  readonly #turns = new Turns()

  constructor(engine: KeyValueEngine) {
    this.name = engine.name
    this.#engine = engine
  }

  create(id: SessionId, record: NewRecord): Promise<void> {
    return this.#write("create", id, async () => {
      if (await this.#isTaken(id)) throw new DuplicateIdError({ id })
      const now = this.#now()
      await this.#put(id, { facts: firstFacts(record, now), state: joinObject(record.state) }, now)
    })
  }

  load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    return this.#run("load", async () => {
      try {
        return await this.#load(id)
      } catch (error) {
        if (!(error instanceof RecordCorruptError)) throw error
        // Files and the like may be read while they are being written.
        return this.#turns.take(this.#engine.keyOf(id), () => this.#load(id))
      }
    })
  }

  async update(
    id: SessionId,
    change: Change,
    options: { ifVersion?: number | undefined } = {},
  ): Promise<Written> {
    this.#refuseVersion("update", options)
    return this.#write("update", id, async () => {
      const live = await this.#live(id)
      return this.#put(id, this.#changed(id, live, change, live.now), live.now)
    })
  }

  updateTtl(id: SessionId): Promise<Written> {
    return this.#write("updateTtl", id, async () => {
      const { facts, state, now } = await this.#live(id)
      try {
        return await this.#put(id, { facts: touched(facts, now), state }, now)
      } catch (error) {
        if (this.#engine.retryAfter(error) === undefined) throw error
        // Who wrote a moment ago has extended the session as well, or ended it.
        const live = await this.#live(id)
        return writtenOf(live.facts, live.now)
      }
    })
  }

  /**
   * The new record comes first: if the tombstone then fails, the session is as it was, under a ticket that the browser still has. What
   * stands under the new id expires unused, for nobody was given its ticket. The other way round the session would be lost.
   */
  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const { change = NO_CHANGE, tombstone } = options
    this.#refuseVersion("changeId", options)
    if (tombstone.grace > 0) throw this.#refusal("changeId with grace", "atomicRotation")
    return this.#write("changeId", oldId, async () => {
      const live = await this.#live(oldId)
      if (oldId === newId || (await this.#isTaken(newId))) throw new DuplicateIdError({ id: newId })
      const now = this.#now()
      const written = await this.#put(newId, this.#changed(oldId, live, change, now), now)
      const { ttl, privilegeChanged } = tombstone
      await this.#leave(oldId, { movedTo: newId, privilegeChanged }, ttl)
      return written
    })
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const { tombstone } = options
    const seen = new Set<SessionId>()
    for (let last: SessionId | undefined = id; last !== undefined;) {
      if (seen.has(last)) throw corrupt(this.name, id, "The way that a session has moved leads in a circle.")
      seen.add(last)
      last = await this.#end(id, last, tombstone)
    }
  }

  /** Looks at records in no order, for as long as a store call may take; what it has not come to is left for another time. */
  deleteExpired(options: { limit?: number | undefined } = {}): Promise<number> {
    const { limit = Infinity } = options
    return this.#run("deleteExpired", async () => {
      const giveUpAt = performance.now() + SWEEP_TIME
      const keys = await this.#engine.keys()
      const start = Math.floor(Math.random() * keys.length)
      let removed = 0
      for (let seen = 0; seen < keys.length && removed < limit;) {
        const width = Math.min(SWEEP_WIDTH, limit - removed, keys.length - seen)
        const batch = Array.from(
          { length: width },
          (_, at) => keys[(start + seen + at) % keys.length] as string,
        )
        const results = await Promise.all(batch.map((key) => this.#removeExpired(key)))
        removed += results.filter(Boolean).length
        seen += width
        if (performance.now() > giveUpAt) break
      }
      return removed
    })
  }

  async listByUser(): Promise<SessionSummary[]> {
    throw this.#refusal("listByUser", "userIndex")
  }

  async deleteByUser(): Promise<number> {
    throw this.#refusal("deleteByUser", "userIndex")
  }

  async #load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const found = await this.#find(id)
    if (found === undefined || "gone" in found) return goneOf(found)
    const { facts, state, now } = found
    return recordOf(this.name, id, parseState(this.name, id, state), facts, now)
  }

  /** @returns where to go on, if the session has moved. */
  #end(id: SessionId, last: SessionId, tombstone: Tombstone | undefined): Promise<SessionId | undefined> {
    return this.#write("delete", last, async () => {
      const found = await this.#findAnything(last)
      if (found === undefined || (found !== "corrupt" && "gone" in found)) {
        const gone = goneOf(found)
        const leads =
          tombstone !== undefined && gone !== undefined && gone.ended !== true && !gone.privilegeChanged
        if (leads) return gone.movedTo
        throw new UnknownIdError({ id, gone })
      }
      if (tombstone === undefined) await this.#engine.remove(this.#engine.keyOf(last))
      else await this.#leave(last, { ended: true }, tombstone.ttl)
      return undefined
    })
  }

  async #removeExpired(key: string): Promise<boolean> {
    if (!(await this.#isExpired(key))) return false
    return this.#turns.take(key, async () => {
      // Another sweep may have been here, or a new record.
      if (!(await this.#isExpired(key))) return false
      await this.#engine.remove(key)
      return true
    })
  }

  async #isExpired(key: string): Promise<boolean> {
    const text = await this.#engine.get(key)
    const standing = text === null ? undefined : standingOf(text)
    return standing !== undefined && deadlineOf(standing) <= this.#now()
  }

  async #isTaken(id: SessionId): Promise<boolean> {
    return this.#engine.checksIds && (await this.#findAnything(id)) !== undefined
  }

  async #live(id: SessionId): Promise<Live & { readonly now: number }> {
    const found = await this.#find(id)
    if (found !== undefined && "facts" in found) return found
    throw new UnknownIdError({ id, gone: goneOf(found) })
  }

  async #findAnything(id: SessionId): Promise<Found | "corrupt" | undefined> {
    try {
      return await this.#find(id)
    } catch (error) {
      if (error instanceof RecordCorruptError) return "corrupt"
      throw error
    }
  }

  /** @throws {RecordCorruptError} if what stands there was not written by a store like this. */
  async #find(id: SessionId): Promise<Found | undefined> {
    const text = await this.#engine.get(this.#engine.keyOf(id))
    if (text === null) return undefined
    const standing = standingOf(text)
    if (standing === undefined)
      throw corrupt(this.name, id, "What is stored under the id of a session is not one.")
    const now = this.#now()
    return deadlineOf(standing) > now ? { ...standing, now } : undefined
  }

  #changed(id: SessionId, { facts, state }: Live, change: Change, now: number): Live {
    const { clear, set, remove } = change
    const isSame = clear === undefined && set.size === 0 && remove.size === 0
    return {
      facts: changedFacts(facts, change, now),
      state: isSame ? state : joinObject(mergedState(this.name, id, state, change)),
    }
  }

  async #put(id: SessionId, { facts, state }: Live, now: number): Promise<Written> {
    const written = writtenOf(facts, now)
    await this.#engine.put(this.#engine.keyOf(id), `${JSON.stringify(facts)}\n${state}`, written.expiresIn)
    return written
  }

  #leave(id: SessionId, gone: Left, ttl: number): Promise<void> {
    const word: Word = { deadline: this.#now() + ttl, gone }
    return this.#engine.put(this.#engine.keyOf(id), JSON.stringify(word), ttl)
  }

  #now(): number {
    return Math.floor(this.#engine.clock())
  }

  #refuseVersion(call: string, { ifVersion }: { readonly ifVersion?: number | undefined }): void {
    if (ifVersion !== undefined) throw this.#refusal(`${call} with ifVersion`, "compareAndSet")
  }

  #refusal(call: string, capability: keyof StoreCapabilities): CapabilityError {
    return new CapabilityError(
      `The store ${this.name} cannot do what ${call} promises (capabilities.${capability}).`,
      { capability },
    )
  }

  /** A read and what is written because of it. */
  #write<T>(operation: string, id: SessionId, task: () => Promise<T>): Promise<T> {
    const key = this.#engine.keyOf(id)
    return this.#run(operation, async () => {
      try {
        return await this.#turns.take(key, task)
      } catch (error) {
        const wait = this.#engine.retryAfter(error)
        if (wait === undefined) throw error
        await pause(wait)
        // With another read: the session may have ended in the meantime.
        return this.#turns.take(key, task)
      }
    })
  }

  async #run<T>(operation: string, task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      const advice = error instanceof SessionError ? undefined : this.#engine.adviceFor(error)
      if (advice === undefined) throw error
      throw new StoreError(`The session store ${this.name}: ${operation} failed: ${advice}.`, {
        operation,
        store: this.name,
        cause: error,
      })
    }
  }
}

/** How often it is looked whether it is one's turn, and for how long, in milliseconds. */
const GLANCE = 2
const PATIENCE = 1000

/**
 * Lets tasks under one key run one after the other, in the order in which they came. Whoever is at it for more than a second does not keep the others any longer. Waiting means
 * looking again: in Workers one request cannot rely on a promise of another, which may have been cut off and then leaves nobody behind to
 * settle it.
 */
class Turns {
  /** Those that wait for each key, the first of them at work since then. */
  readonly #queues = new Map<string, { readonly waiting: symbol[]; since: number }>()

  async take<T>(key: string, task: () => Promise<T>): Promise<T> {
    const turn = Symbol()
    const queue = this.#queues.get(key) ?? { waiting: [], since: performance.now() }
    this.#queues.set(key, queue)
    queue.waiting.push(turn)
    while (queue.waiting[0] !== turn) {
      // Whoever is at work for too long has been cut off, or works on without keeping the others.
      if (performance.now() - queue.since > PATIENCE) this.#next(key, queue, queue.waiting[0] as symbol)
      else await pause(GLANCE)
    }
    try {
      return await task()
    } finally {
      this.#next(key, queue, turn)
    }
  }

  /** Ends a turn, if it has not been ended by those who waited. */
  #next(key: string, queue: { readonly waiting: symbol[]; since: number }, turn: symbol): void {
    if (queue.waiting[0] !== turn) return
    queue.waiting.shift()
    queue.since = performance.now()
    if (queue.waiting.length === 0) this.#queues.delete(key)
  }
}

function firstFacts(record: NewRecord, now: number): Facts {
  const facts = {
    deadline: 0,
    version: 1,
    user_id: record.userId,
    label: record.label,
    created_at: now,
    signed_in_at: record.userId === null ? null : now,
    last_seen_at: now,
    idle_ttl: record.idleTtl,
    fixed_end: record.fixedTtl === null ? null : now + record.fixedTtl,
    cookie_kind: record.cookieKind,
    absolute_end: now + record.absoluteTtl,
  }
  return touched(facts, now)
}

function changedFacts(facts: Facts, { user, expiry }: Change, now: number): Facts {
  const changed = {
    ...facts,
    version: facts.version + 1,
    ...(user && {
      user_id: user.userId,
      label: user.label,
      signed_in_at: user.userId === null ? null : now,
      absolute_end: user.absoluteTtl === null ? facts.absolute_end : now + user.absoluteTtl,
    }),
    ...(expiry && {
      idle_ttl: expiry.idleTtl,
      fixed_end: expiry.fixedTtl === null ? null : now + expiry.fixedTtl,
      cookie_kind: expiry.cookieKind,
    }),
  }
  return touched(changed, now)
}

function touched(facts: Facts, now: number): Facts {
  const { idle_ttl, fixed_end, absolute_end, last_seen_at } = facts
  return {
    ...facts,
    deadline: Math.min(idle_ttl === null ? Infinity : now + idle_ttl, fixed_end ?? Infinity, absolute_end),
    last_seen_at: Math.max(last_seen_at, now),
  }
}

function writtenOf({ version, deadline }: Facts, now: number): Written {
  return { version, expiresIn: deadline - now }
}

function goneOf(found: Word | undefined): Gone | undefined {
  if (found === undefined) return undefined
  return "movedTo" in found.gone ? { ...found.gone, graceExpiresIn: 0 } : found.gone
}

function deadlineOf(standing: Live | Word): number {
  return "gone" in standing ? standing.deadline : standing.facts.deadline
}

/** Two lines of JSON, facts and state, or the one line of a tombstone. Undefined for anything else. */
function standingOf(text: string): Live | Word | undefined {
  const end = text.indexOf("\n")
  const head = parsed(end === -1 ? text : text.slice(0, end))
  if (end === -1) return isWord(head) ? head : undefined
  return isFacts(head) ? { facts: head, state: text.slice(end + 1) } : undefined
}

function parsed(text: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(text) as object | null) }
  } catch {
    return {}
  }
}

function isFacts(head: Record<string, unknown> | Facts): head is Facts {
  const { deadline, version, user_id, label, created_at, last_seen_at, absolute_end } = head
  const { signed_in_at, idle_ttl, fixed_end, cookie_kind } = head
  return (
    [deadline, version, created_at, last_seen_at, absolute_end].every(Number.isSafeInteger) &&
    [signed_in_at, idle_ttl, fixed_end].every((time) => time === null || Number.isSafeInteger(time)) &&
    [user_id, label, cookie_kind].every((value) => value === null || typeof value === "string")
  )
}

function isWord(head: Record<string, unknown> | Word): head is Word {
  const gone = head.gone as
    | Partial<{ ended: unknown; movedTo: unknown; privilegeChanged: unknown }>
    | null
    | undefined
  const isMove = typeof gone?.movedTo === "string" && typeof gone.privilegeChanged === "boolean"
  return Number.isSafeInteger(head.deadline) && (gone?.ended === true || isMove)
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

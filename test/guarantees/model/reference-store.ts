/**
 * What a store must be, said as plainly as possible: a map, one clock, every operation at once. Written from the
 * contract, never from a store, so that both can be compared with it.
 */

/** The model's values are numbers: what JSON can hold is tested elsewhere. */
export type State = ReadonlyMap<string, number>

export type Kind = "persistent" | "browser-session" | null

/**
 * One step of a change. `value` undefined: the key is removed. `except`: every other key is removed; `lasting` if that is
 * because the session changed hands.
 */
export type Step =
  | { readonly key: string; readonly value: number | undefined }
  | { readonly except: readonly string[]; readonly lasting?: boolean }

export interface Lifetime {
  readonly idle: number | null
  readonly fixedEnd: number | null
  readonly kind: Kind
}

export interface ReferenceRecord extends Lifetime {
  readonly state: State
  readonly version: number
  readonly user: string | null
  readonly label: string | null
  readonly createdAt: number
  readonly signedInAt: number | null
  readonly lastSeenAt: number
  readonly absoluteEnd: number
  readonly deadline: number
}

/** What is left of a session. */
export type Word =
  | { readonly ended: true; readonly until: number }
  | {
      readonly ended: false
      readonly movedTo: string
      readonly graceUntil: number
      readonly privilegeChanged: boolean
      readonly until: number
    }

export interface ReferenceChange {
  readonly steps: readonly Step[]
  /** The new user, with a new absolute end in milliseconds; or null: nobody. */
  readonly user?:
    | { readonly id: string; readonly label: string | null; readonly absolute: number }
    | null
    | undefined
  readonly lifetime?: Lifetime | undefined
}

/** Which store call of a step fails, counted from 0, and whether it has been carried out all the same. */
export interface Fault {
  readonly nth: number
  readonly applied: boolean
}

export class StoreDown extends Error {}

export class UnknownId extends Error {
  readonly word: Word | undefined
  constructor(word: Word | undefined) {
    super("unknown id")
    this.word = word
  }
}

export class Conflict extends Error {}

/** The state after the steps. */
export function applySteps(state: State, steps: readonly Step[]): Map<string, number> {
  const result = new Map(state)
  for (const step of steps) {
    if ("except" in step) {
      for (const key of result.keys()) if (!step.except.includes(key)) result.delete(key)
    } else if (step.value === undefined) {
      result.delete(step.key)
    } else {
      result.set(step.key, step.value)
    }
  }
  return result
}

export class ReferenceStore {
  /** The calls since the last `begin`: the operation, then the ids (or the user) it names. */
  readonly trace: string[][] = []
  readonly records: Map<string, ReferenceRecord | Word> = new Map()
  readonly #now: () => number
  #fault: Fault | undefined
  #calls = 0

  constructor(now: () => number) {
    this.#now = now
  }

  begin(fault: Fault | undefined): void {
    this.trace.length = 0
    this.#fault = fault
    this.#calls = 0
  }

  /** What stands under an id now: nothing outlives its end, swept or not. */
  at(id: string): ReferenceRecord | Word | undefined {
    const found = this.records.get(id)
    if (found === undefined) return undefined
    return this.#now() < ("until" in found ? found.until : found.deadline) ? found : undefined
  }

  live(id: string): ReferenceRecord | undefined {
    const found = this.at(id)
    return found === undefined || "until" in found ? undefined : found
  }

  create(
    id: string,
    record: {
      steps: readonly Step[]
      user: string | null
      label: string | null
      absoluteEnd: number
    } & Lifetime,
  ): number {
    return this.#call(["create", id], () => {
      const now = this.#now()
      const stored = touched(
        {
          state: applySteps(new Map(), record.steps),
          version: 1,
          user: record.user,
          label: record.label,
          createdAt: now,
          signedInAt: record.user === null ? null : now,
          lastSeenAt: now,
          absoluteEnd: record.absoluteEnd,
          idle: record.idle,
          fixedEnd: record.fixedEnd,
          kind: record.kind,
          deadline: 0,
        },
        now,
      )
      this.records.set(id, stored)
      return stored.deadline
    })
  }

  load(id: string): ReferenceRecord | Word | undefined {
    return this.#call(["load", id], () => this.at(id))
  }

  update(id: string, change: ReferenceChange, ifVersion?: number): ReferenceRecord {
    return this.#call(["update", id], () => {
      const updated = this.#changed(id, change, ifVersion)
      this.records.set(id, updated)
      return updated
    })
  }

  updateTtl(id: string): number {
    return this.#call(["updateTtl", id], () => {
      const extended = touched(this.#require(id), this.#now())
      this.records.set(id, extended)
      return extended.deadline
    })
  }

  changeId(
    oldId: string,
    newId: string,
    change: ReferenceChange,
    move: { readonly grace: number; readonly privilegeChanged: boolean; readonly ttl: number },
    ifVersion?: number,
  ): ReferenceRecord {
    return this.#call(["changeId", oldId, newId], () => {
      const now = this.#now()
      const moved = this.#changed(oldId, change, ifVersion)
      this.records.set(newId, moved)
      this.records.set(oldId, {
        ended: false,
        movedTo: newId,
        graceUntil: now + move.grace,
        privilegeChanged: move.privilegeChanged,
        until: now + move.ttl,
      })
      return moved
    })
  }

  /** Ends a session. An invalidation or a revocation, which leaves word, ends it wherever it moved without a change of privilege. */
  delete(id: string, tombstone: number | undefined): void {
    this.#call(["delete", id], () => {
      let target = id
      for (;;) {
        const found = this.at(target)
        if (found === undefined) throw new UnknownId(undefined)
        if (!("until" in found)) break
        if (found.ended || found.privilegeChanged || tombstone === undefined) throw new UnknownId(found)
        target = found.movedTo
      }
      this.#end(target, tombstone)
    })
  }

  deleteByUser(user: string, except: string | undefined, tombstone: number): number {
    return this.#call(["deleteByUser", user], () => {
      let spared = except
      for (;;) {
        const found = spared === undefined ? undefined : this.at(spared)
        if (found === undefined || !("until" in found) || found.ended || found.privilegeChanged) break
        spared = found.movedTo
      }
      const ids = [...this.records.keys()].filter((id) => id !== spared && this.live(id)?.user === user)
      for (const id of ids) this.#end(id, tombstone)
      return ids.length
    })
  }

  deleteExpired(): void {
    this.#call(["deleteExpired"], () => undefined)
  }

  #changed(id: string, change: ReferenceChange, ifVersion: number | undefined): ReferenceRecord {
    const now = this.#now()
    const record = this.#require(id)
    if (ifVersion !== undefined && ifVersion !== record.version) throw new Conflict()
    const { user } = change
    return touched(
      {
        ...record,
        ...change.lifetime,
        state: applySteps(record.state, change.steps),
        version: record.version + 1,
        user: user === undefined ? record.user : user === null ? null : user.id,
        label: user === undefined ? record.label : user === null ? null : user.label,
        signedInAt: user === undefined ? record.signedInAt : user === null ? null : now,
        absoluteEnd: user === undefined || user === null ? record.absoluteEnd : now + user.absolute,
      },
      now,
    )
  }

  #require(id: string): ReferenceRecord {
    const found = this.at(id)
    if (found !== undefined && !("until" in found)) return found
    throw new UnknownId(found)
  }

  #end(id: string, tombstone: number | undefined): void {
    if (tombstone === undefined) this.records.delete(id)
    else this.records.set(id, { ended: true, until: this.#now() + tombstone })
  }

  #call<T>(call: string[], run: () => T): T {
    this.trace.push(call)
    const fault = this.#calls++ === this.#fault?.nth ? this.#fault : undefined
    if (fault?.applied === false) throw new StoreDown()
    const result = run()
    if (fault !== undefined) throw new StoreDown()
    return result
  }
}

function touched(record: ReferenceRecord, now: number): ReferenceRecord {
  const ends = [record.absoluteEnd, record.fixedEnd, record.idle === null ? null : now + record.idle]
  return { ...record, lastSeenAt: now, deadline: Math.min(...ends.filter((end) => end !== null)) }
}

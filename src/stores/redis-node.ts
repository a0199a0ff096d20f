import type { Gone } from "../errors.ts"
import type {
  Change,
  ChangeIdOptions,
  DeleteByUserOptions,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "../store.ts"
import { Caller, CAPABILITIES, done, foundIn, token, unknown, word } from "./redis-base.ts"
import { type Connection, type Reply, textOf } from "./redis-clients.ts"
import {
  changeValues,
  createValues,
  type Found,
  goneOf,
  isSession,
  liveRecord,
  milliseconds,
  STORE,
  summaryOf,
} from "./redis-records.ts"
import { CREATE, END, END_BY_USER, LIST, LOAD, MOVE, TOUCH, UPDATE, WINDOW } from "./redis-scripts.ts"

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }

/** Sessions whose keys all stand on one node, so that each operation is one script. */
export class NodeStore implements SessionStore {
  readonly name: string = STORE
  readonly capabilities: StoreCapabilities = CAPABILITIES
  readonly #caller: Caller
  readonly #clock = new EngineClock()

  constructor(connection: Connection, prefix: string) {
    this.#caller = new Caller(connection, prefix)
  }

  async create(id: SessionId, record: NewRecord): Promise<void> {
    const { key, prefix } = this.#keys(id)
    const keys = record.userId === null ? [key] : [key, prefix]
    done(await this.#caller.run("create", CREATE, keys, createValues(record, token())), id)
  }

  /** A bare read as long as the engine's clock is known, for a script takes an engine several times as long (measured in `bench/stores`). */
  async load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const key = this.#caller.key(id)
    const { get } = this.#caller.connection
    const now = get && this.#clock.now()
    if (get !== undefined && now !== undefined) {
      const text = await this.#caller.attempt("load", () => get(key))
      const found = text === null ? undefined : readRecord(id, { now, text: textOf(text) })
      // That nothing is there must be true by the engine's own clock.
      if (found !== undefined || text === null) return found
    }
    const sentAt = performance.now()
    const [engineNow, text] = await this.#caller.run("load", LOAD, [key], [])
    this.#clock.set(Number(engineNow), sentAt)
    return readRecord(id, { now: Number(engineNow), text: textOf(text) })
  }

  async update(
    id: SessionId,
    change: Change,
    options: { ifVersion?: number | undefined } = {},
  ): Promise<Written> {
    const { key, prefix } = this.#keys(id)
    const values = changeValues(change, options.ifVersion, this.#caller.name())
    return written(done(await this.#caller.run("update", UPDATE, [key, prefix], values), id))
  }

  async updateTtl(id: SessionId): Promise<Written> {
    const { key, prefix } = this.#keys(id)
    return written(done(await this.#caller.run("updateTtl", TOUCH, [key, prefix], []), id))
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const { change = NO_CHANGE, ifVersion, tombstone } = options
    const { ttl, grace, privilegeChanged } = tombstone
    const keys = [this.#caller.key(oldId), this.#caller.key(newId), this.#caller.key("")]
    const values = [
      milliseconds(ttl),
      String(Math.ceil(grace)),
      privilegeChanged ? "1" : "0",
      privilegeChanged ? token() : "",
      ...changeValues(change, ifVersion, this.#caller.name()),
    ]
    return written(done(await this.#caller.run("changeId", MOVE, keys, values), oldId, newId))
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const { tombstone } = options
    const { key, prefix } = this.#keys(id)
    const values = [tombstone === undefined ? "" : milliseconds(tombstone.ttl), this.#caller.name(), "", ""]
    const reply = await this.#caller.run("delete", END, [key, prefix], values)
    if (word(reply) === "-") throw unknown(textOf(reply[3]), foundIn(reply))
    done(reply, id)
  }

  /** The engine removes what has expired by itself. */
  async deleteExpired(): Promise<number> {
    return 0
  }

  async listByUser(userId: string): Promise<SessionSummary[]> {
    const user = JSON.stringify(userId)
    const keys = [this.#caller.index(user), this.#caller.key("")]
    const summaries: SessionSummary[] = []
    let rest: string[] = []
    do {
      const reply = await this.#caller.run("listByUser", LIST, keys, [user, ...rest.slice(0, WINDOW)])
      const others = Number(reply[1])
      rest = rest.length === 0 ? reply.slice(2, 2 + others).map(textOf) : rest.slice(WINDOW)
      summaries.push(...summariesIn(Number(reply[0]), reply.slice(2 + others)))
    } while (rest.length > 0)
    return latestFirst(summaries)
  }

  async deleteByUser(userId: string, options: DeleteByUserOptions = {}): Promise<number> {
    const { except, tombstone } = options
    const user = JSON.stringify(userId)
    const ttl = tombstone === undefined ? "" : milliseconds(tombstone.ttl)
    const keys = [this.#caller.index(user), this.#caller.key("")]
    if (except !== undefined) keys.push(this.#caller.key(except))
    let [looked, count, family] = [WINDOW, 0, ""]
    while (looked === WINDOW) {
      const reply = await this.#caller.run("deleteByUser", END_BY_USER, keys, [user, ttl, family])
      looked = Number(reply[0])
      count += Number(reply[1])
      family = textOf(reply[2])
    }
    return count
  }

  #keys(id: SessionId): { key: string; prefix: string } {
    return { key: this.#caller.key(id), prefix: this.#caller.key("") }
  }
}

/** For how many milliseconds what is known of the engine's clock holds. */
const CLOCK_HOLDS = 1000
/** After how many one asks again, so that under steady traffic not all have to at the same time. */
const CLOCK_ASKED_AFTER = 800

/** The engine's clock as this process knows it: never behind but for the time that a question took, and told anew each second, for clocks are set and engines change. */
class EngineClock {
  #ahead = 0
  #since = -Infinity
  #isAsked = false

  /** @returns undefined to who is to ask. */
  now(): number | undefined {
    const time = performance.now()
    const age = time - this.#since
    if (age >= CLOCK_HOLDS) return undefined
    if (age >= CLOCK_ASKED_AFTER && !this.#isAsked) {
      this.#isAsked = true
      return undefined
    }
    return Math.ceil(time + this.#ahead)
  }

  /** @param askedAt of this process's clock */
  set(now: number, askedAt: number): void {
    this.#ahead = now - askedAt
    this.#since = askedAt
    this.#isAsked = false
  }
}

export function readRecord(id: SessionId, found: Found): SessionRecord | Gone | undefined {
  return isSession(found) ? liveRecord(id, found) : goneOf(id, found)
}

export function written(reply: Reply): Written {
  return { version: Number(reply[1]), expiresIn: Number(reply[2]) }
}

export function latestFirst(summaries: SessionSummary[]): SessionSummary[] {
  return summaries.sort((one, other) => other.lastSeenAt.getTime() - one.lastSeenAt.getTime())
}

/** From `[id, record, …]`. */
function summariesIn(now: number, cells: Reply): SessionSummary[] {
  const summaries: SessionSummary[] = []
  for (let index = 0; index < cells.length; index += 2) {
    summaries.push(summaryOf(textOf(cells[index]), { now, text: textOf(cells[index + 1]) }))
  }
  return summaries
}

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
import {
  Caller,
  CAPABILITIES,
  done,
  failure,
  foundIn,
  isDone,
  pause,
  token,
  unknown,
  word,
} from "./redis-base.ts"
import { type Connection, type Reply, textOf } from "./redis-clients.ts"
import { latestFirst, readRecord, written } from "./redis-node.ts"
import {
  absoluteTtlOf,
  changeValues,
  createValues,
  familyOf,
  type Found,
  goneOf,
  headOf,
  isLive,
  isSession,
  liveRecord,
  milliseconds,
  pendingFrom,
  STORE,
  summaryOf,
  userOf,
  versionOf,
} from "./redis-records.ts"
import {
  COMMIT_MOVE,
  CREATE,
  END,
  ENTRIES,
  FINISH_MOVE,
  HEADSTART,
  JOIN,
  LEAVE,
  LOAD,
  LOOK,
  PENDING_MARGIN,
  PREPARE_MOVE,
  type Script,
  TEND,
  TOUCH,
  UPDATE,
} from "./redis-scripts.ts"
import { corrupt } from "./shared-rows.ts"

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }
/** Of many who contend for one session one wins each time. */
const MAX_TRIES = 100
const LONGEST_WAIT = 20
/** So often a move begins again because the session was touched. Who does so all the time loses milliseconds then. */
const TRIES_FOR_TOUCHES = 10
/** How many sessions of a user are asked after at once. */
const ABREAST = 64

/**
 * Sessions spread over the nodes of a cluster. What concerns one session is one script at its slot; three things take more than one slot:
 *
 * - A session moves in four steps: it is read; it is laid down under the new id as pending; the old one becomes word of the move, unless it has
 *   changed since it was read; what is pending becomes the session. The third step decides. A reader of what is pending looks at the old id: only
 *   where that tells of the move has it happened, and the reader then does the fourth step. So at no instant both ids work, and
 *   whoever stops anywhere loses nothing: before the third step the old session goes on, and what is pending expires.
 * - A user's session is entered into the index before it is the user's, and taken out after it is no longer. Whoever reads the index looks
 *   at each session, and takes out the dead, but for entries of the last minute, whose session may be about to be made.
 * - All sessions of a user end one by one, each by way of its moves. A session keeps its family when it moves, by which the one to be spared is known wherever it is.
 */
export class ClusterStore implements SessionStore {
  readonly name: string = STORE
  readonly capabilities: StoreCapabilities = CAPABILITIES
  readonly #caller: Caller

  constructor(connection: Connection, prefix: string) {
    this.#caller = new Caller(connection, prefix)
  }

  async create(id: SessionId, record: NewRecord): Promise<void> {
    const values = createValues(record, token())
    const make = (): Promise<Reply> => this.#at(id, "create", CREATE, values)
    if (record.userId === null) done(await make(), id)
    else done(await this.#joined(JSON.stringify(record.userId), id, record.absoluteTtl, make), id)
  }

  async load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    return readRecord(id, await this.#find(id, "load"))
  }

  async update(
    id: SessionId,
    change: Change,
    options: { ifVersion?: number | undefined } = {},
  ): Promise<Written> {
    const values = changeValues(change, options.ifVersion, this.#caller.name())
    const write = async (): Promise<Reply> => done(await this.#settled(id, "update", UPDATE, values), id)
    const { user } = change
    if (user === undefined) return written(await write())
    const name = JSON.stringify(user.userId)
    let reply: Reply
    if (user.userId === null) reply = await write()
    else {
      const ttl = user.absoluteTtl ?? absoluteTtlOf(await this.#live(id, "update"))
      reply = await this.#joined(name, id, ttl, write)
      // Once more, for whoever has unbound it just before may have taken it out in the meantime.
      await this.#join("update", name, id, ttl)
    }
    const before = textOf(reply[3])
    if (before !== name) await this.#leave(before, id)
    // Somebody may have bound it to that user again, and entered it before it was taken out.
    const again = before === "null" || before === name ? undefined : await this.#look("update", id, before)
    if (again !== undefined) await this.#join("update", before, id, absoluteTtlOf(again))
    return written(reply)
  }

  async updateTtl(id: SessionId): Promise<Written> {
    return written(done(await this.#settled(id, "updateTtl", TOUCH, []), id))
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const { change = NO_CHANGE, ifVersion, tombstone } = options
    const family = tombstone.privilegeChanged ? token() : ""
    const changes = changeValues(change, undefined, this.#caller.name())
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const old = await this.#live(oldId, "changeId")
      if (oldId === newId) done(["d"], oldId)
      if (ifVersion !== undefined && ifVersion !== versionOf(old)) done(["v"], oldId)
      const pendingTtl = milliseconds(tombstone.ttl + PENDING_MARGIN)
      const prepare = (): Promise<Reply> =>
        this.#at(newId, "changeId", PREPARE_MOVE, [pendingTtl, oldId, family, ...changes, old.text])
      const before = userOf(old)
      const after = change.user === undefined ? before : JSON.stringify(change.user.userId)
      const commit = async (): Promise<Reply> => {
        const prepared = done(await prepare(), oldId, newId)
        const committed = await this.#at(oldId, "changeId", COMMIT_MOVE, [
          headOf(old, tries < TRIES_FOR_TOUCHES),
          String(old.now),
          milliseconds(tombstone.ttl),
          String(Math.ceil(tombstone.grace)),
          tombstone.privilegeChanged ? "1" : "0",
          newId,
        ])
        return isDone(committed) ? prepared : committed
      }
      const ttl = change.user?.absoluteTtl ?? absoluteTtlOf(old)
      const reply = after === "null" ? await commit() : await this.#joined(after, newId, ttl, commit)
      if (isDone(reply)) {
        const finish = this.#at(newId, "changeId", FINISH_MOVE, [oldId])
        await Promise.all([finish, before === "null" ? undefined : this.#leave(before, oldId)])
        return written(reply)
      }
      // Written, touched or read too long ago: once more, from what is there now.
      if (word(reply) === "v") await pause(Math.random() * Math.min(2 ** tries, LONGEST_WAIT))
      else done(reply, oldId)
    }
    throw failure("changeId", "the record changed each time it was to be moved")
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const { tombstone } = options
    const ttl = tombstone === undefined ? "" : milliseconds(tombstone.ttl)
    const { reply, last } = await this.#end("delete", id, [ttl, this.#caller.name(), "", ""])
    if (word(reply) === "-") throw unknown(last, foundIn(reply))
    const user = textOf(done(reply, last)[1])
    if (user !== "null") await this.#leave(user, last)
  }

  /** The engine removes what has expired by itself. */
  async deleteExpired(): Promise<number> {
    return 0
  }

  async listByUser(userId: string): Promise<SessionSummary[]> {
    const user = JSON.stringify(userId)
    const entries = await this.#entries("listByUser", user)
    const places = await abreast(entries.ids, (id) => this.#trace("listByUser", id, user))
    const alive = places.map((place, index) => (place?.id === entries.ids[index] ? place : undefined))
    await this.#tend("listByUser", user, entries, alive)
    return latestFirst(newest(places).map(({ id, found }) => summaryOf(id, found)))
  }

  async deleteByUser(userId: string, options: DeleteByUserOptions = {}): Promise<number> {
    const { except, tombstone } = options
    const user = JSON.stringify(userId)
    const ttl = tombstone === undefined ? "" : milliseconds(tombstone.ttl)
    const entries = await this.#entries("deleteByUser", user)
    const family = except === undefined ? "" : await this.#familyOf(except)
    const failures: unknown[] = []
    const endOne = async (id: SessionId): Promise<boolean> => {
      // By way of its moves, for it may have moved since the index was read. Under a name of its own, for the place it has moved to may stand in the index as well.
      const values = [ttl, this.#caller.name(), user, family]
      const { reply, last } = await this.#end("deleteByUser", id, values, true)
      if (word(reply) === "c") done(reply, last)
      return isDone(reply)
    }
    // One whose node is away keeps the others from nothing.
    const ended = await abreast(entries.ids, (id) =>
      endOne(id).catch((error: unknown) => {
        failures.push(error)
        return false
      }),
    )
    if (failures.length > 0) throw failures[0]
    const alive = await abreast(entries.ids, (id, index) =>
      ended[index] ? undefined : this.#look("deleteByUser", id, user),
    )
    await this.#tend("deleteByUser", user, entries, alive, ended)
    return ended.filter(Boolean).length
  }

  #at(id: SessionId, operation: string, script: Script, values: readonly string[]): Promise<Reply> {
    return this.#caller.run(operation, script, [this.#caller.key(id)], values)
  }

  /** What stands under an id, once it is clear whether what is pending has moved there. */
  async #find(id: SessionId, operation: string): Promise<Found> {
    for (;;) {
      const [now, text] = await this.#at(id, operation, LOAD, [])
      const found = { now: Number(now), text: textOf(text) }
      const oldId = pendingFrom(found)
      if (oldId === undefined || !(await this.#finishMove(oldId, id, operation))) return found
    }
  }

  /** @throws {UnknownIdError} if there is no live session. */
  async #live(id: SessionId, operation: string): Promise<Found> {
    const found = await this.#find(id, operation)
    if (isSession(found) && liveRecord(id, found) !== undefined) return found
    throw unknown(id, found)
  }

  /** Runs a script, once more if it has met what is pending and has moved there after all. */
  async #settled(
    id: SessionId,
    operation: string,
    script: Script,
    values: readonly string[],
  ): Promise<Reply> {
    for (;;) {
      const reply = await this.#at(id, operation, script, values)
      const oldId = word(reply) === "-" ? pendingFrom(foundIn(reply)) : undefined
      if (oldId === undefined || !(await this.#finishMove(oldId, id, operation))) return reply
    }
  }

  /** @returns whether the session has moved. */
  async #finishMove(oldId: SessionId, newId: SessionId, operation: string): Promise<boolean> {
    const [now, text] = await this.#at(oldId, operation, LOAD, [])
    const old = { now: Number(now), text: textOf(text) }
    const gone = isSession(old) ? undefined : goneOf(oldId, old)
    if (gone === undefined || !("movedTo" in gone) || gone.movedTo !== newId) return false
    await this.#at(newId, operation, FINISH_MOVE, [oldId])
    return true
  }

  /** Ends a session, by way of its moves if a tombstone is to be left or `follows` says so. */
  async #end(
    operation: string,
    id: SessionId,
    values: readonly string[],
    follows: boolean = values[0] !== "",
  ): Promise<{ reply: Reply; last: SessionId }> {
    const seen = new Set<SessionId>()
    for (let last = id; ;) {
      const reply = await this.#settled(last, operation, END, values)
      if (word(reply) !== "-" || !follows) return { reply, last }
      const gone = goneOf(last, foundIn(reply))
      if (gone === undefined || !("movedTo" in gone) || gone.privilegeChanged) return { reply, last }
      if (seen.has(last)) throw corrupt(STORE, id, "The way that a session has moved leads in a circle.")
      seen.add(last)
      last = gone.movedTo
    }
  }

  /** The family of a session, wherever it has moved to; nothing if it has ended. */
  async #familyOf(id: SessionId): Promise<string> {
    const seen = new Set<SessionId>()
    for (let last = id; !seen.has(last);) {
      seen.add(last)
      const found = await this.#find(last, "deleteByUser")
      if (isSession(found)) return familyOf(found)
      const gone = goneOf(last, found)
      if (gone === undefined || !("movedTo" in gone) || gone.privilegeChanged) return ""
      last = gone.movedTo
    }
    return ""
  }

  /** Enters a session into the index before it is made the user's. */
  async #joined(user: string, id: SessionId, ttl: number, make: () => Promise<Reply>): Promise<Reply> {
    const startedAt = performance.now()
    const oldest = await this.#join("create", user, id, ttl)
    const [reply] = await Promise.all([make(), this.#tendOldest(user, oldest)])
    // So late that the entry may have been taken for a dead one.
    if (performance.now() - startedAt > HEADSTART / 2) await this.#join("create", user, id, ttl)
    return reply
  }

  /** @returns the entries that have not been looked at for longest. */
  #join(operation: string, user: string, id: SessionId, ttl: number): Promise<Reply> {
    // The session is made a little later, and by another node's clock.
    return this.#caller.run(operation, JOIN, [this.#caller.index(user)], [id, milliseconds(ttl + HEADSTART)])
  }

  async #leave(user: string, id: SessionId): Promise<void> {
    if (user === "null") return
    await this.#caller.run("delete", LEAVE, [this.#caller.index(user)], [id]).catch(forgo)
  }

  async #entries(operation: string, user: string): Promise<Entries> {
    const [now, ...cells] = await this.#caller.run(operation, ENTRIES, [this.#caller.index(user)], [])
    return { ...entriesIn(cells), now: Number(now) }
  }

  /** The record of a live session of the user, up to its label. */
  async #look(operation: string, id: SessionId, user: string): Promise<Found | undefined> {
    const found = await this.#settledLook(operation, id, user)
    return isLiveOf(user, found) ? found : undefined
  }

  /** Where a live session of the user is, which may have moved since the index was read. */
  async #trace(operation: string, id: SessionId, user: string): Promise<Place | undefined> {
    const seen = new Set<SessionId>()
    for (let last = id; !seen.has(last);) {
      seen.add(last)
      const found = await this.#settledLook(operation, last, user)
      if (isLiveOf(user, found)) return { id: last, found }
      const gone = found.text.startsWith("M") ? goneOf(last, found) : undefined
      if (gone === undefined || !("movedTo" in gone)) return undefined
      last = gone.movedTo
    }
    return undefined
  }

  async #settledLook(operation: string, id: SessionId, user: string): Promise<Found> {
    for (;;) {
      const [now, text] = await this.#at(id, operation, LOOK, [user])
      const found = { now: Number(now), text: textOf(text) }
      const oldId = pendingFrom(found)
      if (oldId === undefined || !(await this.#finishMove(oldId, id, operation))) return found
    }
  }

  /** Takes the dead out of the index, but for what may be about to be made. */
  async #tend(
    operation: string,
    user: string,
    { ids, times, now }: Entries,
    alive: readonly unknown[],
    ended: readonly boolean[] = [],
  ): Promise<void> {
    const values = ids.flatMap((id, index) => {
      const isOld = ended[index] === true || Number(times[index]) < now - HEADSTART
      return alive[index] === undefined && isOld ? [id, times[index] as string, "0"] : []
    })
    if (values.length === 0) return
    await this.#caller.run(operation, TEND, [this.#caller.index(user)], values).catch(forgo)
  }

  /** Looks after the entries that have not been looked at for longest, so that the index never holds many more than the live. */
  async #tendOldest(user: string, cells: Reply): Promise<void> {
    if (cells.length === 0) return
    const { ids, times } = entriesIn(cells)
    const alive = await abreast(ids, (id) => this.#look("create", id, user)).catch(forgo)
    if (alive === undefined) return
    const values = ids.flatMap((id, index) => [id, times[index] as string, alive[index] ? "1" : "0"])
    await this.#caller.run("create", TEND, [this.#caller.index(user)], values).catch(forgo)
  }
}

function isLiveOf(user: string, found: Found): boolean {
  return isSession(found) && userOf(found) === user && isLive(found)
}

interface Place {
  readonly id: SessionId
  readonly found: Found
}

/** Each session once: it may have been met where it was, and where it has moved to. */
function newest(places: readonly (Place | undefined)[]): Place[] {
  const byFamily = new Map<string, Place>()
  for (const place of places) {
    if (place === undefined) continue
    const other = byFamily.get(familyOf(place.found))
    if (other === undefined || versionOf(other.found) < versionOf(place.found))
      byFamily.set(familyOf(place.found), place)
  }
  return [...byFamily.values()]
}

interface Entries {
  readonly ids: readonly SessionId[]
  /** As the engine writes them. */
  readonly times: readonly string[]
  readonly now: number
}

function entriesIn(cells: Reply): { ids: SessionId[]; times: string[] } {
  const ids: SessionId[] = []
  const times: string[] = []
  for (let index = 0; index < cells.length; index += 2) {
    ids.push(textOf(cells[index]))
    times.push(textOf(cells[index + 1]))
  }
  return { ids, times }
}

/** An entry too many does no harm, and is taken out another time. */
function forgo(): undefined {
  return undefined
}

async function abreast<T, R>(
  items: readonly T[],
  task: (item: T, index: number) => Promise<R> | R,
): Promise<R[]> {
  const results: R[] = []
  for (let start = 0; start < items.length; start += ABREAST) {
    const batch = items.slice(start, start + ABREAST)
    results.push(...(await Promise.all(batch.map((item, index) => task(item, start + index)))))
  }
  return results
}

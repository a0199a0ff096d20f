import type { SessionStore } from "coatcheck"
import { ABSOLUTE_TTL, IDLE_TTL, STATE, type State } from "./sample.ts"

/** Whose work it is: our store's, that of the driver with a bare statement, or another store's. */
export type Who = "ours" | "bare" | "peer"

/**
 * The operations of a session store, done in one way. Each starts from values of JavaScript and ends with values of JavaScript: JSON is
 * written and read inside, by whoever would do so. A session or user is always there; one that is not found is an error of the benchmark.
 */
export interface Contender {
  readonly who: Who
  /** The driver beneath. */
  readonly driver: string
  create(id: string, userId: string): Promise<unknown>
  load(id: string): Promise<unknown>
  /** Sets the key `visits`. */
  update(id: string, visits: number): Promise<unknown>
  updateTtl(id: string): Promise<unknown>
  changeId?(oldId: string, newId: string): Promise<unknown>
  delete(id: string): Promise<unknown>
  listByUser?(userId: string): Promise<readonly unknown[]>
}

/** Our store, called as a request does. */
export function ours(driver: string, store: SessionStore): Contender {
  return {
    who: "ours",
    driver,
    create: (id, userId) => store.create(id, newRecord(STATE, userId)),
    load: async (id) => found(await store.load(id)),
    update: (id, visits) =>
      store.update(id, { set: new Map([["visits", JSON.stringify(visits)]]), remove: new Set() }),
    updateTtl: (id) => store.updateTtl(id),
    changeId: (oldId, newId) =>
      store.changeId(oldId, newId, { tombstone: { ttl: 600_000, grace: 30_000, privilegeChanged: false } }),
    delete: (id) => store.delete(id),
    listByUser: (userId) => store.listByUser(userId),
  }
}

export function newRecord(state: State, userId: string | null): Parameters<SessionStore["create"]>[1] {
  return {
    state: new Map(Object.entries(state).map(([key, value]) => [key, JSON.stringify(value)])),
    userId,
    label: userId === null ? null : "Firefox on Linux",
    idleTtl: IDLE_TTL,
    fixedTtl: null,
    absoluteTtl: ABSOLUTE_TTL,
    cookieKind: null,
  }
}

/** What `express-session` demands of a store. */
interface ExpressStore {
  get(id: string, callback: (error: unknown, session?: unknown) => void): void
  set(id: string, session: object, callback: (error?: unknown) => void): void
  touch(id: string, session: object, callback: (error?: unknown) => void): void
  destroy(id: string, callback: (error?: unknown) => void): void
}

/**
 * A store for `express-session`, which reads and writes a session as a whole. Setting it is an update of a key as well as a creation; it has no
 * index of users, and moves no session. The session written is at hand, as it is in a request that has read it.
 */
export function peer(driver: string, store: ExpressStore, state: State = STATE): Contender {
  const sessionWith = (visits: number): object => ({
    cookie: { originalMaxAge: IDLE_TTL, expires: new Date(Date.now() + IDLE_TTL), httpOnly: true, path: "/" },
    ...state,
    visits,
  })
  return {
    who: "peer",
    driver,
    create: (id, userId) => answer((callback) => store.set(id, { ...sessionWith(1), userId }, callback)),
    load: async (id) => found(await answer((callback) => store.get(id, callback))),
    update: (id, visits) => answer((callback) => store.set(id, sessionWith(visits), callback)),
    updateTtl: (id) => answer((callback) => store.touch(id, sessionWith(1), callback)),
    delete: (id) => answer((callback) => store.destroy(id, callback)),
  }
}

function answer(call: (callback: (error: unknown, result?: unknown) => void) => void): Promise<unknown> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      if (error != null)
        reject(error instanceof Error ? error : new Error("The store failed.", { cause: error }))
      else resolve(result)
    })
  })
}

/** What has been measured must have been there. */
export function found<T>(value: T | null | undefined): T {
  if (value == null) throw new Error("A session is missing.")
  return value
}

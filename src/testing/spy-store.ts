import type { FollowingStore, SessionStore } from "../store.ts"

/** An operation of the store contract. */
export type StoreOperation = Exclude<keyof SessionStore, "name" | "capabilities" | "follow">

/** One call that a spied store has got. */
export interface StoreCall {
  /** `follow` is no operation, for it asks nothing, but it is written down as well. */
  readonly operation: StoreOperation | "follow"
  /** The session ids it names; for `listByUser` and `deleteByUser`, the user's. */
  readonly ids: readonly string[]
  readonly args: readonly unknown[]
  readonly outcome: "pending" | "resolved" | "rejected"
  /** What it resolved to. */
  readonly value?: unknown
  /** What it rejected with. */
  readonly error?: unknown
}

/** Holds one call until it is released. */
export interface Hold {
  /** Resolves when a call is being held. */
  readonly reached: Promise<void>
  release(): void
}

/** A store that writes down what it is asked, and misbehaves where told. What its `follow` hands out does so in the same log. */
export interface SpyStore extends SessionStore {
  /** Every call since the start or the last `reset`, the oldest first. */
  readonly log: readonly StoreCall[]
  /** The operations of the log. */
  operations(): StoreCall["operation"][]
  /** Forgets the log, the faults and the delays, and releases what is held. */
  reset(): void
  /** The next call of the operation rejects, and changes nothing. */
  failNext(operation: StoreOperation, error?: Error): void
  /** The next call of the operation is carried out, and rejects all the same: its response was lost on the way. */
  loseNext(operation: StoreOperation, error?: Error): void
  /** Every call of the operation waits, for milliseconds or for the promise, before it is carried out. `0` ends it. */
  delay(operation: StoreOperation, wait: number | PromiseLike<unknown>): void
  /** The next call of the operation is held before it is carried out, or after, before the caller hears of it. */
  hold(operation: StoreOperation, when?: "before" | "after"): Hold
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

interface Fault {
  readonly error: Error
  readonly applied: boolean
}

interface Stop {
  readonly when: "before" | "after"
  readonly reach: () => void
  readonly released: Promise<void>
  readonly release: () => void
}

/** Spies on a store. */
export function spyStore(inner: SessionStore): SpyStore {
  const log: Writable<StoreCall>[] = []
  const faults = new Map<StoreOperation, Fault[]>()
  const stops = new Map<StoreOperation, Stop[]>()
  const reached = new Set<Stop>()
  const delays = new Map<StoreOperation, () => PromiseLike<unknown>>()

  async function pause(stop: Stop | undefined, when: Stop["when"]): Promise<void> {
    if (stop?.when !== when) return
    reached.add(stop)
    stop.reach()
    await stop.released
    reached.delete(stop)
  }

  async function carryOut<T>(operation: StoreOperation, call: () => Promise<T>): Promise<T> {
    const fault = faults.get(operation)?.shift()
    const stop = stops.get(operation)?.shift()
    const wait = delays.get(operation)
    if (wait !== undefined) await wait()
    if (stop !== undefined) await pause(stop, "before")
    if (fault?.applied === false) throw fault.error
    const value = await call()
    await pause(stop, "after")
    if (fault !== undefined) throw fault.error
    return value
  }

  async function spy<T>(
    operation: StoreOperation,
    ids: readonly string[],
    args: readonly unknown[],
    call: () => Promise<T>,
  ): Promise<T> {
    const entry: Writable<StoreCall> = { operation, ids, args, outcome: "pending" }
    log.push(entry)
    try {
      const value = await carryOut(operation, call)
      Object.assign(entry, { outcome: "resolved", value })
      return value
    } catch (error) {
      Object.assign(entry, { outcome: "rejected", error })
      throw error
    }
  }

  const operationsOf = (store: SessionStore): Pick<SessionStore, StoreOperation> => ({
    create: (id, ...rest) => spy("create", [id], [id, ...rest], () => store.create(id, ...rest)),
    load: (id, ...rest) => spy("load", [id], [id, ...rest], () => store.load(id, ...rest)),
    update: (id, ...rest) => spy("update", [id], [id, ...rest], () => store.update(id, ...rest)),
    updateTtl: (id) => spy("updateTtl", [id], [id], () => store.updateTtl(id)),
    changeId: (oldId, newId, options) =>
      spy("changeId", [oldId, newId], [oldId, newId, options], () => store.changeId(oldId, newId, options)),
    delete: (id, ...rest) => spy("delete", [id], [id, ...rest], () => store.delete(id, ...rest)),
    deleteExpired: (...args) => spy("deleteExpired", [], args, () => store.deleteExpired(...args)),
    listByUser: (userId) => spy("listByUser", [userId], [userId], () => store.listByUser(userId)),
    deleteByUser: (userId, ...rest) =>
      spy("deleteByUser", [userId], [userId, ...rest], () => store.deleteByUser(userId, ...rest)),
  })

  /** Answers at once, so there is nothing to delay or to hold. */
  function follow(bookmark: string | undefined): FollowingStore {
    const following = (inner as Required<SessionStore>).follow(bookmark)
    log.push({ operation: "follow", ids: [], args: [bookmark], outcome: "resolved", value: following })
    return {
      ...operationsOf(following),
      name: following.name,
      get capabilities() {
        return following.capabilities
      },
      get bookmark() {
        return following.bookmark
      },
    }
  }

  return {
    ...operationsOf(inner),
    ...(inner.follow !== undefined && { follow }),
    name: inner.name,
    get capabilities() {
      return inner.capabilities
    },

    log,
    operations: () => log.map(({ operation }) => operation),
    reset() {
      log.length = 0
      faults.clear()
      delays.clear()
      for (const stop of [...reached, ...[...stops.values()].flat()]) stop.release()
      stops.clear()
    },
    failNext(operation, error = new Error(`${operation} failed, as it was told to.`)) {
      push(faults, operation, { error, applied: false })
    },
    loseNext(operation, error = new Error(`The response of ${operation} was lost, as it was told to be.`)) {
      push(faults, operation, { error, applied: true })
    },
    delay(operation, wait) {
      if (typeof wait === "object") delays.set(operation, () => wait)
      else if (wait > 0) delays.set(operation, () => new Promise((resolve) => setTimeout(resolve, wait)))
      else delays.delete(operation)
    },
    hold(operation, when = "before") {
      const reach = Promise.withResolvers<void>()
      const release = Promise.withResolvers<void>()
      push(stops, operation, {
        when,
        reach: reach.resolve,
        released: release.promise,
        release: release.resolve,
      })
      return { reached: reach.promise, release: release.resolve }
    },
  }
}

function push<T>(queues: Map<StoreOperation, T[]>, operation: StoreOperation, member: T): void {
  const queue = queues.get(operation)
  if (queue === undefined) queues.set(operation, [member])
  else queue.push(member)
}

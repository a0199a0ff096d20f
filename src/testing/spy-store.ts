import type { SessionStore } from "../store.ts"

/** An operation of the store contract. */
export type StoreOperation = Exclude<keyof SessionStore, "name" | "capabilities">

/** One call that a spied store has got. */
export interface StoreCall {
  readonly operation: StoreOperation
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

/** A store that writes down what it is asked, and misbehaves where told. */
export interface SpyStore extends SessionStore {
  /** Every call since the start or the last `reset`, the oldest first. */
  readonly log: readonly StoreCall[]
  /** The operations of the log. */
  operations(): StoreOperation[]
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

  return {
    name: inner.name,
    get capabilities() {
      return inner.capabilities
    },
    create: (id, ...rest) => spy("create", [id], [id, ...rest], () => inner.create(id, ...rest)),
    load: (id) => spy("load", [id], [id], () => inner.load(id)),
    update: (id, ...rest) => spy("update", [id], [id, ...rest], () => inner.update(id, ...rest)),
    updateTtl: (id) => spy("updateTtl", [id], [id], () => inner.updateTtl(id)),
    changeId: (oldId, newId, options) =>
      spy("changeId", [oldId, newId], [oldId, newId, options], () => inner.changeId(oldId, newId, options)),
    delete: (id, ...rest) => spy("delete", [id], [id, ...rest], () => inner.delete(id, ...rest)),
    deleteExpired: (...args) => spy("deleteExpired", [], args, () => inner.deleteExpired(...args)),
    listByUser: (userId) => spy("listByUser", [userId], [userId], () => inner.listByUser(userId)),
    deleteByUser: (userId, ...rest) =>
      spy("deleteByUser", [userId], [userId, ...rest], () => inner.deleteByUser(userId, ...rest)),

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

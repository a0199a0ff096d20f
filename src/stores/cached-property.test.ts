import fc from "fast-check"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import type { SessionId, SessionStore } from "../store.ts"
import { type FakeClock, fakeClock } from "../testing/clock.ts"
import { changing, ended, freshId, move, newRecord } from "../testing/conformance/kit.ts"
import { bus, sharedCache } from "./cached.test-helper.ts"
import { type CachedStore, cachedStore, type Invalidation, memoryCache, type SessionCache } from "./cached.ts"
import { memoryStore } from "./memory.ts"

// Two servers do many things at once. Each thing waits at gates, which are opened in any order, while time goes by. Every read is compared with what
// stood in the authority, and since when.

// Nothing takes too long here, however slow the machine is.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }))
afterEach(() => void vi.useRealTimers())

const STALENESS = 100
const USERS: readonly string[] = ["ann", "bob"]
const DEAD = Infinity

interface Step {
  readonly kind:
    | "load"
    | "fresh"
    | "update"
    | "outdated update"
    | "updateTtl"
    | "changeId"
    | "delete"
    | "deleteByUser"
  readonly server: number
  readonly which: number
  /** Which of the gates where something waits are opened after this step. */
  readonly gates: readonly number[]
  /** How much time goes by after it. */
  readonly advance: number
}

const plans: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 12, arbitrary: fc.constant("load" as const) },
      { weight: 4, arbitrary: fc.constantFrom("update" as const, "updateTtl" as const) },
      {
        weight: 5,
        arbitrary: fc.constantFrom<Step["kind"]>(
          "fresh",
          "outdated update",
          "changeId",
          "delete",
          "deleteByUser",
        ),
      },
    ),
    server: fc.nat(1),
    which: fc.nat(2),
    gates: fc.array(fc.nat(20), { maxLength: 10, size: "max" }),
    advance: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: STALENESS + 10 }) },
    ),
  }),
  { minLength: 5, maxLength: 60, size: "max" },
)

class Gates {
  readonly #waiting: (() => void)[] = []

  pass(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async open(choice: number): Promise<void> {
    await settled()
    const [go] = this.#waiting.splice(choice % Math.max(1, this.#waiting.length), 1)
    go?.()
    await settled()
  }

  async openAll(): Promise<void> {
    do await this.open(0)
    while (this.#waiting.length > 0)
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The version that a session had from some time on. */
interface Commit {
  readonly at: number
  readonly version: number
}

/** A store whose operations wait before and after they are carried out, and that writes down what it has come to. */
class Authority {
  readonly store: SessionStore
  readonly commits = new Map<SessionId, Commit[]>()
  /** What a call has ended, by the options it was given. */
  readonly ended = new WeakMap<object, SessionId[]>()
  readonly #clock: FakeClock
  readonly #owners = new Map<SessionId, string>()

  constructor(gates: Gates, clock: FakeClock) {
    this.#clock = clock
    const inner = memoryStore({ clock })
    const slowly = async <T>(task: () => Promise<T>): Promise<T> => {
      await gates.pass()
      try {
        return await task()
      } finally {
        await gates.pass()
      }
    }
    this.store = {
      name: inner.name,
      capabilities: inner.capabilities,
      deleteExpired: (options) => inner.deleteExpired(options),
      create: async (id, record) => {
        await inner.create(id, record)
        this.#owners.set(id, record.userId as string)
        this.#commit(id, 1)
      },
      load: (id) => slowly(() => inner.load(id)),
      listByUser: (userId) => slowly(() => inner.listByUser(userId)),
      updateTtl: (id) => slowly(() => inner.updateTtl(id)),
      update: (id, ...rest) =>
        slowly(async () => {
          const written = await inner.update(id, ...rest)
          this.#commit(id, written.version)
          return written
        }),
      changeId: (id, next, options) =>
        slowly(async () => {
          const written = await inner.changeId(id, next, options)
          this.#commit(id, DEAD)
          this.#owners.set(next, this.#owners.get(id) as string)
          this.#commit(next, written.version)
          return written
        }),
      delete: (id, options) =>
        slowly(async () => {
          await inner.delete(id, options)
          await this.#bury(inner, options)
        }),
      deleteByUser: (userId, options) =>
        slowly(async () => {
          const count = await inner.deleteByUser(userId, options)
          await this.#bury(inner, options)
          return count
        }),
    }
  }

  versionOf(id: SessionId): number {
    return this.commits.get(id)?.at(-1)?.version ?? DEAD
  }

  #commit(id: SessionId, version: number): void {
    const commits = this.commits.get(id) ?? []
    commits.push({ at: this.#clock(), version })
    this.commits.set(id, commits)
  }

  async #bury(inner: SessionStore, options: object = {}): Promise<void> {
    const buried: SessionId[] = []
    for (const id of this.commits.keys()) {
      const found = this.versionOf(id) === DEAD ? undefined : await inner.load(id)
      if (found === undefined || "state" in found) continue
      this.#commit(id, DEAD)
      buried.push(id)
    }
    this.ended.set(options, buried)
  }
}

class Simulation {
  readonly problems: string[] = []
  readonly servers: CachedStore[]
  readonly #gates = new Gates()
  readonly #clock = fakeClock()
  readonly #authority = new Authority(this.#gates, this.#clock)
  /** What each server has written, and been told that it has: session to version. */
  readonly #known: Map<SessionId, number>[]
  readonly #ids: SessionId[] = [freshId(), freshId(), freshId()]

  constructor(
    caches: (gates: Gates, clock: FakeClock) => SessionCache[],
    invalidation: Invalidation | undefined,
  ) {
    const clock = this.#clock
    this.servers = caches(this.#gates, clock).map((cache) =>
      cachedStore(cache, this.#authority.store, {
        staleness: STALENESS,
        cacheTimeout: 1000,
        clock,
        invalidation,
      }),
    )
    const common = new Map<SessionId, number>()
    this.#known = this.servers.map(() => (invalidation === undefined ? new Map() : common))
  }

  async run(plan: readonly Step[]): Promise<void> {
    for (const [which, id] of this.#ids.entries()) {
      await this.servers[0]?.create(id, newRecord({ userId: USERS[which % 2] as string }))
    }
    // So that they listen.
    const tasks: Promise<unknown>[] = this.servers.map((server) => server.load(freshId()))
    for (const step of plan) {
      const id = this.#ids[step.which] as SessionId
      const isRead = step.kind === "load" || step.kind === "fresh"
      tasks.push(isRead ? this.#read(step, id) : this.#write(step, id).catch(() => undefined))
      for (const gate of step.gates) await this.#gates.open(gate)
      this.#clock.advance(step.advance)
    }
    await this.#gates.openAll()
    await Promise.all(tasks)
  }

  async #read({ kind, server, which }: Step, id: SessionId): Promise<void> {
    const begun = this.#clock()
    const [current, known] = [this.#authority.versionOf(id), this.#known[server]?.get(id) ?? 0]
    const found = await (this.servers[server] as CachedStore).load(id, { fresh: kind === "fresh" })
    const version = found !== undefined && "state" in found ? found.version : DEAD
    const commits = this.#authority.commits.get(id) ?? []
    const next = commits.find((commit) => commit.version > version)
    const problem = commits.every((commit) => commit.version !== version)
      ? "what was read was never written"
      : next !== undefined && next.at <= begun - STALENESS
        ? "the read is staler than the bound"
        : version < known
          ? "the read misses a write"
          : kind === "fresh" && version < current
            ? "the read is not fresh"
            : undefined
    if (problem !== undefined) this.problems.push(`${kind} of ${which} on ${server}: ${problem}`)
  }

  async #write({ kind, server, which }: Step, id: SessionId): Promise<void> {
    const store = this.servers[server] as CachedStore
    const known = this.#known[server] as Map<SessionId, number>
    const learn = (each: SessionId, version: number): void =>
      void known.set(each, Math.max(version, known.get(each) ?? 0))
    const options = { ...ended }
    if (kind === "update") learn(id, (await store.update(id, changing())).version)
    else if (kind === "outdated update") await store.update(id, changing(), { ifVersion: 1 })
    else if (kind === "updateTtl") await store.updateTtl(id)
    else if (kind === "changeId") {
      const next = freshId()
      const { version } = await store.changeId(id, next, move())
      learn(id, DEAD)
      learn(next, version)
      this.#ids[which] = next
    } else {
      await (kind === "delete"
        ? store.delete(id, options)
        : store.deleteByUser(USERS[which % 2] as string, options))
      for (const each of this.#authority.ended.get(options) ?? []) learn(each, DEAD)
    }
  }
}

/** A cache over a network that carries out what it is asked in any order. */
function slow(cache: SessionCache, gates: Gates): SessionCache {
  return {
    shared: cache.shared,
    get: async (id) => {
      await gates.pass()
      const text = await cache.get(id)
      await gates.pass()
      return text
    },
    set: async (id, text, ttl) => {
      await gates.pass()
      await cache.set(id, text, ttl)
    },
    delete: async (id) => {
      await gates.pass()
      await cache.delete(id)
      await gates.pass()
    },
  }
}

test.each<[string, (gates: Gates, clock: FakeClock) => SessionCache[], () => Invalidation | undefined]>([
  ["a cache each", (_gates, clock) => [memoryCache({ clock }), memoryCache({ clock })], () => undefined],
  [
    "a cache that both share, and that does things in any order",
    (gates, clock) => {
      const cache = slow(sharedCache(clock), gates)
      return [cache, cache]
    },
    () => undefined,
  ],
  [
    "a cache each, and word of what the other has written",
    (_gates, clock) => [memoryCache({ clock }), memoryCache({ clock })],
    bus,
  ],
  [
    "a cache each that does things in any order, and word of what the other has written",
    (gates, clock) => [slow(memoryCache({ clock }), gates), slow(memoryCache({ clock }), gates)],
    bus,
  ],
])(
  "no read is staler than the bound, nor misses a write that its server knows of, with %s",
  async (_what, caches, invalidation) => {
    let hits = 0
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const simulation = new Simulation(caches, invalidation())
        await simulation.run(plan)
        expect(simulation.problems).toEqual([])
        for (const server of simulation.servers) {
          hits += server.stats().hits
          expect(server.stats().failures).toBe(0)
        }
      }),
      { numRuns: 300 },
    )
    // Else there was nothing to be seen.
    expect(hits).toBeGreaterThan(300)
  },
)

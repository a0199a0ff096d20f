import fc from "fast-check"
import { afterAll, beforeAll, expect, test } from "vitest"
import { SessionError } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { redisStore } from "coatcheck/redis"
import type { SessionStore, UserChange } from "../../src/store.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import type { Client } from "./redis-clients.ts"
import { Died, type Mortal, mortal } from "./redis-crashes.ts"
import {
  describeOnRedis,
  freshPrefix,
  keysWith,
  openOn,
  portsOf,
  type RedisEngine,
  teachScripts,
} from "./redis-engines.ts"
import { openAdmin } from "./redis-monitor.ts"

/** The index of users: it names the live sessions of each user, whatever has happened, and whoever has died over it. */

const RUNS = Number(process.env["COATCHECK_RUNS"] ?? 60)
const SEED = process.env["COATCHECK_RUNS"] === undefined ? { seed: 20_261_121 } : {}

/** One thing that is done. Sessions are named by their rank among all ids that there have been, users by a number. */
type Action =
  | { readonly do: "create"; readonly user: number | null }
  | { readonly do: "touch" | "expire" | "update"; readonly session: number }
  | {
      readonly do: "bind"
      readonly session: number
      readonly user: number | null
      readonly restarts: boolean
    }
  | { readonly do: "rotate"; readonly session: number }
  | { readonly do: "sign in"; readonly session: number; readonly user: number | null }
  | { readonly do: "delete"; readonly session: number; readonly tombstone: boolean }
  | {
      readonly do: "revoke"
      readonly user: number
      readonly except: number | null
      readonly tombstone: boolean
    }

const anySession = fc.nat(1_000)
const anyUser = fc.nat(1)
const userOrNobody = fc.option(anyUser, { freq: 4 })
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("create" as const), user: userOrNobody }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("rotate" as const), session: anySession }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("touch" as const, "expire", "update"), session: anySession }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("bind" as const),
      session: anySession,
      user: userOrNobody,
      restarts: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("sign in" as const), session: anySession, user: userOrNobody }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("delete" as const),
      session: anySession,
      tombstone: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("revoke" as const),
      user: anyUser,
      except: fc.option(anySession),
      tombstone: fc.boolean(),
    }),
  },
)

/** A history: its users, and every id that there has been, the dead ones and the moved ones as well. */
class History {
  readonly users: readonly string[] = [freshUser(), freshUser()]
  readonly ids: string[] = []

  id(session: number): string {
    return this.ids[session % this.ids.length] ?? "no-such-id"
  }

  /** @returns what an action does to a store, with the same new ids for each. */
  prepare(what: Action): (store: SessionStore) => Promise<unknown> {
    switch (what.do) {
      case "create": {
        const id = this.#mint()
        return (store) => store.create(id, newRecord({ userId: this.#name(what.user) }))
      }
      case "touch": {
        const id = this.id(what.session)
        return (store) => store.updateTtl(id)
      }
      case "update": {
        const id = this.id(what.session)
        return (store) => store.update(id, changing({ a: 1 }))
      }
      case "expire": {
        const id = this.id(what.session)
        const expiry = { idleTtl: 1, fixedTtl: null, cookieKind: null }
        return async (store) => {
          await store.update(id, changing({}, { expiry }))
          await new Promise((resolve) => setTimeout(resolve, 4))
        }
      }
      case "bind": {
        const id = this.id(what.session)
        const change = changing({}, { user: this.#change(what.user, what.restarts) })
        return (store) => store.update(id, change)
      }
      case "rotate": {
        const [id, next] = [this.id(what.session), this.#mint()]
        return (store) => store.changeId(id, next, move())
      }
      case "sign in": {
        const [id, next] = [this.id(what.session), this.#mint()]
        const change = changing({}, { user: this.#change(what.user, true) })
        return (store) => store.changeId(id, next, { ...move({ privilegeChanged: true }), change })
      }
      case "delete": {
        const id = this.id(what.session)
        return (store) => store.delete(id, what.tombstone ? ended : {})
      }
      case "revoke": {
        const options = {
          ...(what.tombstone ? ended : {}),
          ...(what.except === null ? {} : { except: this.id(what.except) }),
        }
        const name = this.#name(what.user) as string
        return (store) => store.deleteByUser(name, options)
      }
    }
  }

  #mint(): string {
    const id = freshId()
    this.ids.push(id)
    return id
  }

  #name(number: number | null): string | null {
    return number === null ? null : (this.users[number] as string)
  }

  #change(number: number | null, restarts: boolean): UserChange {
    return { userId: this.#name(number), label: null, absoluteTtl: restarts ? HOUR : null }
  }
}

/** What an operation came to: its value without times, or the kind of error with what it tells. */
async function outcomeOf(task: Promise<unknown>): Promise<unknown> {
  try {
    const value = await task
    return typeof value === "object" && value !== null ? (value as { version: unknown }).version : value
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    const { code, gone } = error as SessionError & { gone?: object }
    return gone === undefined ? code : { code, gone: { ...gone, graceExpiresIn: 0 } }
  }
}

/** Which sessions a user has, as the index tells. */
async function listed(store: SessionStore, user: string): Promise<string[]> {
  return (await store.listByUser(user)).map((each) => each.id).toSorted()
}

/** Which sessions are alive, and whose they are, as the sessions themselves tell. */
async function living(store: SessionStore, ids: readonly string[]): Promise<Map<string, string | null>> {
  const found = await Promise.all(ids.map((id) => store.load(id)))
  const alive = new Map<string, string | null>()
  for (const [index, each] of found.entries()) {
    if (each !== undefined && "state" in each) alive.set(ids[index] as string, each.userId)
  }
  return alive
}

function of(alive: ReadonlyMap<string, string | null>, user: string): string[] {
  return [...alive]
    .filter(([, name]) => name === user)
    .map(([id]) => id)
    .toSorted()
}

for (const [engine, driver] of [
  ["redis", "node-redis 6"],
  ["redis", "ioredis 5"],
  ["valkey", "ioredis 5"],
  ["cluster", "node-redis 6"],
  ["cluster", "ioredis 5"],
] as const) {
  describeOnRedis(engine, `the index of users through ${driver}`, () => {
    let client: Client
    let store: SessionStore
    beforeAll(async () => {
      client = await openOn(engine, driver)
      store = redisStore(client.client)
    })
    afterAll(() => client.close())

    test("random histories leave what they leave in memory", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 30 }), async (actions) => {
          const history = new History()
          const memory = memoryStore()
          for (const what of actions) {
            const run = history.prepare(what)
            const [real, expected] = await Promise.all([outcomeOf(run(store)), outcomeOf(run(memory))])
            expect(real).toEqual(expected)
            for (const name of history.users)
              expect(await listed(store, name)).toEqual(await listed(memory, name))
          }
        }),
        { numRuns: RUNS, ...SEED },
      )
    })
  })
}

for (const driver of ["node-redis 6", "ioredis 5"]) {
  describeOnRedis("cluster", `the index of users, and clients that die through ${driver}`, () => {
    const clients: Client[] = []
    let store: SessionStore
    beforeAll(async () => {
      await teachScripts(portsOf("cluster"))
      clients.push(await openOn("cluster", driver), await openOn("cluster", driver))
      store = redisStore(clients[0]!.client)
    })
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()))
    })

    test("whoever dies in the middle of what, each session is where one operation or none leaves it, and the index names it", async () => {
      const steps = fc.tuple(action, fc.option(fc.nat(7), { freq: 3, nil: Infinity }))
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 25 }), async (history) => {
          await expectWhole(history, mortal(clients[1]!.client))
        }),
        { numRuns: RUNS, ...SEED },
      )
    })

    async function expectWhole(
      actions: readonly (readonly [Action, number])[],
      dying: Mortal,
    ): Promise<void> {
      const history = new History()
      const theirs = redisStore(dying.client)
      for (const [what, commands] of actions) {
        const before = await living(store, history.ids)
        const run = history.prepare(what)
        dying.dieAfter(commands)
        const outcome = await outcomeOf(run(theirs)).catch((error: unknown) => {
          if (error instanceof Died) return "died"
          throw error
        })
        const after = await living(store, history.ids)
        expectOneOrNone(what, outcome, before, after, history)
        for (const name of history.users) expect(await listed(store, name)).toEqual(of(after, name))
      }
      const after = await living(store, history.ids)
      for (const name of history.users) {
        expect(await store.deleteByUser(name, ended)).toBe(of(after, name).length)
        expect(await listed(store, name)).toEqual([])
      }
      expect([...(await living(store, history.ids)).values()].filter((name) => name !== null)).toEqual([])
    }

    function expectOneOrNone(
      what: Action,
      outcome: unknown,
      before: ReadonlyMap<string, string | null>,
      after: ReadonlyMap<string, string | null>,
      history: History,
    ): void {
      const gone = [...before.keys()].filter((id) => !after.has(id))
      const come = [...after.keys()].filter((id) => !before.has(id))
      const others = [...after].filter(([id, name]) => before.has(id) && before.get(id) !== name)
      switch (what.do) {
        case "create":
          expect([gone, others]).toEqual([[], []])
          expect(come.length).toBeLessThanOrEqual(1)
          break
        case "touch":
        case "update":
          expect([gone, come, others]).toEqual([[], [], []])
          break
        case "bind":
          expect([gone, come]).toEqual([[], []])
          expect(others.length).toBeLessThanOrEqual(1)
          break
        case "rotate":
        case "sign in":
          // At one place, the old or the new.
          expect(gone.length).toBe(come.length)
          expect(come.length).toBeLessThanOrEqual(1)
          expect(others).toEqual([])
          if (what.do === "rotate" && gone.length === 1)
            expect(after.get(come[0]!)).toBe(before.get(gone[0]!))
          break
        case "expire":
        case "delete":
          expect([come, others]).toEqual([[], []])
          expect(gone.length).toBeLessThanOrEqual(1)
          break
        case "revoke": {
          const name = history.users[what.user] as string
          expect([come, others]).toEqual([[], []])
          for (const id of gone) expect(before.get(id)).toBe(name)
          if (typeof outcome === "number") expect(gone.length).toBe(outcome)
          break
        }
      }
    }
  })
}

describeBounds("redis")
describeBounds("cluster")

function describeBounds(engine: RedisEngine): void {
  describeOnRedis(engine, "the index of users stays small", () => {
    let client: Client
    beforeAll(async () => {
      client = await openOn(engine, "ioredis 5")
    })
    afterAll(() => client.close())

    /** How many entries the index has, and how long it lasts, on whichever node it is. */
    async function indexOf(prefix: string, name: string): Promise<{ size: number; ttl: number }> {
      const key = `${prefix}user:${JSON.stringify(name)}`
      for (const port of portsOf(engine)) {
        const admin = await openAdmin(port)
        try {
          return { size: await admin.zcard(key), ttl: await admin.pttl(key) }
        } catch {
          // Another node has it.
        } finally {
          admin.disconnect()
        }
      }
      throw new Error("No node has the index.")
    }

    /** Makes the entries of an index older than a minute. */
    async function age(prefix: string, name: string): Promise<void> {
      const key = `${prefix}user:${JSON.stringify(name)}`
      const script = `
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], -61000, id) end`
      for (const port of portsOf(engine)) {
        const admin = await openAdmin(port)
        await admin.eval(script, 1, key).catch(() => undefined)
        admin.disconnect()
      }
    }

    test("500 sign-ins of one user whose sessions expire leave an index of a few times the live ones", async () => {
      const [prefix, name] = [freshPrefix(), freshUser()]
      const store = redisStore(client.client, { prefix })
      const LIVE = 10
      for (let count = 0; count < LIVE; count++) await store.create(freshId(), newRecord({ userId: name }))
      let largest = 0
      for (let count = 0; count < 500; count++) {
        await store.create(freshId(), newRecord({ userId: name, idleTtl: 1 }))
        // In a cluster an entry of the last minute may be ahead of its session.
        if (engine === "cluster" && count % 10 === 9) await age(prefix, name)
        if (count % 25 === 24) largest = Math.max(largest, (await indexOf(prefix, name)).size)
      }
      expect(largest).toBeLessThan(4 * LIVE)
      expect((await store.listByUser(name)).length).toBe(LIVE)
      if (engine === "cluster") {
        await age(prefix, name)
        await store.listByUser(name)
      }
      expect((await indexOf(prefix, name)).size).toBe(LIVE)
    })

    test("1200 sessions of one user, which all live, are all in the index, and end at once", async () => {
      const [prefix, name] = [freshPrefix(), freshUser()]
      const store = redisStore(client.client, { prefix })
      await Promise.all(
        Array.from({ length: 1_200 }, () => store.create(freshId(), newRecord({ userId: name }))),
      )
      const list = await store.listByUser(name)
      expect(new Set(list.map((each) => each.id)).size).toBe(1_200)
      expect(list.length).toBe(1_200)
      const except = list[700]!.id
      expect(await store.deleteByUser(name, { ...ended, except })).toBe(1_199)
      expect((await store.listByUser(name)).map((each) => each.id)).toEqual([except])
      expect(await store.deleteByUser(name)).toBe(1)
    })

    test("who signs out is out of the index at once, by each way", async () => {
      const [prefix, name] = [freshPrefix(), freshUser()]
      const store = redisStore(client.client, { prefix })
      const ids = await Promise.all(
        Array.from({ length: 5 }, async () => {
          const id = freshId()
          await store.create(id, newRecord({ userId: name }))
          return id
        }),
      )
      const [unbound, rotated, deleted, signedOut, moved] = ids as [string, string, string, string, string]
      expect((await indexOf(prefix, name)).size).toBe(5)
      const change = changing({}, { user: { userId: null, label: null, absoluteTtl: null } })
      await store.update(unbound, change)
      await store.changeId(rotated, freshId(), { ...move({ privilegeChanged: true }), change })
      await store.delete(deleted)
      await store.delete(signedOut, ended)
      await store.changeId(moved, freshId(), move())
      expect((await indexOf(prefix, name)).size).toBe(1)
      expect(await store.deleteByUser(name, ended)).toBe(1)
      expect((await indexOf(prefix, name)).size).toBe(0)
    })

    test("the index lasts as long as its longest session may, and everything goes by itself", async () => {
      const [prefix, name] = [freshPrefix(), freshUser()]
      const store = redisStore(client.client, { prefix })
      const [first, second, next] = [freshId(), freshId(), freshId()]
      await store.create(first, newRecord({ userId: name, absoluteTtl: HOUR }))
      await store.create(second, newRecord({ userId: name, absoluteTtl: 1_000 }))
      const { ttl } = await indexOf(prefix, name)
      expect(ttl).toBeGreaterThan(HOUR - 10_000)
      expect(ttl).toBeLessThanOrEqual(HOUR + 60_000)
      const user = { userId: name, label: null, absoluteTtl: 2 * HOUR }
      await store.changeId(second, next, { ...move({ ttl: 1_000 }), change: changing({}, { user }) })
      expect((await indexOf(prefix, name)).ttl).toBeGreaterThan(2 * HOUR - 10_000)
      const keys = await keysWith(portsOf(engine), prefix)
      expect(keys.size).toBe(4)
      expect([...keys.values()].every((left) => left > 0)).toBe(true)
    })
  })
}

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ConfigError, UnknownIdError } from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { fakeClock } from "../testing/clock.ts"
import { changing, ended, freshId, move, type StoreHarness } from "../testing/conformance/kit.ts"
import { spyStore } from "../testing/spy-store.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { counter, putCounter } from "./cached.test-helper.ts"
import { d1Store, type D1Binding } from "./d1.ts"
import { kvCache, type KvCacheNamespace, type KvCacheOptions } from "./kv-cache.ts"
import { memoryStore } from "./memory.ts"

/** As much of a namespace as is needed here: miniflare's declarations need those of Workers. */
interface Namespace extends KvCacheNamespace {
  list(options: { prefix: string }): Promise<{ keys: { name: string; expiration?: number }[] }>
}

interface Miniflare {
  getKVNamespace(name: string): Promise<Namespace>
  getD1Database(name: string): Promise<D1Binding>
  dispose(): Promise<void>
}

let workerd: Miniflare
let kv: Namespace
let database: D1Binding
let prefixes = 0

beforeAll(async () => {
  const specifier = "miniflare"
  const { Miniflare } = (await import(specifier)) as { Miniflare: new (options: object) => Miniflare }
  const script = "export default { fetch: () => new Response() }"
  workerd = new Miniflare({
    modules: true,
    script,
    kvNamespaces: ["KV"],
    d1Databases: ["DB"],
    compatibilityDate: "2026-01-01",
    cf: false,
  })
  ;[kv, database] = await Promise.all([workerd.getKVNamespace("KV"), workerd.getD1Database("DB")])
  await d1Store(database).migrate()
})
afterAll(() => workerd.dispose())

/** The namespace, with some of its methods replaced. */
function namespace(methods: Partial<KvCacheNamespace> = {}): KvCacheNamespace {
  return {
    get: (key, options) => kv.get(key, options),
    put: (key, value, options) => kv.put(key, value, options),
    delete: (key) => kv.delete(key),
    ...methods,
  }
}

function cacheOfMemory(binding: KvCacheNamespace, options: Partial<KvCacheOptions> = {}) {
  const clock = fakeClock()
  const authority = spyStore(memoryStore({ clock }))
  const prefix = `case-${++prefixes}:`
  const server = () => kvCache(binding, { authority, clock, prefix, cacheTimeout: "1s", ...options })
  return { clock, authority, prefix, here: server(), there: server() }
}

describe("a store behind KV keeps the store contract", () => {
  const open = (): StoreHarness => {
    const clock = fakeClock()
    const [authority, prefix] = [memoryStore({ clock }), `law-${++prefixes}:`]
    const opened = () => kvCache(kv, { authority, clock, prefix, cacheTimeout: "1s" })
    return {
      store: opened(),
      precise: true,
      advance: clock.advance,
      connect: async () => opened(),
      close: () => undefined,
    }
  }
  const options = { capabilities: { promptRevocation: false }, extras: ["connect"] } as const
  for (const { name, run } of storeConformance(open, options)) test(name, run)
})

describe("KV in front of D1", () => {
  const cached = (authority = spyStore(d1Store(database))) => ({
    authority,
    store: kvCache(kv, { authority, prefix: `d1-${++prefixes}:`, cacheTimeout: "1s" }),
  })

  test("a second load does not ask D1", async () => {
    const { authority, store } = cached()
    const id = await putCounter(store, freshId())
    expect([await counter(store, id), await counter(store, id)]).toEqual([0, 0])
    expect(authority.operations()).toEqual(["create", "load"])
    expect(store.stats()).toMatchObject({ hits: 1, misses: 1 })
    expect(store.name).toBe("cached d1")
  })

  test("G5: a session that D1 knows to be dead can be read, and never written", async () => {
    const { authority, store } = cached()
    const [id, other] = [await putCounter(store, freshId(), "ann"), await putCounter(store, freshId(), "ann")]
    await Promise.all([store.load(id), store.load(other)])
    // Another location's revocation, whose deletion has not reached this one.
    expect(await authority.deleteByUser("ann", ended)).toBe(2)
    expect([await counter(store, id), await counter(store, other)]).toEqual([0, 0])
    expect(await store.load(other, { fresh: true })).toEqual({ ended: true })
    await expect(store.update(id, changing({ n: 1 }))).rejects.toThrow(UnknownIdError)
    await expect(store.changeId(id, freshId(), move())).rejects.toThrow(UnknownIdError)
    expect([await store.load(id), await store.load(other)]).toEqual([{ ended: true }, { ended: true }])
  })

  test("a browser's sessions are read from KV and written to D1, and transact is exact", async () => {
    const { authority, store } = cached()
    const sessions = createSessions<{ n: number }>({
      store,
      keys: ["a key for the tests, which has enough bytes"],
    })
    const first = sessions.open(null)
    first.set("n", 0)
    const { setCookie } = await first.finalize()
    const cookie = setCookie?.split(";")[0]
    for (let turn = 0; turn < 3; turn++) expect(await sessions.open(cookie).get("n")).toBe(0)
    expect(authority.operations()).toEqual(["create", "load"])
    const requests = Array.from({ length: 5 }, () => sessions.open(cookie))
    await Promise.all(
      requests.map((session) => session.transact((state) => state.set("n", (state.get("n") ?? 0) + 1))),
    )
    await Promise.all(requests.map((session) => session.finalize()))
    expect(await sessions.open(cookie).get("n")).toBe(5)
  })

  test("a D1 store that reads from replicas is refused, for no bound could be stated", () => {
    const authority = d1Store(database, { replicas: true })
    expect(() => kvCache(kv, { authority })).toThrow("capabilities.promptRevocation")
  })
})

describe("an entry in KV", () => {
  test("is kept by KV for a minute at least, and read for staleness", async () => {
    const { clock, prefix, here, there } = cacheOfMemory(kv, { staleness: "5s" })
    const id = await putCounter(here, freshId())
    const before = Date.now() / 1000
    await here.load(id)
    const { keys } = await kv.list({ prefix })
    expect(keys.map(({ name }) => name)).toEqual([prefix + id])
    expect(keys[0]?.expiration).toBeGreaterThanOrEqual(Math.floor(before) + 60)
    clock.advance(4999)
    await there.load(id)
    clock.advance(1)
    await there.load(id)
    expect(there.stats()).toMatchObject({ hits: 1, misses: 1 })
  })

  test("is gone after a write, so that other servers at the location see what was written", async () => {
    const { here, there } = cacheOfMemory(kv)
    const id = await putCounter(here, freshId())
    await here.load(id)
    await there.update(id, changing({ n: 1 }))
    expect(await counter(here, id)).toBe(1)
  })

  test("that KV goes on giving after a write is not believed where that was made, though another server's clock is ahead", async () => {
    const { clock, authority, prefix, here } = cacheOfMemory(kv)
    const ahead = kvCache(kv, { authority, prefix, clock: () => clock() + 30_000 })
    const id = await putCounter(here, freshId())
    await ahead.load(id)
    const old = (await kv.get(prefix + id, { type: "text" })) as string
    expect(await counter(here, id)).toBe(0)
    await here.update(id, changing({ n: 1 }))
    // To the last millisecond at which a server that has not written would believe it.
    for (const time of [0, 59_999, 30_000]) {
      clock.advance(time)
      await kv.put(prefix + id, old, { expirationTtl: 60 })
      expect(await counter(here, id)).toBe(1)
    }
  })

  test("is put there before the load resolves, or later where waitUntil is given", async () => {
    const gate = Promise.withResolvers<void>()
    const slow = namespace({
      put: async (key, value, options) => {
        await gate.promise
        await kv.put(key, value, options)
      },
    })
    const later: Promise<unknown>[] = []
    const waiting = cacheOfMemory(slow, { waitUntil: (promise) => void later.push(promise) })
    const id = await putCounter(waiting.here, freshId())
    expect(await counter(waiting.here, id)).toBe(0)
    expect(later.length).toBe(1)
    gate.resolve()
    await later[0]
    await waiting.here.load(id)
    expect(waiting.here.stats().hits).toBe(1)
  })

  test("that is refused because the last write was a moment ago is no failure", async () => {
    const errors: unknown[] = []
    const full = namespace({
      put: async () => {
        throw new Error("KV PUT failed: 429 Too Many Requests")
      },
    })
    const { here } = cacheOfMemory(full, { onCacheError: (error) => errors.push(error) })
    const id = await putCounter(here, freshId())
    expect([await counter(here, id), await counter(here, id)]).toEqual([0, 0])
    expect([errors, here.stats().failures]).toEqual([[], 0])
  })
})

describe("KV that fails", () => {
  test.each<[string, Partial<KvCacheNamespace>, Partial<KvCacheOptions>]>([
    ["get", { get: () => Promise.reject(new Error("KV GET failed: 500")) }, {}],
    ["put", { put: () => Promise.reject(new Error("KV PUT failed: 500")) }, {}],
    ["a get that hangs", { get: () => new Promise(() => undefined) }, { cacheTimeout: 20 }],
    [
      "waitUntil",
      {},
      {
        waitUntil: () => {
          throw new TypeError("Illegal invocation")
        },
      },
    ],
  ])("fails no request: %s", async (_what, methods, options) => {
    const errors: unknown[] = []
    const { here } = cacheOfMemory(namespace(methods), {
      ...options,
      onCacheError: (error) => errors.push(error),
    })
    const id = await putCounter(here, freshId())
    expect(await counter(here, id)).toBe(0)
    expect(errors.length).toBe(1)
  })
})

test("no request waits for the question of another, which may be cut off", async () => {
  const { authority, here } = cacheOfMemory(kv)
  const id = await putCounter(here, freshId())
  await Promise.all([here.load(id), here.load(id), here.load(id)])
  expect(authority.operations()).toEqual(["create", "load", "load", "load"])
})

test.each<[unknown, object, string]>([
  [undefined, {}, "binding"],
  [{ get: () => undefined }, {}, "binding"],
  [namespace(), { authority: undefined }, "authority"],
  [namespace(), { prefix: "x".repeat(470) }, "prefix"],
  [namespace(), { staleness: "1h" }, "staleness"],
  [namespace(), { cacheTimeout: 0 }, "cacheTimeout"],
  [namespace(), { waitUntil: 1 }, "waitUntil"],
  [namespace(), { onCacheError: 1 }, "onCacheError"],
  [namespace(), { clock: 1 }, "clock"],
  [namespace(), { cacheTtl: 30 }, "cacheTtl"],
])("%j with %j is refused", (binding, options, option) => {
  const make = (): unknown => kvCache(binding as KvCacheNamespace, { authority: memoryStore(), ...options })
  expect(make).toThrow(ConfigError)
  expect(make).toThrow(option)
})

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { CapabilityError, ConfigError, StoreError, UnknownIdError } from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { fakeClock } from "../testing/clock.ts"
import {
  changing,
  ended,
  freshId,
  move,
  newRecord,
  type StoreHarness,
  texts,
} from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { type KvNamespace, kvStore } from "./kv.ts"

/** As much of a namespace as is needed here: miniflare's declarations need those of Workers. */
interface Namespace extends KvNamespace {
  list(options: { prefix: string }): Promise<{ keys: { name: string; expiration?: number }[] }>
}

interface Miniflare {
  getKVNamespace(name: string): Promise<Namespace>
  dispose(): Promise<void>
}

let workerd: Miniflare
let kv: Namespace
let prefixes = 0

beforeAll(async () => {
  const specifier = "miniflare"
  const { Miniflare } = (await import(specifier)) as { Miniflare: new (options: object) => Miniflare }
  const script = "export default { fetch: () => new Response() }"
  workerd = new Miniflare({ modules: true, script, kvNamespaces: ["KV"] })
  kv = await workerd.getKVNamespace("KV")
})
afterAll(() => workerd.dispose())

const CAPABILITIES = {
  merge: false,
  compareAndSet: false,
  promptRevocation: false,
  userIndex: false,
  atomicRotation: false,
} as const

/** The namespace, with something to happen before each call. */
function watched(
  before: (call: "get" | "put" | "delete", key: string, input: unknown[]) => unknown,
): KvNamespace {
  return {
    get: async (key, options) => {
      await before("get", key, [options])
      return kv.get(key, options)
    },
    put: async (key, value, options) => {
      await before("put", key, [value, options])
      return kv.put(key, value, options)
    },
    delete: async (key) => {
      await before("delete", key, [])
      return kv.delete(key)
    },
  }
}

/** One write a second for each key, which the simulator lets be. */
function limited(onPut: (key: string) => unknown = () => undefined): KvNamespace {
  const writtenAt = new Map<string, number>()
  return watched(async (call, key) => {
    if (call === "get") return
    await onPut(key)
    const now = performance.now()
    if (now - (writtenAt.get(key) ?? -Infinity) < 1000) {
      throw new Error(`KV ${call.toUpperCase()} failed: 429 Too Many Requests`)
    }
    writtenAt.set(key, now)
  })
}

describe("kvStore keeps the store contract", () => {
  const open = (): StoreHarness => {
    const clock = fakeClock()
    const prefix = `law-${++prefixes}:`
    return {
      store: kvStore(kv, { prefix, clock }),
      precise: true,
      expiresByItself: true,
      advance: clock.advance,
      connect: async () => kvStore(kv, { prefix, clock }),
      corrupt: async (id) => {
        const text = (await kv.get(prefix + id, { type: "text" })) as string
        await kv.put(prefix + id, text.replace(/\n.*$/, "\n[1]"), { expirationTtl: 60 })
      },
      close: () => undefined,
    }
  }
  const options = { capabilities: CAPABILITIES, checksIds: false }
  for (const { name, run } of storeConformance(open, options)) test(name, run)
})

describe("what KV cannot promise is refused at the call", () => {
  const sessionsOn = (binding: KvNamespace) =>
    createSessions({ store: kvStore(binding), keys: ["a key for the tests, which has enough bytes"] })

  test.each<[string, string, (sessions: ReturnType<typeof sessionsOn>) => unknown]>([
    ["transact", "compareAndSet", (sessions) => sessions.open(undefined).transact(() => 1)],
    ["consume", "compareAndSet", (sessions) => sessions.open(undefined).consume("a")],
    [
      "cycleId with grace",
      "atomicRotation",
      async (sessions) => sessions.open(null).cycleId({ grace: "1s" }),
    ],
    ["revokeOthers", "userIndex", (sessions) => sessions.open(undefined).revokeOthers()],
    ["revokeByUser", "userIndex", (sessions) => sessions.revokeByUser("ann")],
    ["listByUser", "userIndex", (sessions) => sessions.listByUser("ann")],
  ])("%s, before KV is asked for anything", async (_call, capability, run) => {
    const calls: string[] = []
    const sessions = sessionsOn(watched((call) => calls.push(call)))
    const error: unknown = await Promise.resolve(run(sessions)).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CapabilityError)
    expect(error).toMatchObject({ capability })
    expect(calls).toEqual([])
  })

  test("and what it can promise is done: signing in and out", async () => {
    const sessions = sessionsOn(kv)
    const session = sessions.open(undefined)
    session.set("cart", ["bowler"])
    session.signIn("ann")
    const cookie = (await session.finalize()).setCookie?.split(";")[0]
    const next = sessions.open(cookie)
    expect(await next.userId()).toBe("ann")
    expect(await next.get("cart")).toEqual(["bowler"])
    next.signOut()
    await next.finalize()
    expect(await sessions.open(cookie).userId()).toBeNull()
  })
})

describe("keys and times", () => {
  test("a key is the prefix and the id; KV drops it after the record's end, but no sooner than in 60 seconds", async () => {
    const store = kvStore(kv, { prefix: "times:" })
    const [short, long, dead] = [freshId(), freshId(), freshId()]
    await store.create(short, newRecord({ idleTtl: 1000 }))
    await store.create(long, newRecord({ idleTtl: 7_200_500 }))
    await store.create(dead, newRecord())
    await store.delete(dead, { tombstone: { ttl: 600_000 } })
    const { keys } = await kv.list({ prefix: "times:" })
    const now = Date.now() / 1000
    const left = (id: string): number =>
      (keys.find(({ name }) => name === `times:${id}`)?.expiration ?? 0) - now
    for (const [id, seconds] of [
      [short, 60],
      [long, 7201],
      [dead, 600],
    ] as const) {
      expect(left(id)).toBeGreaterThan(seconds - 30)
      expect(left(id)).toBeLessThanOrEqual(seconds + 1)
    }
  })

  test("a new id is never read before it is written, for KV would remember that nothing was there", async () => {
    const read = new Set<string>()
    const store = kvStore(watched((call, key) => call === "get" && read.add(key)))
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord())
    expect([...read]).toEqual([])
    await store.changeId(id, next, move())
    expect([...read]).toEqual([`session:${id}`])
  })

  test("cacheTtl goes along with each read, and is left to KV if not given", async () => {
    const reads: unknown[] = []
    const note = watched((call, _key, input) => call === "get" && reads.push(input[0]))
    for (const options of [{}, { cacheTtl: 300 }]) {
      const store = kvStore(note, options)
      const id = freshId()
      await store.create(id, newRecord())
      await store.load(id)
    }
    expect(reads).toEqual([{ type: "text" }, { type: "text", cacheTtl: 300 }])
  })

  test("deleteExpired leaves it to KV", async () => {
    const clock = fakeClock()
    const calls: string[] = []
    const store = kvStore(
      watched((call) => calls.push(call)),
      { clock },
    )
    await store.create(freshId(), newRecord({ idleTtl: 1000 }))
    clock.advance(1001)
    calls.length = 0
    expect(await store.deleteExpired({ limit: 10 })).toBe(0)
    expect(calls).toEqual([])
  })
})

describe.concurrent("one write a second for each key", () => {
  test("an update that comes too soon is tried once more, on what is there by then", async () => {
    const store = kvStore(limited())
    const id = freshId()
    await store.create(id, newRecord({ state: texts([["a", 1]]) }))
    expect(await store.update(id, changing({ b: 2 }))).toMatchObject({ version: 2 })
    expect(await store.load(id)).toMatchObject({ state: { a: 1, b: 2 } })
  })

  test("the second try of an update finds that the session has ended meanwhile", async () => {
    const id = freshId()
    let puts = 0
    const store = kvStore(
      limited(async () => {
        // Elsewhere.
        if (++puts === 2) await kvStore(kv).delete(id, ended)
      }),
    )
    await store.create(id, newRecord())
    const error: unknown = await store.update(id, changing({ a: 1 })).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UnknownIdError)
    expect(error).toMatchObject({ gone: { ended: true } })
    expect(await store.load(id)).toEqual({ ended: true })
  })

  test("a sign-out right after a write ends the session all the same", async () => {
    const store = kvStore(limited())
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord())
    await store.changeId(id, next, move({ privilegeChanged: true }))
    expect(await store.load(id)).toMatchObject({ movedTo: next })
    await store.delete(next, ended)
    expect(await store.load(next)).toEqual({ ended: true })
  })

  test("a touch that comes too soon is no failure, for who wrote has touched as well", async () => {
    let puts = 0
    const store = kvStore(limited(() => (puts += 1)))
    const id = freshId()
    await store.create(id, newRecord({ idleTtl: 60_000 }))
    const touched = await Promise.all([store.updateTtl(id), store.updateTtl(id), store.updateTtl(id)])
    for (const { version, expiresIn } of touched) {
      expect(version).toBe(1)
      expect(expiresIn).toBeGreaterThan(0)
      expect(expiresIn).toBeLessThanOrEqual(60_000)
    }
    expect(puts).toBe(4)
  })

  test("a touch that comes too soon after the end finds it", async () => {
    const id = freshId()
    let puts = 0
    const store = kvStore(
      limited(async () => {
        if (++puts === 2) await kvStore(kv).delete(id, ended)
      }),
    )
    await store.create(id, newRecord())
    await expect(store.updateTtl(id)).rejects.toThrow(UnknownIdError)
  })

  test("there is no third try, and the error says what to do", async () => {
    const id = freshId()
    await kvStore(kv).create(id, newRecord({ state: texts([["a", 1]]) }))
    const puts: string[] = []
    const busy = watched((call) => {
      if (call !== "put") return
      puts.push(call)
      throw new Error("KV PUT failed: 429 Too Many Requests")
    })
    const error: unknown = await kvStore(busy)
      .update(id, changing({ b: 2 }))
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ operation: "update", store: "kv", cause: expect.any(Error) as Error })
    expect(String(error)).toContain("KV takes one write a second for each key")
    expect(puts).toHaveLength(2)
    expect(await kvStore(kv).load(id)).toMatchObject({ state: { a: 1 }, version: 1 })
  })
})

describe("errors", () => {
  test("of a record too large say so", async () => {
    const record = newRecord({ state: texts([["value", "x".repeat(26 * 2 ** 20)]]) })
    await expect(kvStore(kv).create(freshId(), record)).rejects.toThrow(
      /larger than the 25 MiB that KV takes/,
    )
  })

  test("of a day's limit say so", async () => {
    const store = kvStore(
      watched(() => {
        throw new Error("KV get() limit exceeded for the day.")
      }),
    )
    await expect(store.load(freshId())).rejects.toThrow(/used up its day's KV operations/)
  })

  test("that nobody knows reach the caller as they are", async () => {
    const failure = new Error("KV GET failed: 500 Internal Server Error")
    const store = kvStore(
      watched(() => {
        throw failure
      }),
    )
    await expect(store.load(freshId())).rejects.toBe(failure)
  })
})

test("concurrent updates in one isolate all survive, though each writes the whole record", async () => {
  const store = kvStore(kv)
  const id = freshId()
  await store.create(id, newRecord())
  await Promise.all(Array.from({ length: 10 }, (_, at) => store.update(id, changing({ [`key ${at}`]: at }))))
  const found = await store.load(id)
  expect(found).toMatchObject({ version: 11 })
  expect(Object.keys((found as { state: object }).state)).toHaveLength(10)
})

test("a write that was cut off in the middle holds the next one up, but not for ever", async () => {
  let isCutOff = true
  const store = kvStore(
    watched((call) => (call === "put" && isCutOff ? new Promise(() => undefined) : undefined)),
  )
  const id = freshId()
  await kvStore(kv).create(id, newRecord())
  void store.update(id, changing({ lost: 1 }))
  await new Promise((resolve) => setTimeout(resolve, 20))
  isCutOff = false
  await store.update(id, changing({ a: 1 }))
  expect(await store.load(id)).toMatchObject({ state: { a: 1 } })
})

test.each<[unknown, object, string, string]>([
  [undefined, {}, "binding", "is it bound under that name"],
  [{ get: () => null }, {}, "binding", "expected a KV namespace"],
  [{}, { prefix: 1 }, "prefix", "prefix"],
  [{}, { prefix: "ä".repeat(235) }, "prefix", "at most 469 bytes"],
  [{}, { cacheTtl: 29 }, "cacheTtl", "30 or more"],
  [{}, { cacheTtl: 60.5 }, "cacheTtl", "30 or more"],
  [{}, { cacheTtl: "1m" }, "cacheTtl", "30 or more"],
  [{}, { clock: 1 }, "clock", "clock"],
  [{}, { ttl: 60 }, "ttl", "there is no option ttl"],
])("%j with %j is refused", (binding, options, option, message) => {
  const given = binding !== undefined && Object.keys(binding as object).length === 0 ? kv : binding
  const make = () => kvStore(given as KvNamespace, options)
  expect(make).toThrow(ConfigError)
  expect(make).toThrow(expect.objectContaining({ option }))
  expect(make).toThrow(message)
})

test("the longest prefix that is allowed is one that KV takes", async () => {
  const store = kvStore(kv, { prefix: "p".repeat(469) })
  const id = freshId()
  await store.create(id, newRecord())
  expect(await store.load(id)).toMatchObject({ version: 1 })
})

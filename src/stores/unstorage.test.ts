import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, test } from "vitest"
import {
  CapabilityError,
  ConfigError,
  DuplicateIdError,
  RecordCorruptError,
  UnknownIdError,
} from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { fakeClock } from "../testing/clock.ts"
import {
  changing,
  ended,
  freshId,
  HOUR,
  move,
  newRecord,
  type StoreHarness,
  texts,
} from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { type UnstorageStorage, unstorageStore } from "./unstorage.ts"

/** As much of unstorage's types as is needed here: its own declarations need those of every engine that it has a driver for. */
interface Driver {
  getItem(key: string): unknown
  hasItem(key: string): boolean
  setItem(key: string, value: string, options: { readonly ttl: number }): unknown
  removeItem(key: string): unknown
  getKeys(): string[] | Promise<string[]>
}

interface Storage extends UnstorageStorage {
  setItem(key: string, value: string | number, options?: { ttl: number }): Promise<void>
  getKeys(base?: string): Promise<string[]>
}

interface Unstorage {
  createStorage(options?: { driver: Driver }): Storage
  prefixStorage(storage: Storage, base: string): Storage
}

type DriverFactory = (options?: { base: string }) => Driver

async function importUnstorage<T>(specifier: string): Promise<T> {
  return (await import(specifier)) as T
}

const { createStorage, prefixStorage } = await importUnstorage<Unstorage>("unstorage")
const { default: fs } = await importUnstorage<{ default: DriverFactory }>("unstorage/drivers/fs")
const { default: fsLite } = await importUnstorage<{ default: DriverFactory }>("unstorage/drivers/fs-lite")
const { default: memory } = await importUnstorage<{ default: DriverFactory }>("unstorage/drivers/memory")

const PLAIN = {
  merge: false,
  compareAndSet: false,
  promptRevocation: false,
  userIndex: false,
  atomicRotation: false,
} as const

const root = mkdtempSync(join(tmpdir(), "coatcheck-unstorage-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0

function folder(): string {
  return join(root, String(++folders))
}

function keyOf(id: string): string {
  return `session:${Buffer.from(id, "base64url").toString("hex")}`
}

/** @upstash/redis does this to whatever it reads. */
function parsingDriver(): Driver {
  const data = new Map<string, string>()
  return {
    getItem: (key) => {
      const text = data.get(key)
      if (text === undefined) return null
      try {
        return JSON.parse(text) as object
      } catch {
        return text
      }
    },
    hasItem: (key) => data.has(key),
    setItem: (key, value) => data.set(key, value),
    removeItem: (key) => data.delete(key),
    getKeys: () => [...data.keys()],
  }
}

describe.each<[string, () => () => Driver]>([
  [
    "memory",
    () => {
      const driver = memory()
      return () => driver
    },
  ],
  [
    "fs",
    () => {
      const base = folder()
      return () => fs({ base })
    },
  ],
  [
    "fs-lite",
    () => {
      const base = folder()
      return () => fsLite({ base })
    },
  ],
  [
    "parsing",
    () => {
      const driver = parsingDriver()
      return () => driver
    },
  ],
])("unstorageStore on the %s driver keeps the store contract", (_name, begin) => {
  const open = (): StoreHarness => {
    const clock = fakeClock()
    const driver = begin()
    const storage = createStorage({ driver: driver() })
    return {
      store: unstorageStore(storage, { clock }),
      precise: true,
      advance: clock.advance,
      connect: async () => unstorageStore(createStorage({ driver: driver() }), { clock }),
      corrupt: async (id) => {
        const text = (await storage.getItem(keyOf(id))) as string
        await storage.setItem(keyOf(id), text.replace(/\n.*$/, "\n[1]"))
      },
      close: () => undefined,
    }
  }
  for (const { name, run } of storeConformance(open, { capabilities: PLAIN })) test(name, run)
})

describe("what the store cannot promise is refused at the call", () => {
  const sessions = createSessions({
    store: unstorageStore(createStorage()),
    keys: ["a key for the tests, which has enough bytes"],
  })

  test.each<[string, string, () => unknown]>([
    ["transact", "compareAndSet", () => sessions.open(undefined).transact(() => 1)],
    ["consume", "compareAndSet", () => sessions.open(undefined).consume("a")],
    ["cycleId with grace", "atomicRotation", async () => sessions.open(undefined).cycleId({ grace: "1s" })],
    ["revokeOthers", "userIndex", () => sessions.open(undefined).revokeOthers()],
    ["revokeByUser", "userIndex", () => sessions.revokeByUser("ann")],
    ["listByUser", "userIndex", () => sessions.listByUser("ann")],
  ])("%s", async (_call, capability, run) => {
    const error: unknown = await Promise.resolve(run()).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CapabilityError)
    expect(error).toMatchObject({ capability })
  })

  test("and what it can promise is done: signing in, revoking, a rotation without grace", async () => {
    const session = sessions.open(undefined)
    session.signIn("ann")
    const { setCookie } = await session.finalize()
    const next = sessions.open(setCookie?.split(";")[0])
    expect(await next.userId()).toBe("ann")
    next.cycleId()
    next.set("a", 1)
    const rotated = (await next.finalize()).setCookie?.split(";")[0]
    const last = sessions.open(rotated)
    expect(await last.get("a")).toBe(1)
    expect(await sessions.revoke(last.id as string)).toBe(true)
    expect(await sessions.open(rotated).get("a")).toBeUndefined()
  })
})

test("concurrent updates in one process all survive, though each writes the whole record", async () => {
  const store = unstorageStore(createStorage({ driver: fs({ base: folder() }) }))
  const id = freshId()
  await store.create(id, newRecord())
  await Promise.all(Array.from({ length: 20 }, (_, at) => store.update(id, changing({ [`key ${at}`]: at }))))
  expect(await store.load(id)).toMatchObject({ version: 21 })
  expect(Object.keys(((await store.load(id)) as { state: object }).state)).toHaveLength(20)
})

test("a load that meets a write finds the record as before or as after, never half of it", async () => {
  const store = unstorageStore(createStorage({ driver: fs({ base: folder() }) }))
  const id = freshId()
  const value = "x".repeat(500_000)
  await store.create(id, newRecord({ state: texts([["value", value]]) }))
  for (let round = 0; round < 10; round++) {
    const writing = { isOver: false }
    const update = store.update(id, changing({ round })).finally(() => (writing.isOver = true))
    while (!writing.isOver) expect(await store.load(id)).toMatchObject({ state: { value } })
    await update
  }
})

test("what is under a key and not a record is corrupt, can be ended, and is not told", async () => {
  const storage = createStorage()
  const store = unstorageStore(storage)
  const contents = [
    "secret",
    '{"secret":1}',
    "coatcheck secret",
    "coatcheck ",
    'coatcheck {"secret":1}\n{}',
    'coatcheck {"secret":1}',
    "coatcheck null\nnull",
    'coatcheck {"deadline":1e15,"gone":{"movedTo":1,"privilegeChanged":"secret"}}',
    "1",
  ]
  for (const text of contents) {
    const id = freshId()
    await storage.setItem(keyOf(id), text)
    const error: unknown = await store.load(id).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(RecordCorruptError)
    expect(String(error)).not.toContain(id)
    expect(`${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`).not.toContain(
      "secret",
    )
    await expect(store.update(id, changing({ a: 1 }, { clear: true }))).rejects.toThrow(RecordCorruptError)
    await expect(store.create(id, newRecord())).rejects.toThrow(DuplicateIdError)
    await store.delete(id, ended)
    expect(await store.load(id)).toEqual({ ended: true })
  }
})

test("a way of moves that leads in a circle has an end", async () => {
  const storage = createStorage()
  const store = unstorageStore(storage)
  const [one, two] = [freshId(), freshId()]
  const deadline = Date.now() + HOUR
  for (const [id, movedTo] of [
    [one, two],
    [two, one],
  ] as const) {
    const word = JSON.stringify({ deadline, gone: { movedTo, privilegeChanged: false } })
    await storage.setItem(keyOf(id), `coatcheck ${word}`)
  }
  await expect(store.delete(one, ended)).rejects.toThrow(RecordCorruptError)
})

describe("a rotation of which only the first write succeeds", () => {
  test("leaves the session as it was, and fails", async () => {
    const storage = createStorage()
    let isBroken = false
    const broken: UnstorageStorage = {
      getItem: (key) => storage.getItem(key),
      setItem: async (key, value, options) => {
        if (isBroken && key === keyOf(id)) throw new Error("the disk is full")
        await storage.setItem(key, value, options)
      },
      removeItem: (key) => storage.removeItem(key),
      getKeys: (base) => storage.getKeys(base),
    }
    const store = unstorageStore(broken)
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord({ state: texts([["a", 1]]), userId: "ann" }))
    isBroken = true
    const change = changing({ b: 2 }, { user: { userId: null, label: null, absoluteTtl: null } })
    await expect(store.changeId(id, next, { change, ...move() })).rejects.toThrow("the disk is full")
    expect(await store.load(id)).toMatchObject({ state: { a: 1 }, userId: "ann", version: 1 })
    isBroken = false
    const last = freshId()
    await store.changeId(id, last, { change, ...move() })
    expect(await store.load(last)).toMatchObject({ state: { a: 1, b: 2 }, userId: null })
    await expect(store.updateTtl(id)).rejects.toThrow(UnknownIdError)
  })
})

describe("keys", () => {
  test("of ids that differ in case alone differ in more than case, as files do", async () => {
    const base = folder()
    const store = unstorageStore(createStorage({ driver: fs({ base }) }))
    const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQ"
    const lower = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopQ"
    await store.create(upper, newRecord({ state: texts([["case", "upper"]]) }))
    await store.create(lower, newRecord({ state: texts([["case", "lower"]]) }))
    expect(await store.load(upper)).toMatchObject({ state: { case: "upper" } })
    const names = readdirSync(join(base, "session"))
    expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(2)
    for (const name of names) expect(name).toMatch(/^[0-9a-f]{64}$/)
  })

  test("begin with the prefix, and share a storage with what is not a session", async () => {
    const clock = fakeClock()
    const storage = createStorage()
    const [shop, blog] = [
      unstorageStore(storage, { clock, prefix: "shop:session:" }),
      unstorageStore(storage, { clock, prefix: "shop:" }),
    ]
    const id = freshId()
    await shop.create(id, newRecord({ idleTtl: 1000 }))
    await storage.setItem("shop:stock", 7)
    expect(await blog.load(id)).toBeUndefined()
    clock.advance(1000)
    expect(await blog.deleteExpired()).toBe(0)
    expect(await shop.deleteExpired()).toBe(1)
    expect(await storage.getKeys()).toEqual(["shop:stock"])
  })

  test("can stand under a base of the storage", async () => {
    const clock = fakeClock()
    const storage = createStorage()
    const store = unstorageStore(prefixStorage(storage, "app"), { clock })
    const id = freshId()
    await store.create(id, newRecord({ idleTtl: 1000 }))
    expect(await store.load(id)).toMatchObject({ version: 1 })
    expect(await storage.getKeys()).toEqual([`app:${keyOf(id)}`])
    clock.advance(1000)
    expect(await store.deleteExpired()).toBe(1)
    expect(await storage.getKeys()).toEqual([])
  })
})

test("the driver is told in whole seconds when it may drop a record or a tombstone, and never too early", async () => {
  const ttls: unknown[] = []
  const driver = memory()
  const setItem: Driver["setItem"] = (key, value, options) => {
    ttls.push(options.ttl)
    return driver.setItem(key, value, options)
  }
  const storage = createStorage({ driver: { ...driver, setItem } })
  const store = unstorageStore(storage, { clock: fakeClock() })
  const [id, next] = [freshId(), freshId()]
  await store.create(id, newRecord({ idleTtl: 1001 }))
  await store.updateTtl(id)
  await store.changeId(id, next, move({ ttl: 999 }))
  await store.delete(next, { tombstone: { ttl: 60_000 } })
  expect(ttls).toEqual([2, 2, 2, 1, 60])
})

test("an operation reads once and writes once, whatever it does", async () => {
  const calls: string[] = []
  const storage = createStorage()
  const counted: UnstorageStorage = {
    getItem: (key) => (calls.push("get"), storage.getItem(key)),
    setItem: (key, value, options) => (calls.push("set"), storage.setItem(key, value, options)),
    removeItem: (key) => (calls.push("remove"), storage.removeItem(key)),
    getKeys: (base) => (calls.push("keys"), storage.getKeys(base)),
  }
  const store = unstorageStore(counted)
  const [id, next] = [freshId(), freshId()]
  const callsOf = async (run: () => Promise<unknown>): Promise<string[]> => {
    calls.length = 0
    await run()
    return [...calls]
  }
  expect(await callsOf(() => store.create(id, newRecord()))).toEqual(["get", "set"])
  expect(await callsOf(() => store.load(id))).toEqual(["get"])
  expect(await callsOf(() => store.update(id, changing({ a: 1 })))).toEqual(["get", "set"])
  expect(await callsOf(() => store.updateTtl(id))).toEqual(["get", "set"])
  expect(await callsOf(() => store.changeId(id, next, move()))).toEqual(["get", "get", "set", "set"])
  expect(await callsOf(() => store.delete(next, ended))).toEqual(["get", "set"])
})

describe("deleteExpired", () => {
  test("goes through a folder of many, live and expired, as often as it takes", async () => {
    const clock = fakeClock()
    const base = folder()
    const store = unstorageStore(createStorage({ driver: fs({ base }) }), { clock })
    const live = Array.from({ length: 100 }, freshId)
    for (const id of live) await store.create(id, newRecord())
    for (let index = 0; index < 100; index++) await store.create(freshId(), newRecord({ idleTtl: 1000 }))
    clock.advance(1000)
    let removed = 0
    for (let count = 30; count === 30; removed += count) count = await store.deleteExpired({ limit: 30 })
    expect(removed).toBe(100)
    expect(readdirSync(join(base, "session"))).toHaveLength(100)
    for (const id of live) expect(await store.load(id)).toMatchObject({ version: 1 })
  })

  test("leaves alone what it cannot read", async () => {
    const base = folder()
    const clock = fakeClock()
    const store = unstorageStore(createStorage({ driver: fs({ base }) }), { clock })
    const id = freshId()
    await store.create(id, newRecord())
    const file = join(base, ...keyOf(id).split(":"))
    expect(readFileSync(file, "utf8")).toMatch(/^coatcheck \{.*\}\n\{\}$/)
    writeFileSync(file, "")
    clock.advance(48 * HOUR)
    expect(await store.deleteExpired()).toBe(0)
    expect(existsSync(file)).toBe(true)
  })
})

test("an error of the driver reaches the caller as it is", async () => {
  const failure = new Error("the bucket is gone")
  const driver: Driver = { ...memory(), getItem: () => Promise.reject(failure) }
  const store = unstorageStore(createStorage({ driver }))
  await expect(store.load(freshId())).rejects.toBe(failure)
  await expect(store.update(freshId(), changing({ a: 1 }))).rejects.toBe(failure)
})

test.each<[unknown, object, string]>([
  [undefined, {}, "storage"],
  [{ getItem: () => null }, {}, "storage"],
  [createStorage(), { prefix: "" }, "prefix"],
  [createStorage(), { prefix: "session" }, "prefix"],
  [createStorage(), { prefix: "../up:" }, "prefix"],
  [createStorage(), { prefix: "a?b:" }, "prefix"],
  [createStorage(), { prefix: `${"x".repeat(128)}:` }, "prefix"],
  [createStorage(), { prefix: 1 }, "prefix"],
  [createStorage(), { clock: 1 }, "clock"],
  [createStorage(), { base: "x" }, "base"],
])("%s with %j is refused", (storage, options, option) => {
  const make = () => unstorageStore(storage as UnstorageStorage, options)
  expect(make).toThrow(ConfigError)
  expect(make).toThrow(expect.objectContaining({ option }))
  expect(make).toThrow(option)
})

test("writes of one process take turns, however long each takes and however many wait", async () => {
  const driver = parsingDriver()
  const slow = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, 150, value))
  const storage = createStorage({
    driver: {
      ...driver,
      getItem: async (key: string) => slow(await driver.getItem(key)),
      setItem: async (key: string, value: string) => slow(driver.setItem(key, value, { ttl: 1 })),
    },
  })
  const store = unstorageStore(storage)
  const id = freshId()
  await store.create(id, newRecord())
  const writes = Array.from({ length: 8 }, (_, index) =>
    store.update(id, changing({ [`key-${index}`]: index })),
  )
  const ending = store.delete(id, ended)
  const late = store.update(id, changing({ late: true }))
  await Promise.all(writes)
  await ending
  await expect(late).rejects.toThrow(UnknownIdError)
  expect(await store.load(id)).toEqual({ ended: true })
})

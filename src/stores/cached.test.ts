import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { afterAll, describe, expect, test, vi } from "vitest"
import { ConfigError, RecordCorruptError, UnknownIdError, VersionConflictError } from "../errors.ts"
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
import { spyStore } from "../testing/spy-store.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { bus, counter, liveRecord, putCounter, sharedCache, twoServers } from "./cached.test-helper.ts"
import { type CachedStore, cachedStore, memoryCache, type SessionCache } from "./cached.ts"
import { memoryStore } from "./memory.ts"
import { type SqliteDatabase, sqliteStore } from "./sqlite.ts"

const capabilities = { promptRevocation: false } as const

describe.each([
  ["in memory", false],
  ["that servers share", true],
])("a store behind a cache %s keeps the store contract", (_where, isShared) => {
  const open = (): StoreHarness => {
    const clock = fakeClock()
    const authority = memoryStore({ clock })
    const common = sharedCache(clock)
    const opened = (): CachedStore =>
      cachedStore(isShared ? common : memoryCache({ clock }), authority, { clock })
    return {
      store: opened(),
      precise: true,
      advance: clock.advance,
      connect: async () => opened(),
      close: () => undefined,
    }
  }
  for (const { name, run } of storeConformance(open, { capabilities, extras: ["connect"] })) test(name, run)
})

describe("a SQLite store behind a cache keeps the store contract", () => {
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-cached-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let files = 0

  const open = async (): Promise<StoreHarness> => {
    const clock = fakeClock()
    const path = join(folder, `${++files}.db`)
    const databases: (SqliteDatabase & { close(): unknown })[] = []
    const connected = (): CachedStore => {
      const database = new Database(path)
      databases.push(database)
      return cachedStore(memoryCache({ clock }), sqliteStore(database, { clock }), { clock })
    }
    const database = new Database(path)
    databases.push(database)
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    await sqliteStore(database, { clock }).migrate()
    return {
      store: connected(),
      precise: true,
      advance: clock.advance,
      connect: async () => connected(),
      close: () => {
        for (const each of databases) each.close()
      },
    }
  }
  for (const { name, run } of storeConformance(open, { capabilities, extras: ["connect"] })) test(name, run)
})

describe("what is cached", () => {
  test("a second load does not ask the authority", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    for (let turn = 0; turn < 3; turn++) expect(await counter(here, id)).toBe(0)
    expect(authority.operations()).toEqual(["create", "load"])
    expect(here.stats()).toEqual({ hits: 2, misses: 1, joined: 0, fresh: 0, failures: 0 })
  })

  test("a record from the cache is the one that was stored, but for the time that has passed", async () => {
    const { clock, authority, here } = twoServers({ staleness: 5000 })
    const id = freshId()
    await here.create(
      id,
      newRecord({
        state: texts([
          ["__proto__", { polluted: true }],
          ["text", "\ud800 \0 🧥 \u2028"],
        ]),
        userId: "ann",
        label: "a \n label",
        idleTtl: 60_000,
        fixedTtl: 50_000,
        absoluteTtl: 90_000,
        cookieKind: "browser-session",
      }),
    )
    clock.advance(100)
    await here.update(id, changing({ n: 0.1 + 0.2 }))
    await here.load(id)
    clock.advance(4999)
    const [cached, stored] = [await liveRecord(here, id), await liveRecord(authority, id)]
    expect(here.stats().hits).toBe(1)
    expect(cached).toEqual(stored)
    expect(Object.getOwnPropertyDescriptor(cached.state, "__proto__")?.value).toEqual({ polluted: true })
    expect([cached.expiresIn, cached.fixedExpiresIn, cached.absoluteExpiresIn]).toEqual([
      44_901, 44_901, 84_901,
    ])
  })

  test("what a load hands out belongs to the caller, from the cache and from a question that was shared", async () => {
    const { here } = twoServers()
    const id = freshId()
    await here.create(id, newRecord({ state: texts([["list", [1]]]) }))
    const records = await Promise.all([liveRecord(here, id), liveRecord(here, id), liveRecord(here, id)])
    records.push(await liveRecord(here, id))
    for (const record of records) {
      expect(record.state).toEqual({ list: [1] })
      ;(record.state["list"] as number[]).push(2)
      record.createdAt.setTime(0)
    }
    expect((await liveRecord(here, id)).state).toEqual({ list: [1] })
  })

  test("a record is read from the cache until the millisecond before its deadline, then the authority is asked", async () => {
    const { clock, authority, here } = twoServers()
    const id = freshId()
    await here.create(id, newRecord({ idleTtl: 500 }))
    await here.load(id)
    clock.advance(499)
    expect((await liveRecord(here, id)).expiresIn).toBe(1)
    await authority.updateTtl(id)
    clock.advance(1)
    expect((await liveRecord(here, id)).expiresIn).toBe(499)
    expect(here.stats()).toMatchObject({ hits: 1, misses: 2 })
  })

  test("nothing is remembered of a session that is not there, so that a new one is found at once", async () => {
    const { here, there } = twoServers()
    const id = freshId()
    expect(await here.load(id)).toBeUndefined()
    await putCounter(there, id)
    expect(await counter(here, id)).toBe(0)
  })

  test("nor of one that has ended or moved", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    await here.delete(id, ended)
    authority.reset()
    expect([await here.load(id), await here.load(id)]).toEqual([{ ended: true }, { ended: true }])
    expect(authority.operations()).toEqual(["load", "load"])
  })

  test("a load that has to be fresh asks the authority, and fills the cache", async () => {
    const { here, there } = twoServers()
    const id = await putCounter(here, freshId())
    await here.load(id)
    await there.update(id, changing({ n: 1 }))
    expect(await counter(here, id)).toBe(0)
    expect(await counter(here, id, { fresh: true })).toBe(1)
    expect(await counter(here, id)).toBe(1)
    expect(here.stats()).toMatchObject({ hits: 2, misses: 1, fresh: 1 })
  })

  test("what a fresh load has found to be over is not read any more", async () => {
    const { here, there } = twoServers()
    const id = await putCounter(here, freshId())
    await here.load(id)
    await there.delete(id)
    expect(await counter(here, id)).toBe(0)
    expect(await here.load(id, { fresh: true })).toBeUndefined()
    expect(await here.load(id)).toBeUndefined()
  })

  test("no load that began before a fresh one puts back what that has found to be old", async () => {
    const { authority, here, there } = twoServers()
    const id = await putCounter(here, freshId())
    const held = authority.hold("load", "after")
    const early = counter(here, id)
    await held.reached
    await there.update(id, changing({ n: 1 }))
    expect(await counter(here, id, { fresh: true })).toBe(1)
    held.release()
    expect(await early).toBe(0)
    expect(await counter(here, id)).toBe(1)
  })
})

describe("staleness", () => {
  test("what another server has written is read after staleness at the latest, counted from before the authority was asked", async () => {
    const { clock, authority, here, there } = twoServers()
    const id = await putCounter(here, freshId())
    const held = authority.hold("load", "after")
    const slow = counter(here, id)
    await held.reached
    await there.update(id, changing({ n: 1 }))
    clock.advance(400)
    held.release()
    expect(await slow).toBe(0)
    clock.advance(599)
    expect(await counter(here, id)).toBe(0)
    clock.advance(1)
    expect(await counter(here, id)).toBe(1)
  })

  test("an answer that took longer than staleness is not kept", async () => {
    const { clock, authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    const held = authority.hold("load")
    const slow = here.load(id)
    await held.reached
    clock.advance(1000)
    held.release()
    await slow
    await here.load(id)
    expect(here.stats()).toMatchObject({ hits: 0, misses: 2 })
  })

  test("G5: a session that was revoked elsewhere can be read for staleness, and never written", async () => {
    const { clock, here, there } = twoServers()
    const id = await putCounter(here, freshId(), "ann")
    await here.load(id)
    await there.delete(id, ended)
    clock.advance(999)
    expect(await counter(here, id)).toBe(0)
    await expect(here.update(id, changing({ n: 1 }), { ifVersion: 1 })).rejects.toThrow(UnknownIdError)
    expect(await here.load(id)).toEqual({ ended: true })
  })

  const writes: [string, (store: CachedStore, id: string) => Promise<unknown>][] = [
    ["update", (store, id) => store.update(id, changing({ n: 1 }))],
    ["updateTtl", (store, id) => store.updateTtl(id)],
    ["changeId", (store, id) => store.changeId(id, freshId(), move())],
    ["delete", (store, id) => store.delete(id, ended)],
  ]

  test.each(writes)("G5: %s is refused for a session that is dead but still cached", async (_name, write) => {
    const { here, there } = twoServers()
    const id = await putCounter(here, freshId(), "ann")
    await here.load(id)
    await there.deleteByUser("ann", ended)
    expect(await counter(here, id)).toBe(0)
    await expect(write(here, id)).rejects.toThrow(UnknownIdError)
    expect(await here.load(id)).toEqual({ ended: true })
    expect(await there.load(id)).toEqual({ ended: true })
  })

  test("a request that read a dead session from the cache ends with it, and brings nothing back", async () => {
    const clock = fakeClock()
    const authority = memoryStore({ clock })
    const server = () =>
      createSessions({
        store: cachedStore(memoryCache({ clock }), authority, { clock }),
        keys: ["a key for the tests, which has enough bytes"],
        clock,
      })
    const [here, there] = [server(), server()]
    const first = here.open(null)
    first.set("n", 0)
    const { setCookie } = await first.finalize()
    const cookie = setCookie?.split(";")[0]
    expect(await here.open(cookie).get("n")).toBe(0)
    expect(await there.revoke(first.id as string)).toBe(true)
    const late = here.open(cookie)
    expect(await late.get("n")).toBe(0)
    late.set("n", 1)
    expect((await late.finalize()).setCookie).toBeUndefined()
    expect(late.isInvalidated).toBe(true)
    expect(await here.open(cookie).get("n")).toBeUndefined()
    expect(await authority.load(first.id as string)).toEqual({ ended: true })
  })
})

describe.each([
  ["in memory", false],
  ["that servers share", true],
])("with a cache %s, what this server has written is read here at once", (_where, isShared) => {
  const servers = () => twoServers(isShared ? { cache: sharedCache } : {})

  test("after an update", async () => {
    const { here } = servers()
    const id = await putCounter(here, freshId())
    for (let n = 1; n < 4; n++) {
      await here.load(id)
      await here.update(id, changing({ n }))
      expect(await counter(here, id)).toBe(n)
    }
  })

  test("after an update that was refused for its version", async () => {
    const { here, there } = servers()
    const id = await putCounter(here, freshId())
    await here.load(id)
    await there.update(id, changing({ n: 1 }))
    const refused = here.update(id, changing({ n: 2 }), { ifVersion: 1 })
    await expect(refused).rejects.toThrow(VersionConflictError)
    expect(await counter(here, id)).toBe(1)
  })

  test("after an extension", async () => {
    const { clock, here } = servers()
    const id = await putCounter(here, freshId())
    const { expiresIn } = await liveRecord(here, id)
    clock.advance(500)
    await here.updateTtl(id)
    expect((await liveRecord(here, id)).expiresIn).toBe(expiresIn)
  })

  test("after a rotation, under both ids", async () => {
    const { here } = servers()
    const [id, next] = [await putCounter(here, freshId()), freshId()]
    await here.load(id)
    await here.changeId(id, next, { change: changing({ n: 1 }), ...move() })
    expect(await here.load(id)).toMatchObject({ movedTo: next })
    expect(await counter(here, next)).toBe(1)
  })

  test("after it was ended by the id that it had before it moved twice", async () => {
    const { authority, here } = servers()
    const [id, middle, last] = [await putCounter(here, freshId()), freshId(), freshId()]
    await authority.changeId(id, middle, move())
    await authority.changeId(middle, last, move())
    expect(await counter(here, last)).toBe(0)
    await here.delete(id, ended)
    expect(await here.load(last)).toEqual({ ended: true })
  })

  test("after its user's sessions were ended, and the one that was spared lives", async () => {
    const { here } = servers()
    const ids = [freshId(), freshId(), freshId()]
    for (const id of ids) await putCounter(here, id, "ann")
    const other = await putCounter(here, freshId(), "bob")
    for (const id of [...ids, other]) await here.load(id)
    const [spared, ...dead] = ids as [string, ...string[]]
    expect(await here.deleteByUser("ann", { except: spared, ...ended })).toBe(2)
    for (const id of dead) expect(await here.load(id)).toEqual({ ended: true })
    expect([await counter(here, spared), await counter(here, other)]).toEqual([0, 0])
  })

  test.each([
    ["update", (store: CachedStore, id: string) => store.update(id, changing({ n: 1 })), 1],
    ["delete", (store: CachedStore, id: string) => store.delete(id, ended), undefined],
    ["deleteByUser", (store: CachedStore) => store.deleteByUser("ann", ended), undefined],
  ])("after a write whose outcome is not known: %s", async (operation, write, left) => {
    const { authority, here } = servers()
    const id = await putCounter(here, freshId(), "ann")
    await here.load(id)
    authority.loseNext(operation as "update")
    await expect(write(here, id)).rejects.toThrow("was lost")
    expect(await counter(here, id)).toBe(left)
  })

  test("though a load that began before the write puts its answer into the cache after it", async () => {
    const { authority, here } = servers()
    const id = await putCounter(here, freshId())
    const held = authority.hold("load", "after")
    const early = counter(here, id)
    await held.reached
    await here.update(id, changing({ n: 1 }))
    held.release()
    expect(await early).toBe(0)
    expect(await counter(here, id)).toBe(1)
  })

  test("though a load that began before the revocation of its user puts its answer into the cache after it", async () => {
    const { authority, here } = servers()
    const id = await putCounter(here, freshId(), "ann")
    const held = authority.hold("load", "after")
    const early = counter(here, id)
    await held.reached
    await here.deleteByUser("ann", ended)
    held.release()
    expect(await early).toBe(0)
    expect(await here.load(id)).toEqual({ ended: true })
  })
})

describe("a cache that servers share", () => {
  test("a write, a revocation by id and one by user reach the other server at once", async () => {
    const clock = fakeClock()
    const authority = memoryStore({ clock })
    const cache = sharedCache(clock)
    const [here, there] = [cachedStore(cache, authority, { clock }), cachedStore(cache, authority, { clock })]
    const ids = [freshId(), freshId(), freshId()]
    for (const id of ids) await putCounter(here, id, "ann")
    const [one, two, three] = ids as [string, string, string]
    for (const id of ids) await here.load(id)
    expect([await counter(there, one), there.stats().hits]).toEqual([0, 1])
    await here.update(one, changing({ n: 1 }))
    await here.delete(two, ended)
    expect([await counter(there, one), await counter(there, two)]).toEqual([1, undefined])
    await there.load(three)
    await here.deleteByUser("ann", ended)
    expect([await counter(there, one), await counter(there, three)]).toEqual([undefined, undefined])
    expect(cache.held.size).toBe(0)
  })

  test("an entry of a server whose clock is behind is read as if it were of now, and one that is far ahead not at all", async () => {
    const clock = fakeClock()
    const authority = memoryStore({ clock })
    const cache = sharedCache(() => 0)
    const withLead = (lead: number) => cachedStore(cache, authority, { clock: () => clock() + lead })
    const id = await putCounter(authority, freshId())
    await withLead(30_000).load(id)
    const near = withLead(0)
    expect(await near.load(id)).toEqual(await authority.load(id))
    expect(near.stats().hits).toBe(1)
    await cache.delete(id)
    await withLead(61_000).load(id)
    const far = withLead(0)
    await far.load(id)
    expect(far.stats().hits).toBe(0)
  })

  test("a session has ended, though it cannot be found out in time where it had moved to", async () => {
    const { authority, here } = twoServers({ cacheTimeout: 20 })
    const [one, two] = [await putCounter(here, freshId()), await putCounter(here, freshId())]
    authority.failNext("load")
    await here.delete(one, ended)
    const held = authority.hold("load")
    await here.delete(two, ended)
    held.release()
    expect([await here.load(one), await here.load(two)]).toEqual([{ ended: true }, { ended: true }])
    expect(here.stats().failures).toBe(2)
  })

  test("deleteByUser is as good without the list of the user's sessions", async () => {
    const { authority, here } = twoServers({ cache: sharedCache })
    const id = await putCounter(here, freshId(), "ann")
    await here.load(id)
    authority.failNext("listByUser")
    expect(await here.deleteByUser("ann", ended)).toBe(1)
    expect(await here.load(id)).toEqual({ ended: true })
  })
})

describe("single flight", () => {
  test("a hundred loads at once are one question to the authority", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    const values = await Promise.all(Array.from({ length: 100 }, () => counter(here, id)))
    expect(new Set(values)).toEqual(new Set([0]))
    expect(authority.operations()).toEqual(["create", "load"])
    expect(here.stats()).toMatchObject({ hits: 0, misses: 100, joined: 99 })
  })

  test("so are a hundred loads of a session that has ended; one that is not there is looked for by each", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    await here.delete(id, ended)
    authority.reset()
    const hundred = (name: string) => Promise.all(Array.from({ length: 100 }, () => here.load(name)))
    expect(await hundred(id)).toEqual(Array.from({ length: 100 }, () => ({ ended: true })))
    expect(authority.log.length).toBe(1)
    await hundred(freshId())
    expect(authority.log.length).toBe(101)
  })

  test("all of them fail with the authority, and the next one asks again", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    authority.failNext("load")
    const results = await Promise.allSettled([here.load(id), here.load(id), here.load(id)])
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"])
    expect(await counter(here, id)).toBe(0)
  })

  test("in a Worker each load asks for itself, for the request of another may be cut off", async () => {
    vi.stubGlobal("navigator", { userAgent: "Cloudflare-Workers" })
    try {
      const { authority, here } = twoServers()
      const id = await putCounter(here, freshId())
      await Promise.all([here.load(id), here.load(id)])
      expect(authority.operations()).toEqual(["create", "load", "load"])
    } finally {
      vi.unstubAllGlobals()
    }
  })

  test("a fresh load asks for itself", async () => {
    const { authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    await Promise.all([here.load(id), here.load(id, { fresh: true }), here.load(id, { fresh: true })])
    expect(authority.operations()).toEqual(["create", "load", "load", "load"])
  })

  test.each<[string, (store: CachedStore, id: string) => Promise<unknown>, unknown]>([
    ["update", (store, id) => store.update(id, changing({ n: 1 })), 1],
    ["delete", (store, id) => store.delete(id, ended), undefined],
    ["deleteByUser", (store) => store.deleteByUser("ann", ended), undefined],
    ["changeId", (store, id) => store.changeId(id, freshId(), move()), undefined],
  ])(
    "nobody is given an answer to a question that is older than a write of this server: %s",
    async (...[, write, left]) => {
      const { authority, here } = twoServers()
      const id = await putCounter(here, freshId(), "ann")
      const held = authority.hold("load", "after")
      const early = here.load(id)
      await held.reached
      await write(here, id)
      const late = counter(here, id)
      held.release()
      expect(await late).toBe(left)
      await early
    },
  )

  test("a session that was created while it was looked for is found", async () => {
    const { authority, here, there } = twoServers()
    const [one, two] = [freshId(), freshId()]
    const [heldOne, heldTwo] = [authority.hold("load", "after"), authority.hold("load", "after")]
    const early = [here.load(one), here.load(two)]
    await Promise.all([heldOne.reached, heldTwo.reached])
    await putCounter(here, one)
    await putCounter(there, two)
    const late = [counter(here, one), counter(here, two)]
    heldOne.release()
    heldTwo.release()
    expect(await Promise.all([...early, ...late])).toEqual([undefined, undefined, 0, 0])
  })

  test("a question that is as old as staleness draws nobody in any more", async () => {
    const { clock, authority, here } = twoServers({ staleness: 100 })
    const id = await putCounter(here, freshId())
    const held = authority.hold("load", "after")
    const first = counter(here, id)
    await held.reached
    await authority.update(id, changing({ n: 1 }))
    clock.advance(99)
    const second = counter(here, id)
    clock.advance(1)
    expect(await counter(here, id)).toBe(1)
    held.release()
    expect(await Promise.all([first, second])).toEqual([0, 0])
  })

  test("a question that has hung for a second draws nobody in any more", async () => {
    const { clock, authority, here } = twoServers({ staleness: 60_000 })
    const id = await putCounter(here, freshId())
    const held = authority.hold("load")
    const first = counter(here, id)
    await held.reached
    clock.advance(999)
    const second = counter(here, id)
    clock.advance(1)
    expect(await counter(here, id)).toBe(0)
    held.release()
    expect(await Promise.all([first, second])).toEqual([0, 0])
    expect(here.stats()).toMatchObject({ misses: 3, joined: 1 })
  })
})

describe("a cache that fails", () => {
  const broken = (cache: Partial<SessionCache>, onCacheError: (error: unknown) => void = () => undefined) => {
    const authority = spyStore(memoryStore())
    const working = memoryCache()
    const parts: SessionCache = {
      shared: true,
      get: (id) => working.get(id),
      set: (id, text, ttl) => working.set(id, text, ttl),
      delete: (id) => working.delete(id),
      ...cache,
    }
    return { authority, store: cachedStore(parts, authority, { cacheTimeout: 20, onCacheError }) }
  }
  const failure = new Error("The cache is down.")
  const throws = (): never => {
    throw failure
  }
  const rejects = async (): Promise<never> => throws()
  const hangs = (): Promise<never> => new Promise(() => undefined)

  test.each([
    ["throws", throws],
    ["rejects", rejects],
    ["hangs", hangs],
  ])("one that %s fails no request, and is told of", async (_how, fail) => {
    const errors: unknown[] = []
    const { store } = broken({ get: fail, set: fail, delete: fail }, (error) => errors.push(error))
    const id = await putCounter(store, freshId(), "ann")
    expect(await counter(store, id)).toBe(0)
    await store.update(id, changing({ n: 1 }))
    expect(await counter(store, id)).toBe(1)
    await store.deleteByUser("ann", ended)
    expect(await store.load(id)).toEqual({ ended: true })
    expect(errors.length).toBeGreaterThan(0)
    expect(store.stats().failures).toBe(errors.length)
    if (fail === hangs)
      expect(String(errors[0])).toMatch(/did not wait for \w+ longer than 20 ms \(cacheTimeout\)/)
    else expect(errors[0]).toBe(failure)
  })

  test("who listens may fail as well", async () => {
    const { store } = broken({ get: rejects }, throws)
    expect(await counter(store, await putCounter(store, freshId()))).toBe(0)
  })

  test("one that deletes nothing is not believed what this server has overwritten", async () => {
    const { store } = broken({ delete: () => undefined })
    const id = await putCounter(store, freshId(), "ann")
    await store.load(id)
    await store.update(id, changing({ n: 1 }))
    expect(await counter(store, id)).toBe(1)
    await store.delete(id, ended)
    expect(await store.load(id)).toEqual({ ended: true })
  })

  test("nor what others have overwritten, once a change was refused for its version", async () => {
    const { authority, store } = broken({ delete: () => undefined })
    const id = await putCounter(store, freshId())
    await store.load(id)
    await authority.update(id, changing({ n: 1 }))
    const refused = store.update(id, changing({ n: 2 }), { ifVersion: 1 })
    await expect(refused).rejects.toThrow(VersionConflictError)
    expect(await counter(store, id)).toBe(1)
  })

  test("one that has hung is left alone for a while, so that not every request waits for it", async () => {
    let asked = 0
    const { store } = broken({
      get: () => {
        asked += 1
        return hangs()
      },
    })
    const id = await putCounter(store, freshId())
    for (let turn = 0; turn < 10; turn++) expect(await counter(store, id)).toBe(0)
    expect(asked).toBe(1)
  })

  test.each<[string, (text: string) => unknown]>([
    ["null", () => null],
    ["a number", () => 1],
    ["nothing", () => ""],
    ["half of the entry", (text) => text.slice(0, text.length / 2)],
    ["a state that was cut off", (text) => text.slice(0, -1)],
    ["a state that is no object", (text) => text.replace(/\n.*$/s, "\n[1]")],
    ["facts alone", (text) => text.split("\n")[0]],
    ["facts that are null", (text) => text.replace(/^.*\n/, "null\n")],
    ["an entry of another format", (text) => text.replace('"format":1', '"format":2')],
    ["an entry without a version", (text) => text.replace('"version":1', '"version":"1"')],
    ["an entry with a user that is none", (text) => text.replace('"user_id":"ann"', '"user_id":1')],
    ["an entry with a time that is none", (text) => text.replace(/"created_at":\d+/, '"created_at":"x"')],
    ["an entry with an end that is none", (text) => text.replace('"fixed_end":null', '"fixed_end":"x"')],
  ])("what it gives in the place of an entry is a miss: %s", async (_what, spoil) => {
    const held = new Map<string, string>()
    const { authority, store } = broken({
      get: (id) => {
        const text = held.get(id)
        return text === undefined ? undefined : (spoil(text) as string)
      },
      set: (id, text) => void held.set(id, text),
      delete: (id) => void held.delete(id),
    })
    const id = await putCounter(store, freshId(), "ann")
    await store.load(id)
    expect(held.size).toBe(1)
    expect(await store.load(id)).toMatchObject({ state: { n: 0 }, userId: "ann" })
    expect(authority.operations()).toEqual(["create", "load", "load"])
  })

  test("the entry of another session is a miss", async () => {
    const held = new Map<string, string>()
    const { store } = broken({
      get: () => held.values().next().value,
      set: (id, text) => void held.set(id, text),
    })
    const [one, two] = [await putCounter(store, freshId()), freshId()]
    await store.load(one)
    expect([await counter(store, one), await store.load(two)]).toEqual([0, undefined])
    expect(store.stats().hits).toBe(1)
  })

  test("a record that the authority cannot read is the authority's error, each time", async () => {
    const database = new Database(":memory:")
    const authority = sqliteStore(database)
    await authority.migrate()
    const store = cachedStore(memoryCache(), authority)
    const id = await putCounter(store, freshId())
    database.exec("UPDATE sessions SET state = '[broken'")
    for (let turn = 0; turn < 2; turn++) {
      const error: unknown = await store.load(id).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(RecordCorruptError)
      expect(error).toMatchObject({ id, store: "sqlite" })
    }
    database.close()
  })

  test("with the authority down, what is cached can be read for staleness", async () => {
    const { clock, authority, here } = twoServers()
    const id = await putCounter(here, freshId())
    await here.load(id)
    authority.failNext("load")
    expect(await counter(here, id)).toBe(0)
    clock.advance(1000)
    await expect(here.load(id)).rejects.toThrow("load failed")
  })
})

describe("invalidation", () => {
  const connected = async () => {
    const invalidation = bus()
    const servers = twoServers({ invalidation })
    // The subscription begins with the first load.
    await Promise.all([servers.here.load(freshId()), servers.there.load(freshId())])
    return { ...servers, invalidation }
  }

  test.each<[string, (store: CachedStore, id: string) => Promise<unknown>, unknown]>([
    ["an update", (store, id) => store.update(id, changing({ n: 1 })), 1],
    ["a rotation", (store, id) => store.changeId(id, freshId(), move()), undefined],
    ["a revocation", (store, id) => store.delete(id, ended), undefined],
    ["a revocation by user", (store) => store.deleteByUser("ann", ended), undefined],
  ])("%s reaches the other server at once", async (_what, write, left) => {
    const { here, there } = await connected()
    const id = await putCounter(here, freshId(), "ann")
    await there.load(id)
    await write(here, id)
    expect(await counter(there, id)).toBe(left)
  })

  test("a revocation by an id that has moved reaches the session where it is", async () => {
    const { here, there, authority } = await connected()
    const [id, next] = [await putCounter(here, freshId()), freshId()]
    await authority.changeId(id, next, move())
    await there.load(next)
    await here.delete(id, ended)
    expect(await there.load(next)).toEqual({ ended: true })
  })

  test("a revocation reaches a load that is under way on the other server: its answer is not kept", async () => {
    const { authority, here, there } = await connected()
    const [one, two] = [await putCounter(here, freshId(), "ann"), await putCounter(here, freshId())]
    const [heldOne, heldTwo] = [authority.hold("load", "after"), authority.hold("load", "after")]
    const early = [there.load(one), there.load(two)]
    await Promise.all([heldOne.reached, heldTwo.reached])
    await here.delete(two)
    const late = [counter(there, two)]
    await here.deleteByUser("ann", ended)
    late.push(counter(there, one))
    heldOne.release()
    heldTwo.release()
    await Promise.all(early)
    expect(await Promise.all([...late, counter(there, one), counter(there, two)])).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ])
  })

  test("says what a change has made of the session, so that what is read after it is cached on all servers", async () => {
    const { here, there, invalidation } = await connected()
    const id = await putCounter(here, freshId(), "ann")
    await here.update(id, changing({ n: 1 }))
    expect(invalidation.said).toEqual([{ id, version: 2 }])
    for (const server of [here, there]) {
      await server.load(id)
      await server.load(id)
      expect(server.stats().hits).toBe(1)
    }
  })

  test("an extension is not worth a word, nor is a refusal", async () => {
    const { here, there, invalidation } = await connected()
    const id = await putCounter(here, freshId())
    await here.updateTtl(id)
    await expect(here.update(id, changing(), { ifVersion: 9 })).rejects.toThrow(VersionConflictError)
    await putCounter(there, freshId())
    await expect(here.changeId(id, id, move())).rejects.toThrow()
    expect(invalidation.said).toEqual([])
  })

  test("a store subscribes when it is first read, once, and no more when it has been closed", async () => {
    const invalidation = bus()
    const { here } = twoServers({ invalidation })
    expect(invalidation.listeners.length).toBe(0)
    await Promise.all([here.load(freshId()), here.load(freshId())])
    expect(invalidation.listeners.length).toBe(1)
    await here.close()
    await here.load(freshId())
    expect(invalidation.listeners.length).toBe(0)
  })

  test("a store that was never read can be closed", async () => {
    const invalidation = bus()
    await twoServers({ invalidation }).here.close()
    await twoServers().here.close()
    expect(invalidation.listeners.length).toBe(0)
  })

  test.each(["throws", "rejects"])("one that %s fails no request, and the bound holds", async (how) => {
    const errors: unknown[] = []
    const fail = (): Promise<never> => {
      if (how === "throws") throw new Error("No bus.")
      return Promise.reject(new Error("No bus."))
    }
    const { clock, here, there } = twoServers({
      invalidation: { publish: fail, subscribe: fail },
      onCacheError: (error) => errors.push(error),
    })
    const id = await putCounter(here, freshId())
    await there.load(id)
    await there.load(id)
    await here.delete(id, ended)
    expect(await counter(there, id)).toBe(0)
    clock.advance(1000)
    expect(await there.load(id)).toEqual({ ended: true })
    await there.close()
    // Two subscriptions and one message, and none of the subscriptions tried again at once.
    expect(errors.map(String)).toEqual(["Error: No bus.", "Error: No bus."])
  })
})

describe("options", () => {
  const authority = memoryStore()
  test.each<[string, object, string]>([
    ["staleness", { staleness: 0 }, "staleness"],
    ["staleness", { staleness: "5 seconds" }, "staleness"],
    ["staleness", { staleness: "11m" }, "staleness"],
    ["cacheTimeout", { cacheTimeout: "2s" }, "cacheTimeout"],
    ["invalidation", { invalidation: { publish: () => undefined } }, "invalidation"],
    ["onCacheError", { onCacheError: 1 }, "onCacheError"],
    ["clock", { clock: 1 }, "clock"],
    ["one that there is not", { ttl: 1 }, "ttl"],
  ])("%s: %j is refused", (_name, options, option) => {
    expect(() => cachedStore(memoryCache(), authority, options)).toThrow(ConfigError)
    expect(() => cachedStore(memoryCache(), authority, options)).toThrow(option)
  })

  test.each<[string, unknown, unknown, string]>([
    ["no cache", undefined, authority, "cache"],
    ["the two the wrong way round", authority, memoryCache(), "cache"],
    ["no authority", memoryCache(), undefined, "authority"],
    ["a cache as the authority", memoryCache(), memoryCache(), "authority"],
    ["an authority behind a cache", memoryCache(), cachedStore(memoryCache(), authority), "promptRevocation"],
  ])("%s is refused", (_what, cache, store, message) => {
    const make = (): unknown => cachedStore(cache as SessionCache, store as CachedStore)
    expect(make).toThrow(ConfigError)
    expect(make).toThrow(message)
  })

  test("it is named after the authority, and claims what that does but for prompt revocation", () => {
    const store = cachedStore(memoryCache(), authority)
    expect(store.name).toBe("cached memory")
    expect(store.capabilities).toEqual({ ...authority.capabilities, promptRevocation: false })
  })
})

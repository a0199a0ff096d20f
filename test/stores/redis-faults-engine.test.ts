import { setTimeout as sleep } from "node:timers/promises"
import type { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { RecordCorruptError, type SessionRecord, UnknownIdError, VersionConflictError } from "coatcheck"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import { connectionOf } from "../../src/stores/redis-clients.ts"
import { ClusterStore } from "../../src/stores/redis-cluster.ts"
import {
  changing,
  ended,
  expectRejects,
  freshId,
  freshUser,
  move,
  newRecord,
  texts,
} from "../../src/testing/conformance/kit.ts"
import { startProxy } from "../support/servers/proxy.ts"
import { command, eventually, startCluster, startRedis } from "../support/servers/redis.ts"
import type { DatabaseServer } from "../support/servers/server.ts"
import { expectAllToWork, expectFailure, expectStoreError, put, sessionsOn, start } from "./faults.ts"
import { type Client, clusterDrivers, redisDrivers } from "./redis-clients.ts"
import { mortal } from "./redis-crashes.ts"
import { describeOnRedis } from "./redis-engines.ts"
import { openAdmin } from "./redis-monitor.ts"

/** What an engine does to sessions: it evicts them, has no room for them, forgets them, and hands them over to a replica that knows less. */

const MAXMEMORY =
  /: the engine is at maxmemory and may evict nothing \(maxmemory-policy\); give it more memory\.$/
const NO_REPLICAS = /: too few replicas follow the engine \(min-replicas-to-write\), so it refuses writes\.$/
/** What may be said while a server goes and comes. */
const AWAY =
  /: the (connection was lost, so it is not known|server cannot be reached|engine starts or changes)|storeTimeout/

const both = ["node-redis 6", "ioredis 5"] as const

describeOnRedis("redis", "an engine that evicts", () => {
  test("one server: sessions vanish whole, and who is there is in the index", async () => {
    const server = (await startRedis({ settings: { "maxmemory-policy": "allkeys-lru" } }))!
    const clients = await Promise.all(both.map((driver) => redisDrivers[driver]!({ port: server.port })))
    const stores = clients.map(({ client }) => redisStore(client))
    const known = await churnWithLittleMemory([server.port], stores)
    for (const { user, sessions } of known) {
      const live = await liveOf(stores[0]!, sessions)
      for (const { id } of live) await stores[1]!.updateTtl(id)
      expect(idsOf(await stores[0]!.listByUser(user))).toEqual(idsOf(live))
      expect(await stores[0]!.deleteByUser(user, ended)).toBe(live.length)
      for (const { id } of live) expect(await stores[1]!.load(id)).toEqual({ ended: true })
    }
    await closeAll(clients)
    await server.stop()
  })

  test("a cluster: sessions vanish whole, and the index names none that is dead", async () => {
    const cluster = (await startCluster(3, { settings: { "maxmemory-policy": "allkeys-lru" } }))!
    const ports = cluster.nodes.map((node) => node.port)
    const clients = await Promise.all(both.map((driver) => clusterDrivers[driver]!(ports)))
    const stores = clients.map(({ client }) => redisStore(client))
    const known = await churnWithLittleMemory(ports, stores)
    for (const { user, sessions } of known) {
      const live = idsOf(await liveOf(stores[0]!, sessions))
      const listed = idsOf(await stores[1]!.listByUser(user))
      expect(live).toEqual(expect.arrayContaining(listed))
      expect(await stores[0]!.deleteByUser(user, ended)).toBe(listed.length)
    }
    await closeAll(clients)
    await cluster.stop()
  })

  interface Known {
    readonly id: string
    readonly userId: string | null
    readonly version: number
    readonly number: number
  }

  const FILLER = "x".repeat(6000)
  const WORKERS = 16
  const STEPS = 100
  const NO_TRACE = undefined

  /** Uses sessions of many users until most have been evicted, and then gives the engine room again. */
  async function churnWithLittleMemory(
    ports: readonly number[],
    stores: readonly SessionStore[],
  ): Promise<{ user: string; sessions: Known[] }[]> {
    for (const store of stores) await expectAllToWork(store)
    for (const port of ports) await command(port, ["CONFIG", "SET", "maxmemory", await aLittleMore(port)])
    const vanished = { count: 0 }
    const known = await Promise.all(
      Array.from({ length: WORKERS }, async (_, index) => {
        const user = freshUser()
        return { user, sessions: await churn(stores[index % stores.length]!, user, vanished) }
      }),
    )
    for (const port of ports) {
      expect(await numberIn(port, "stats", "evicted_keys")).toBeGreaterThan(100)
      await command(port, ["CONFIG", "SET", "maxmemory", "0"])
    }
    expect(vanished.count).toBeGreaterThan(100)
    return known
  }

  async function aLittleMore(port: number): Promise<string> {
    return String((await numberIn(port, "memory", "used_memory")) + 700_000)
  }

  async function churn(store: SessionStore, user: string, vanished: { count: number }): Promise<Known[]> {
    let sessions: Known[] = []
    for (let number = 1; number <= STEPS; number++) {
      const session = sessions[Math.floor(Math.random() * sessions.length)]
      if (session === undefined || number % 2 === 0) {
        sessions.push(await make(store, number, Math.random() < 0.7 ? user : null))
        continue
      }
      const others = sessions.filter((other) => other !== session)
      const use = uses[Math.floor(Math.random() * uses.length)]!
      try {
        const next = await use(store, session, number)
        sessions = next === undefined ? others : [...others, next]
      } catch (error) {
        expect(error).toBeInstanceOf(UnknownIdError)
        expect((error as UnknownIdError).gone).toBe(NO_TRACE)
        expect(await store.load(session.id)).toBe(NO_TRACE)
        vanished.count += 1
        sessions = others
      }
      if (number % 10 === 0) await store.listByUser(user)
    }
    return sessions
  }

  async function make(store: SessionStore, number: number, userId: string | null): Promise<Known> {
    const id = freshId()
    const state = texts(Object.entries({ number, again: number, filler: FILLER }))
    await store.create(id, newRecord({ state, userId, label: "a phone" }))
    return { id, userId, version: 1, number }
  }

  type Use = (store: SessionStore, session: Known, number: number) => Promise<Known | undefined>

  const uses: readonly Use[] = [
    async (store, session) => {
      const found = await store.load(session.id)
      if (found !== NO_TRACE) expectWhole(found, session)
      return found && session
    },
    async (store, session) => {
      await store.updateTtl(session.id)
      return session
    },
    async (store, session, number) => {
      const { version } = await store.update(session.id, changing({ number, again: number }))
      expect(version).toBe(session.version + 1)
      return { ...session, version, number }
    },
    async (store, session, number) => {
      const id = freshId()
      const change = changing({ number, again: number })
      const { version } = await store.changeId(session.id, id, { ...move(), change })
      expect(version).toBe(session.version + 1)
      const left = await store.load(session.id)
      if (left !== NO_TRACE) expect(left).toMatchObject({ movedTo: id })
      return { ...session, id, version, number }
    },
    async (store, session) => {
      await store.delete(session.id, ended)
      const left = await store.load(session.id)
      if (left !== NO_TRACE) expect(left).toEqual({ ended: true })
      return undefined
    },
  ]

  function expectWhole(found: unknown, { userId, version, number }: Known): void {
    const signedInAt = userId === null ? null : expect.any(Date)
    expect(found).toMatchObject({ version, userId, label: "a phone", signedInAt })
    expect((found as SessionRecord).state).toEqual({ number, again: number, filler: FILLER })
  }

  /** Those of the sessions that are bound to their user and have not vanished. */
  async function liveOf(store: SessionStore, sessions: readonly Known[]): Promise<Known[]> {
    const live: Known[] = []
    for (const session of sessions) {
      const found = await store.load(session.id)
      if (found === NO_TRACE) continue
      expectWhole(found, session)
      if (session.userId !== null) live.push(session)
    }
    return live
  }
})

describeOnRedis("redis", "a cluster without memory", () => {
  test("signing out and revoking work, and a move that had been decided is finished by whoever reads", async () => {
    const cluster = (await startCluster(3))!
    const ports = cluster.nodes.map((node) => node.port)
    const client = await clusterDrivers["node-redis 6"]!(ports)
    const store = redisStore(client.client)
    const setMemory = (bytes: string): Promise<unknown> =>
      Promise.all(ports.map((port) => command(port, ["CONFIG", "SET", "maxmemory", bytes])))
    const [user, id, other, old, moved] = [
      freshUser(),
      await put(store),
      await put(store),
      freshId(),
      freshId(),
    ]
    await Promise.all(Array.from({ length: 20 }, () => put(store, user)))
    await store.create(old, newRecord({ userId: user, state: texts([["key", "value"]]) }))
    const mover = mortal(client.client)
    // It reads the old one, enters the new one, looks after the oldest entries, lays the new one down, and decides.
    let left = 0
    do {
      mover.dieAfter(++left)
      await redisStore(mover.client)
        .changeId(old, moved, move())
        .catch(() => undefined)
    } while ("state" in ((await store.load(old)) as object))
    await setMemory("1")
    expect(await store.load(moved)).toMatchObject({ state: { key: "value" }, version: 2, userId: user })
    await expectFailure(() => store.update(id, changing({ a: 1 })), MAXMEMORY)
    await expectFailure(() => store.updateTtl(id), MAXMEMORY)
    await expectFailure(() => store.create(freshId(), newRecord()), MAXMEMORY)
    await expectFailure(() => store.create(freshId(), newRecord({ userId: user })), MAXMEMORY)
    await expectFailure(() => store.changeId(id, freshId(), move()), MAXMEMORY)
    expect(await store.load(id)).toMatchObject({ version: 1 })
    await store.delete(other, ended)
    expect((await store.listByUser(user)).length).toBe(21)
    expect(await store.deleteByUser(user, ended)).toBe(21)
    await setMemory("0")
    expect(await store.listByUser(user)).toEqual([])
    for (const gone of [other, moved]) expect(await store.load(gone)).toEqual({ ended: true })
    await expectAllToWork(store)
    await client.close()
    await cluster.stop()
  })
})

describeOnRedis("redis", "a restart", () => {
  test.each(both)(
    "%s: without a disk no session comes back, by no late write either, and visitors start afresh",
    async (driver) => {
      const server = (await startRedis())!
      const { client, close } = await redisDrivers[driver]!({ port: server.port })
      const store = redisStore(client)
      const sessions = sessionsOn(store, "5000ms")
      const user = freshUser()
      const [cookie, signedIn] = [await start(sessions), await start(sessions, user)]
      const lost = await Promise.all(Array.from({ length: 5 }, () => put(store, user)))
      await server.kill()
      await eventually(async () => !(await isAnswered(store, 100)))
      // Written while nobody is there, and so sent to the engine that has forgotten.
      const late: (() => Promise<unknown>)[] = [
        () => store.update(lost[0]!, changing({ a: 1 })),
        () => store.updateTtl(lost[1]!),
        () => store.changeId(lost[2]!, freshId(), move()),
        () => store.delete(lost[3]!, ended),
        () => store.update(lost[4]!, changing({ a: 1 }), { ifVersion: 1 }),
      ]
      const early = late.map((write) => expectRejects(write(), UnknownIdError))
      await server.start()
      for (const { gone } of await Promise.all(early)) expect(gone).toBeUndefined()
      for (const write of late) {
        expect((await expectRejects(write(), UnknownIdError)).gone).toBeUndefined()
      }
      for (const id of lost) expect(await store.load(id)).toBeUndefined()
      expect(await store.listByUser(user)).toEqual([])
      expect(await store.deleteByUser(user, ended)).toBe(0)
      expect(await command(server.port, ["DBSIZE"])).toBe(0)

      const session = sessions.open(signedIn)
      expect(await session.userId()).toBeNull()
      expect(await session.keys()).toEqual([])
      // One that only writes has not looked.
      const writer = sessions.open(cookie)
      writer.set("number", 1)
      const renewed = (await writer.finalize()).setCookie?.split(";")[0]
      expect(renewed).toBeDefined()
      expect(renewed).not.toBe(cookie)
      expect(await sessions.open(renewed).get("number")).toBe(1)
      expect(await sessions.open(cookie).keys()).toEqual([])
      await expectAllToWork(store)
      await close()
      await server.stop()
    },
  )

  test("with appendfsync always nothing acknowledged is lost in a crash, and what was not is whole or absent", async () => {
    const server = (await startRedis({ settings: { appendonly: "yes", appendfsync: "always" } }))!
    const clients = await Promise.all(both.map((driver) => redisDrivers[driver]!({ port: server.port })))
    const stores = clients.map(({ client }) => redisStore(client))
    const first = stores[0]!
    const OF_EACH = 200
    const user = freshUser()
    const of = (index: number): SessionStore => stores[index % stores.length]!
    const many = <T>(count: number, make: (index: number) => T): T[] =>
      Array.from({ length: count }, (_, index) => make(index))
    const targets = await Promise.all(many(40, () => put(first)))
    const [doomed, moving] = [
      await Promise.all(many(OF_EACH, () => put(first, user))),
      await Promise.all(many(OF_EACH, () => put(first, user))),
    ]
    const made = many(OF_EACH, freshId)
    const places = many(OF_EACH, freshId)
    const answered = [0, 0]
    let killed: Promise<void> | undefined
    const attempt = async (index: number, run: () => Promise<unknown>): Promise<boolean> => {
      const isDone = await run().then(
        () => true,
        (error: unknown) => {
          expectStoreError(error, AWAY)
          return false
        },
      )
      answered[index % 2]! += 1
      // The others are under way, for the most part.
      if (answered[0] === 150) killed = server.kill()
      return isDone
    }
    const all = [
      ...made.map((id, index) =>
        attempt(index, () =>
          of(index).create(
            id,
            newRecord({
              userId: user,
              state: texts([
                ["a", 1],
                ["b", 1],
              ]),
            }),
          ),
        ),
      ),
      ...many(2 * OF_EACH, (index) => {
        const id = targets[index % targets.length]!
        return attempt(index, () =>
          of(index).update(id, changing({ [`a${index}`]: index, [`b${index}`]: index })),
        )
      }),
      ...doomed.map((id, index) => attempt(index, () => of(index).delete(id, ended))),
      ...moving.map((id, index) =>
        attempt(index, () =>
          of(index).changeId(id, places[index]!, { ...move(), change: changing({ a: 1 }) }),
        ),
      ),
    ]
    expect(all.length).toBe(1000)
    await eventually(async () => killed !== undefined)
    await killed
    expect(answered[1]).toBeLessThan(700)
    await server.start()
    const isDone = await Promise.all(all)
    // Of node-redis, which does not send again what it has no answer to.
    expect(isDone).toContain(false)

    const live = new Set<string>()
    for (const [index, id] of made.entries()) {
      const found = await first.load(id)
      if (isDone[index] === true || found !== undefined) {
        expect(found).toMatchObject({ version: 1, userId: user, state: { a: 1, b: 1 } })
        live.add(id)
      }
    }
    for (const [target, id] of targets.entries()) {
      const { state, version } = (await first.load(id)) as SessionRecord
      const tried = many(2 * OF_EACH, (index) => index).filter((index) => index % targets.length === target)
      const found = tried.filter((index) => state[`a${index}`] === index)
      expect(found.filter((index) => state[`b${index}`] === index)).toEqual(found)
      expect(version).toBe(1 + found.length)
      expect(Object.keys(state).length).toBe(1 + 2 * found.length)
      for (const index of tried) if (isDone[OF_EACH + index] === true) expect(found).toContain(index)
    }
    for (const [index, id] of doomed.entries()) {
      const found = await first.load(id)
      if (isDone[3 * OF_EACH + index] === true || !("state" in found!)) expect(found).toEqual({ ended: true })
      else live.add(id)
    }
    for (const [index, id] of moving.entries()) {
      const [found, there] = [await first.load(id), await first.load(places[index]!)]
      if (isDone[4 * OF_EACH + index] === true || there !== undefined) {
        expect(found).toMatchObject({ movedTo: places[index] })
        expect(there).toMatchObject({ version: 2, userId: user, state: { a: 1 } })
        live.add(places[index]!)
      } else {
        expect(found).toMatchObject({ version: 1, userId: user })
        live.add(id)
      }
    }
    expect(idsOf(await first.listByUser(user))).toEqual([...live].toSorted())
    for (const store of stores) await expectAllToWork(store)
    await closeAll(clients)
    await server.stop()
  })

  test.each(both)("%s: scripts that the engine has forgotten are sent anew", async (driver) => {
    const server = (await startRedis({ settings: { appendonly: "yes", appendfsync: "always" } }))!
    const { client, close } = await redisDrivers[driver]!({ port: server.port })
    const store = redisStore(client)
    const id = await put(store)
    await expectAllToWork(store)
    const fails = async (): Promise<number> => numberIn(server.port, "errorstats", "errorstat_NOSCRIPT:count")
    expect(await fails()).toBeGreaterThan(0)
    await server.shutDown()
    await server.start()
    expect(await fails()).toBeNaN()
    await eventually(() => isAnswered(store))
    expect(await store.load(id)).toMatchObject({ version: 1 })
    await expectAllToWork(store)
    const once = await fails()
    expect(once).toBeGreaterThan(0)
    await expectAllToWork(store)
    expect(await fails()).toBe(once)
    await command(server.port, ["SCRIPT", "FLUSH"])
    await expectAllToWork(store)
    expect(await fails()).toBeGreaterThan(once)
    await close()
    await server.stop()
  })
})

describeOnRedis("redis", "a failover to a replica that lags", () => {
  /** Otherwise a master waits for five seconds whether more replicas come. */
  const AT_ONCE = { "repl-diskless-sync-delay": "0" }

  test("what was acknowledged and not replicated is lost: a new session has no trace, and a revoked one lives again; what was waited for is there", async () => {
    const master = (await startRedis({ settings: AT_ONCE }))!
    const proxy = await startProxy(master.port)
    const replica = (await startRedis({
      settings: { ...AT_ONCE, replicaof: `127.0.0.1 ${proxy.port}` },
    }))!
    await eventually(async () => String(await command(replica.port, ["ROLE"])).includes("connected"))
    const [before, after] = [await openAdmin(master.port), await openAdmin(replica.port)]
    const [old, fresh] = [redisStore(before), redisStore(after)]
    const [oldSessions, freshSessions] = [sessionsOn(old), sessionsOn(fresh)]
    const user = freshUser()
    const [kept, revoked, written, rotated] = await Promise.all(
      Array.from({ length: 4 }, () => put(old, user)),
    )
    const cookie = await start(oldSessions, user)
    const waited = await put(old, user)
    expect(await before.wait(1, 5_000)).toBe(1)

    proxy.cut()
    const created = await put(old, user)
    const place = freshId()
    await old.delete(revoked!, ended)
    await old.update(written!, changing({ key: "other", more: 1 }))
    await old.changeId(rotated!, place, move())
    expect(await oldSessions.revokeByUser(user, { except: kept! })).toBe(5)
    expect(await before.wait(1, 50)).toBe(0)
    await master.kill()
    await after.replicaof("NO", "ONE")

    for (const id of [created, place]) {
      expect(await fresh.load(id)).toBeUndefined()
      const late = [
        () => fresh.update(id, changing({ a: 1 })),
        () => fresh.updateTtl(id),
        () => fresh.changeId(id, freshId(), move()),
        () => fresh.delete(id, ended),
      ]
      for (const write of late) {
        expect((await expectRejects(write(), UnknownIdError)).gone).toBeUndefined()
      }
    }
    const again = [kept!, revoked!, written!, rotated!, waited]
    for (const id of again) {
      const found = (await fresh.load(id)) as SessionRecord
      expect(found).toMatchObject({ version: 1, userId: user })
      expect(Object.keys(found.state)).toEqual(["key"])
    }
    // As the documentation says: whoever was signed out in between is signed in again.
    expect(await freshSessions.open(cookie).userId()).toBe(user)
    expect((await fresh.listByUser(user)).length).toBe(again.length + 1)
    expect(idsOf(await fresh.listByUser(user))).toEqual(expect.arrayContaining(again.toSorted()))
    expect(await fresh.deleteByUser(user, ended)).toBe(again.length + 1)
    await expectAllToWork(fresh)
    for (const each of [before, after]) each.disconnect()
    await proxy.stop()
    await Promise.all([master, replica].map((server) => server.stop()))
  })

  test("min-replicas-to-write bounds it: a master whose replica has not been heard of for a second refuses writes", async () => {
    const settings = { ...AT_ONCE, "min-replicas-to-write": "1", "min-replicas-max-lag": "1" }
    const master = (await startRedis({ settings: { ...settings, "repl-ping-replica-period": "1" } }))!
    const replica = (await startRedis({ settings: { ...AT_ONCE, replicaof: `127.0.0.1 ${master.port}` } }))!
    const { client, close } = await redisDrivers["node-redis 6"]!({ port: master.port })
    const store = redisStore(client)
    const user = freshUser()
    await eventually(() => works(() => put(store)))
    const id = await put(store, user)
    process.kill(replica.pid, "SIGSTOP")
    await eventually(async () => !(await works(() => store.updateTtl(id))))
    const writes: readonly (() => Promise<unknown>)[] = [
      () => put(store),
      () => store.update(id, changing({ a: 1 })),
      () => store.updateTtl(id),
      () => store.changeId(id, freshId(), move()),
      () => store.delete(id, ended),
      () => store.deleteByUser(user, ended),
    ]
    for (const write of writes) await expectFailure(write, NO_REPLICAS, { id })
    expect(await store.load(id)).toMatchObject({ version: 1 })
    expect(idsOf(await store.listByUser(user))).toEqual([id])
    process.kill(replica.pid, "SIGCONT")
    await eventually(() => works(() => store.updateTtl(id)))
    await expectAllToWork(store)
    await close()
    await Promise.all([master, replica].map((server) => server.stop()))
  })
})

const MADE_UP = ["", "{}", "S", "M", `M${"x".repeat(16)}`, `M${"0".repeat(16)}`, "P", "P\n"]

describeOnRedis("redis", "what coatcheck has not written", () => {
  let server: DatabaseServer<"redis">
  let admin: Redis
  beforeAll(async () => {
    server = (await startRedis())!
    admin = await openAdmin(server.port)
  })
  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })

  test("a user's set of another type: what would need it is refused before anything is written", async () => {
    const store = redisStore(admin)
    const foreign = /: a key with this prefix is not of coatcheck; choose another prefix\.$/
    const [user, bound, free] = [freshUser(), freshId(), await put(store)]
    const index = `session:user:${JSON.stringify(user)}`
    await store.create(bound, newRecord({ userId: user }))
    await admin.set(index, "of somebody else")
    const [before, made, place] = [await admin.get(`session:${bound}`), freshId(), freshId()]
    const binding = changing({ a: 1 }, { user: { userId: user, label: null, absoluteTtl: null } })
    const writes: readonly (() => Promise<unknown>)[] = [
      () => store.create(made, newRecord({ userId: user })),
      () => store.update(bound, changing({ a: 1 })),
      () => store.updateTtl(bound),
      () => store.changeId(bound, place, move()),
      () => store.update(free, binding),
      () => store.changeId(free, place, { ...move(), change: binding }),
      () => store.listByUser(user),
      () => store.deleteByUser(user, ended),
    ]
    for (const write of writes) await expectFailure(write, foreign)
    for (const id of [made, place]) expect(await store.load(id)).toBeUndefined()
    expect(await admin.get(`session:${bound}`)).toBe(before)
    expect(await store.load(free)).toMatchObject({ version: 1, userId: null })
    expect(await admin.get(index)).toBe("of somebody else")
  })

  test.each([
    ["on one node", (client: Redis) => redisStore(client)],
    ["spread over a cluster", (client: Redis) => new ClusterStore(connectionOf(client), "session:")],
  ])("a session that is cut short or altered at any place is refused as it is, %s", async (_, storeOn) => {
    const store = storeOn(admin)
    const [id, user] = [freshId(), "ada"]
    const state = texts(Object.entries({ first: 1, second: [2] }))
    await store.create(id, newRecord({ userId: user, label: "a phone", fixedTtl: 60_000, state }))
    const whole = (await admin.get(`session:${id}`))!
    const places = Array.from({ length: whole.length }, (__, index) => index)
    const altered = [
      ...places.slice(1).map((index) => whole.slice(0, index)),
      ...places.flatMap((index) =>
        ["x", "-", "\n"].map((letter) => whole.slice(0, index) + letter + whole.slice(index + 1)),
      ),
      ...MADE_UP,
      `P${id}\n${whole}`,
    ]
    const uses: readonly ((id: string) => Promise<unknown>)[] = [
      (each) => store.load(each),
      (each) => store.update(each, changing({ third: 3 })),
      (each) => store.update(each, changing({}, { clear: true }), { ifVersion: 1 }),
      (each) => store.updateTtl(each),
      (each) => store.changeId(each, freshId(), { ...move(), change: changing({ third: 3 }) }),
      (each) => store.delete(each, ended),
    ]
    for (const text of altered) {
      const ids = uses.map(freshId)
      await admin.mset(ids.flatMap((each) => [`session:${each}`, text]))
      await admin.zadd('session:user:"ada"', ...ids.flatMap((each) => [1, each]))
      const outcomes = await Promise.allSettled(uses.map((use, index) => use(ids[index]!)))
      const left = await admin.mget(ids.map((each) => `session:${each}`))
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === "rejected") {
          expectRefusal(outcome.reason)
          // Over a cluster, a move may have been committed before the new place is found unfit.
          if (left[index]?.startsWith("M") !== true) expect(left[index]).toBe(text)
        } else expectNoNonsense(outcome.value)
      }
      const list = await store.listByUser(user).catch(expectRefusal)
      expectNoNonsense(list)
      await store.deleteByUser(user).catch(expectRefusal)
      await admin.del('session:user:"ada"', ...ids.map((each) => `session:${each}`))
    }
  })

  function expectRefusal(error: unknown): void {
    if (error instanceof UnknownIdError) expectNoNonsense(error.gone)
    // Another version is one that coatcheck could have written.
    else if (error instanceof VersionConflictError) return
    else if (error instanceof RecordCorruptError) expect(error.message).not.toContain("third")
    else expectStoreError(error, /: a stored session is not as coatcheck writes it\.$/)
  }

  /** Neither numbers nor times that are none. */
  function expectNoNonsense(value: unknown): void {
    const found = JSON.stringify(value, (__, each: unknown) =>
      typeof each === "number" && !Number.isFinite(each) ? "nonsense" : each,
    )
    expect(found ?? "").not.toMatch(/nonsense|"(?:createdAt|lastSeenAt|expiresAt)":null/)
  }
})

async function closeAll(clients: readonly Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.close()))
}

function idsOf(sessions: readonly { readonly id: string }[]): string[] {
  return sessions.map((session) => session.id).toSorted()
}

/** Whether the engine answers within so many milliseconds. */
async function isAnswered(store: SessionStore, within = 1_000): Promise<boolean> {
  return Promise.race([works(() => store.load("no-such-id")), sleep(within, false)])
}

async function works(task: () => Promise<unknown>): Promise<boolean> {
  return task().then(
    () => true,
    () => false,
  )
}

/** A number that INFO tells; not a number where it tells none. */
async function numberIn(port: number, section: string, name: string): Promise<number> {
  const facts = String(await command(port, ["INFO", section]))
  return Number(new RegExp(`^${name}[:=](\\d+)`, "m").exec(facts)?.[1])
}

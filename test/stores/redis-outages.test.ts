import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { SessionRecord } from "coatcheck"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import { command, eventually, type RedisCluster, startCluster, startRedis } from "../support/servers/redis.ts"
import { expectAllToWork, expectStoreError, sessionsOn, start } from "./faults.ts"
import { clusterDrivers, redisDrivers } from "./redis-clients.ts"
import { describeOnRedis } from "./redis-engines.ts"
import { openAdmin } from "./redis-monitor.ts"

/** A server that dies amid the traffic, and a cluster whose nodes change. */

const inTurn = { concurrent: false }

/** What may be said while a server goes and comes. */
const AWAY =
  /: the (connection was lost, so it is not known|server cannot be reached|engine starts or changes|session's node of the cluster did not)|storeTimeout/

describeOnRedis(
  "redis",
  "a server that dies",
  () => {
    const drivers = Object.entries(redisDrivers)

    test("with a log of each write it is killed amid a thousand operations, each is there as a whole or failed, and all goes on with the same clients", async () => {
      const server = (await startRedis({ settings: { appendonly: "yes", appendfsync: "always" } }))!
      const clients = await Promise.all(drivers.map(([, open]) => open({ port: server.port })))
      const race = { isOver: false, isBack: false, operations: 0 }
      const failures: unknown[] = []
      const attempt = async <T>(run: () => Promise<T>): Promise<T | undefined> => {
        try {
          race.operations += 1
          return await run()
        } catch (error) {
          failures.push(error)
          await sleep(5)
          return undefined
        }
      }
      const workers = clients.flatMap(({ client }) => {
        const sessions = sessionsOn(redisStore(client), "1000ms")
        return [0, 1].map(async () => {
          const cookie = await start(sessions)
          const seen = { last: 0, tried: 0, recovered: 0, failed: new Set<number>() }
          const running = (async () => {
            while (!race.isOver) {
              const number = ++seen.tried
              const isDone = await attempt(async () => {
                const session = sessions.open(cookie)
                session.set("a", number)
                session.set("b", number)
                await session.finalize()
                return true
              })
              if (isDone !== true) {
                seen.failed.add(number)
                continue
              }
              seen.last = number
              if (race.isBack) seen.recovered += 1
            }
          })()
          return { sessions, cookie, seen, running }
        })
      })
      const revoked: string[] = []
      const revokers = clients.map(async ({ client }) => {
        const sessions = sessionsOn(redisStore(client), "1000ms")
        while (!race.isOver) {
          const user = freshUser()
          const cookie = await attempt(() => start(sessions, user))
          if (cookie === undefined) continue
          if ((await attempt(() => sessions.revokeByUser(user))) === 1) revoked.push(cookie)
          await sleep(2)
        }
      })
      const all = await Promise.all(workers)
      while (race.operations < 1_000) await sleep(5)
      await server.kill()
      await sleep(150)
      await server.start()
      race.isBack = true
      await eventually(async () => all.every(({ seen }) => seen.recovered > 5))
      race.isOver = true
      await Promise.all([...all.map(({ running }) => running), ...revokers])

      expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures) expectStoreError(failure, AWAY)
      for (const { sessions, cookie, seen } of all) {
        const session = sessions.open(cookie)
        const [a, b] = [await session.get("a"), await session.get("b")]
        expect(a).toBe(b)
        // One that has failed may have been carried out all the same, and late.
        if (!seen.failed.has(a as number)) expect(a).toBe(seen.last)
      }
      expect(revoked.length).toBeGreaterThan(10)
      const { sessions } = all[0]!
      for (const cookie of revoked) expect(await sessions.open(cookie).keys()).toEqual([])
      await Promise.all(clients.map((client) => client.close()))
      await server.stop()
    })
  },
  { concurrent: true },
)

describeOnRedis(
  "cluster",
  "a cluster whose slots move",
  () => {
    let cluster: RedisCluster
    let ports: readonly number[]
    beforeAll(async () => {
      cluster = (await startCluster(2))!
      ports = cluster.nodes.map((node) => node.port)
    })
    afterAll(() => cluster.stop())

    test.each(["node-redis 6", "ioredis 5"])(
      "while a slot is on its way to another node, its sessions work through %s",
      inTurn,
      async (driver) => {
        const { client, close } = await clusterDrivers[driver]!(ports)
        const admins = await Promise.all(ports.map(openAdmin))
        const store = redisStore(client)
        const user = freshUser()
        const id = await made(store, user)
        const other = await made(store, user)
        const slot = await admins[0]!.cluster("KEYSLOT", `session:${id}`)
        const names = await Promise.all(admins.map((admin) => admin.cluster("MYID")))
        const from = slot < 8_192 ? 0 : 1
        const to = 1 - from
        const round = async (): Promise<void> => {
          const version = ((await store.load(id)) as SessionRecord).version
          expect(await store.update(id, changing({ [`round-${version}`]: 1 }))).toMatchObject({
            version: version + 1,
          })
          await store.updateTtl(id)
          await store.update(id, changing({ round: version }), { ifVersion: version + 1 })
          expect((await store.listByUser(user)).length).toBe(2)
          // A new session may be born in this slot as well.
          await store.create(freshId(), newRecord({ userId: user, idleTtl: 1 }))
        }
        await round()
        await admins[to]!.cluster("SETSLOT", slot, "IMPORTING", names[from]!)
        await admins[from]!.cluster("SETSLOT", slot, "MIGRATING", names[to]!)
        await round()
        const keys = await admins[from]!.cluster("GETKEYSINSLOT", slot, 100)
        expect(keys).toContain(`session:${id}`)
        await admins[from]!.call("MIGRATE", "127.0.0.1", String(ports[to]), "", "0", "1000", "KEYS", ...keys)
        await round()
        const next = freshId()
        await store.changeId(id, next, move({ grace: HOUR }))
        expect(await store.load(id)).toMatchObject({ movedTo: next })
        for (const index of [to, from]) await admins[index]!.cluster("SETSLOT", slot, "NODE", names[to]!)
        expect(await store.load(id)).toMatchObject({ movedTo: next })
        await store.delete(id, ended)
        expect((await store.listByUser(user)).map((each) => each.id)).toEqual([other])
        for (const admin of admins) admin.disconnect()
        await close()
      },
    )

    test(
      "with a hash tag nothing is half done while the slot is on its way: it fails, and works when the slot has arrived",
      inTurn,
      async () => {
        const { client, close } = await clusterDrivers["node-redis 6"]!(ports)
        const admins = await Promise.all(ports.map(openAdmin))
        const store = redisStore(client, { prefix: "{session}:" })
        const user = freshUser()
        const id = await made(store, user)
        const slot = await admins[0]!.cluster("KEYSLOT", "{session}:")
        const names = await Promise.all(admins.map((admin) => admin.cluster("MYID")))
        const from = slot < 8_192 ? 0 : 1
        const to = 1 - from
        await admins[to]!.cluster("SETSLOT", slot, "IMPORTING", names[from]!)
        await admins[from]!.cluster("SETSLOT", slot, "MIGRATING", names[to]!)
        const starting = /: the engine starts or changes its nodes; the next request tries again\.$/
        const next = freshId()
        const refused: (() => Promise<unknown>)[] = [
          () => store.create(next, newRecord({ userId: user })),
          () => store.update(id, changing({ a: 2 })),
          () => store.changeId(id, next, move()),
          () => store.delete(id, ended),
          () => store.deleteByUser(user, ended),
        ]
        for (const error of await Promise.all(refused.map((run) => run().catch((reason: unknown) => reason))))
          expectStoreError(error, starting)
        expect(await store.load(id)).toMatchObject({ version: 1, state: { a: 1, b: 1 } })
        const keys = await admins[from]!.cluster("GETKEYSINSLOT", slot, 100)
        await admins[from]!.call("MIGRATE", "127.0.0.1", String(ports[to]), "", "0", "1000", "KEYS", ...keys)
        for (const index of [to, from]) await admins[index]!.cluster("SETSLOT", slot, "NODE", names[to]!)
        expect(await store.load(id)).toMatchObject({ version: 1, state: { a: 1, b: 1 } })
        expect((await store.listByUser(user)).map((each) => each.id)).toEqual([id])
        await expectAllToWork(store)
        for (const admin of admins) admin.disconnect()
        await close()
      },
    )
  },
  { concurrent: true },
)

describeOnRedis(
  "cluster",
  "a cluster whose node dies",
  () => {
    test("a master dies and its replica takes over: the other sessions work all the time, and soon all do, with the same clients", async () => {
      const settings = { "repl-diskless-sync-delay": "0" }
      const cluster = (await startCluster(3, { replicas: 1, settings }))!
      const ports = cluster.nodes.map((node) => node.port)
      // The cluster client of node-redis 5 waits for the dead node for ever.
      const drivers = Object.keys(clusterDrivers).filter((driver) => driver !== "node-redis 5")
      const clients = await Promise.all(drivers.map((driver) => clusterDrivers[driver]!(ports)))
      const stores = clients.map(({ client }) => redisStore(client))
      const user = freshUser()
      const ids = await Promise.all(Array.from({ length: 30 }, () => made(stores[0]!, user)))
      // The replicas have them as well.
      await eventually(async () => (await keysOf(ports.slice(3))) === (await keysOf(ports.slice(0, 3))))
      await cluster.nodes[0]!.kill()
      const recover = async (store: SessionStore): Promise<void> => {
        const outcomes: unknown[] = []
        await eventually(async () => {
          const sessions = sessionsOn(store, "500ms")
          const list = await sessions.listByUser(user).catch((error: unknown) => error)
          outcomes.push(list)
          return Array.isArray(list) && list.length === ids.length
        })
        for (const outcome of outcomes) if (outcome instanceof Error) expectStoreError(outcome, AWAY)
        for (const id of ids) expect(await store.load(id)).toMatchObject({ state: { a: 1, b: 1 } })
        await expectAllToWork(store)
      }
      await Promise.all(stores.map(recover))
      expect(await stores[1]!.deleteByUser(user, ended)).toBe(ids.length)
      await Promise.all(clients.map((client) => client.close()))
      await cluster.stop()
    })
  },
  { concurrent: true },
)

async function made(store: SessionStore, userId: string | null): Promise<string> {
  const id = freshId()
  const state = new Map([
    ["a", "1"],
    ["b", "1"],
  ])
  await store.create(id, newRecord({ userId, state }))
  return id
}

async function keysOf(ports: readonly number[]): Promise<number> {
  const counts = await Promise.all(ports.map((port) => command(port, ["DBSIZE"])))
  return counts.reduce<number>((sum, count) => sum + Number(count), 0)
}

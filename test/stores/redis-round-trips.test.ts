import type { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
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
  removing,
} from "../../src/testing/conformance/kit.ts"
import { type RedisCluster, startCluster, startRedis } from "../support/servers/redis.ts"
import type { DatabaseServer } from "../support/servers/server.ts"
import { clusterDrivers, redisDrivers } from "./redis-clients.ts"
import { describeOnRedis, teachScripts } from "./redis-engines.ts"
import { openAdmin, openMonitor } from "./redis-monitor.ts"

/** How often each operation asks the engine, as the engine itself tells. */

const expiry = { idleTtl: HOUR, fixedTtl: null, cookieKind: null }
const to = (userId: string): { userId: string; label: null; absoluteTtl: number } => ({
  userId,
  label: null,
  absoluteTtl: HOUR,
})

/** A session of a user who has two others. */
interface Given {
  readonly store: SessionStore
  readonly id: string
  readonly user: string
  /** An id from which the session has moved three times. */
  readonly old: string
}

/** What is done, and how often it asks a single server, and all nodes of a cluster together. */
const operations: Readonly<Record<string, readonly [number, number, (given: Given) => Promise<unknown>]>> = {
  create: [1, 1, ({ store }) => store.create(freshId(), newRecord())],
  "create for a user": [1, 2, ({ store, user }) => store.create(freshId(), newRecord({ userId: user }))],
  load: [1, 1, ({ store, id }) => store.load(id)],
  "load again": [1, 1, ({ store, id }) => store.load(id)],
  "load of nothing": [1, 1, ({ store }) => store.load(freshId())],
  "load of what has moved": [1, 1, ({ store, old }) => store.load(old)],
  "update of a key": [1, 1, ({ store, id }) => store.update(id, changing({ a: 1 }))],
  "update of many keys": [
    1,
    1,
    ({ store, id }) => store.update(id, changing({ a: 1, b: 2, c: 3 }, { remove: new Set(["d", "e"]) })),
  ],
  "update that removes": [1, 1, ({ store, id }) => store.update(id, removing("a"))],
  "update that clears": [1, 1, ({ store, id }) => store.update(id, changing({ a: 1 }, { clear: true }))],
  "update that keeps some": [
    1,
    1,
    ({ store, id }) => store.update(id, changing({}, { clear: { except: ["a"] } })),
  ],
  "update of the expiry": [1, 1, ({ store, id }) => store.update(id, changing({ a: 1 }, { expiry }))],
  "update of the user": [
    1,
    5,
    ({ store, id }) => store.update(id, changing({ a: 1 }, { user: to(freshUser()) })),
  ],
  "update of a version": [1, 1, ({ store, id }) => store.update(id, changing({ a: 1 }), { ifVersion: 4 })],
  "update of nothing": [
    1,
    1,
    ({ store }) => store.update(freshId(), changing({ a: 1 })).catch(() => undefined),
  ],
  updateTtl: [1, 1, ({ store, id }) => store.updateTtl(id)],
  changeId: [1, 6, ({ store, id }) => store.changeId(id, freshId(), move())],
  "changeId of a sign-in": [
    1,
    6,
    ({ store, id }) =>
      store.changeId(id, freshId(), {
        ...move({ privilegeChanged: true }),
        change: changing({ a: 1 }, { user: to(freshUser()) }),
      }),
  ],
  delete: [1, 2, ({ store, id }) => store.delete(id)],
  "delete with a tombstone": [1, 2, ({ store, id }) => store.delete(id, ended)],
  "delete by way of three moves": [1, 5, ({ store, old }) => store.delete(old, ended)],
  "listByUser of nobody": [1, 1, ({ store }) => store.listByUser(freshUser())],
  "listByUser of three": [1, 4, ({ store, user }) => store.listByUser(user)],
  "deleteByUser of nobody": [1, 1, ({ store }) => store.deleteByUser(freshUser(), ended)],
  "deleteByUser of three": [1, 5, ({ store, user }) => store.deleteByUser(user, ended)],
  "deleteByUser without tombstones": [1, 5, ({ store, user }) => store.deleteByUser(user)],
  "deleteByUser but for one": [
    1,
    7,
    ({ store, user, id }) => store.deleteByUser(user, { ...ended, except: id }),
  ],
  "deleteByUser but for one that has moved": [
    1,
    10,
    ({ store, user, old }) => store.deleteByUser(user, { ...ended, except: old }),
  ],
  deleteExpired: [0, 0, ({ store }) => store.deleteExpired()],
}

describeOnRedis("redis", "round trips", () => {
  let server: DatabaseServer<"redis">
  beforeAll(async () => {
    server = (await startRedis())!
  })
  afterAll(() => server.stop())

  test.each(["node-redis 6", "ioredis 5"])("each operation takes one through %s", async (driver) => {
    const { client, close } = await redisDrivers[driver]!({ port: server.port })
    const taken = await tripsOf(redisStore(client), [server.port])
    await close()
    expect(taken).toEqual(expected(0))
  })

  test.each(["node-redis 6", "ioredis 5"])(
    "a server that has forgotten its scripts amid the traffic is told them again through %s",
    async (driver) => {
      const { client, close } = await redisDrivers[driver]!({ port: server.port })
      const admin = await openAdmin(server.port)
      await expectUndisturbed(redisStore(client), [admin])
      admin.disconnect()
      await close()
    },
  )
})

describeOnRedis("cluster", "round trips", () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = (await startCluster())!
  })
  afterAll(() => cluster.stop())

  test.each(["node-redis 6", "ioredis 5"])("each step takes one through %s", async (driver) => {
    const ports = cluster.nodes.map((node) => node.port)
    const { client, close } = await clusterDrivers[driver]!(ports)
    const taken = await tripsOf(redisStore(client), ports)
    await close()
    expect(taken).toEqual(expected(1))
  })

  test("with a hash tag in the prefix each operation takes one", async () => {
    const ports = cluster.nodes.map((node) => node.port)
    const { client, close } = await clusterDrivers["node-redis 6"]!(ports)
    const taken = await tripsOf(redisStore(client, { prefix: "{session}:" }), ports)
    await close()
    expect(taken).toEqual(expected(0))
  })

  test.each(["node-redis 6", "ioredis 5"])(
    "nodes that have forgotten their scripts amid the traffic are told them again through %s",
    async (driver) => {
      const ports = cluster.nodes.map((node) => node.port)
      const { client, close } = await clusterDrivers[driver]!(ports)
      const admins = await Promise.all(ports.map(openAdmin))
      await expectUndisturbed(redisStore(client), admins)
      for (const admin of admins) admin.disconnect()
      await close()
    },
  )
})

function expected(column: 0 | 1): Record<string, number> {
  return Object.fromEntries(Object.entries(operations).map(([name, each]) => [name, each[column]]))
}

async function tripsOf(store: SessionStore, ports: readonly number[]): Promise<Record<string, number>> {
  await teachScripts(ports)
  const monitors = await Promise.all(ports.map(openMonitor))
  const taken: Record<string, number> = {}
  for (const [name, [, , run]] of Object.entries(operations)) {
    const it = await given(store)
    let count = 0
    const counted = monitors.reduce<() => Promise<unknown>>(
      (task, monitor) => async () => {
        const seen = await monitor.during(task)
        count += seen.filter((each) => !each.isInner && ["evalsha", "eval", "get"].includes(each.name)).length
      },
      () => run(it),
    )
    await counted()
    taken[name] = count
  }
  for (const monitor of monitors) monitor.close()
  return taken
}

async function given(store: SessionStore): Promise<Given> {
  const [user, old, id] = [freshUser(), freshId(), freshId()]
  const record = newRecord({ userId: user, state: new Map([["a", "0"]]) })
  for (const each of [old, freshId(), freshId()]) await store.create(each, record)
  let last = old
  for (const next of [freshId(), freshId(), id]) {
    await store.changeId(last, next, move())
    last = next
  }
  return { store, user, old, id }
}

/** Everything works while the servers are made to forget their scripts all the time. */
async function expectUndisturbed(store: SessionStore, admins: readonly Redis[]): Promise<void> {
  const race = { isOver: false }
  const forgetting = (async (): Promise<void> => {
    while (!race.isOver) {
      for (const admin of admins) await admin.script("FLUSH")
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
  })()
  const work = async (): Promise<void> => {
    for (const [, , run] of Object.values(operations)) await run(await given(store))
  }
  const id = freshId()
  await store.create(id, newRecord())
  const count = async (): Promise<void> => {
    for (let number = 0; number < 50; number++) await store.update(id, changing({ number }))
  }
  await Promise.all([work(), work(), count(), count()])
  race.isOver = true
  await forgetting
  expect(await store.load(id)).toMatchObject({ version: 101 })
}

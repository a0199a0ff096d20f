import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Redis } from "ioredis"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import { ended, freshId, freshUser, newRecord } from "../../src/testing/conformance/kit.ts"
import { dropFolder, makeFolder } from "../support/servers/belongings.ts"
import { eventually, startRedis } from "../support/servers/redis.ts"
import type { DatabaseServer, KeyValueEngine } from "../support/servers/server.ts"
import {
  expectAllToFail,
  expectAllToWork,
  expectStoreError,
  type Operation,
  OPERATIONS,
  put,
  sessionsOn,
  start,
} from "./faults.ts"
import { type Client, redisDrivers } from "./redis-clients.ts"
import { describeOnRedis } from "./redis-engines.ts"
import { openAdmin } from "./redis-monitor.ts"

/** Faults of a whole server, which is a private one: what it refuses, forgets, and loses. */

const READS: readonly Operation[] = ["load", "listByUser", "deleteExpired"]
const WRITES = OPERATIONS.filter((name) => !READS.includes(name))
const NEEDS_MEMORY = WRITES.filter((name) => !["delete", "deleteByUser", "changeId"].includes(name))
const ALL = OPERATIONS.filter((name) => name !== "deleteExpired")
/** Of nobody's sessions `deleteByUser` ends none, and so writes nothing. */
const WRITES_OF_ONE = WRITES.filter((name) => name !== "deleteByUser")

const inTurn = { concurrent: false }
const STARTING = /: the engine starts or changes its nodes; the next request tries again\.$/
const READ_ONLY =
  /: the server is read-only, as a replica is; sessions are written, so connect to the primary\.$/

describeOnRedis(
  "redis",
  "a server that refuses",
  () => {
    let server: DatabaseServer<KeyValueEngine>
    let admin: Redis
    const clients: Record<string, Client> = {}

    beforeAll(async () => {
      server = (await startRedis({ settings: { "enable-protected-configs": "yes" } }))!
      admin = await openAdmin(server.port)
      for (const driver of ["node-redis 6", "node-redis 5", "ioredis 5", "ioredis 6"]) {
        clients[driver] = await redisDrivers[driver]!({ port: server.port })
      }
    })
    afterAll(async () => {
      await Promise.all(Object.values(clients).map((client) => client.close()))
      admin.disconnect()
      await server.stop()
    })

    describe.each(["node-redis 6", "node-redis 5", "ioredis 5", "ioredis 6"])(
      "through %s",
      inTurn,
      (driver) => {
        let store: SessionStore
        beforeAll(() => {
          store = redisStore(clients[driver]!.client)
        })

        test(
          "at maxmemory, and nothing may be evicted: writes fail; reading, signing out and revoking work",
          inTurn,
          async () => {
            const [user, id, other] = [freshUser(), await put(store), await put(store)]
            const sessions = sessionsOn(store)
            const cookies = [
              await start(sessions, user),
              await start(sessions, user),
              await start(sessions, user),
            ]
            const fourth = await start(sessions, freshUser())
            await admin.config("SET", "maxmemory", "1")
            try {
              const advice =
                /: the engine is at maxmemory and may evict nothing \(maxmemory-policy\); give it more memory\.$/
              await expectAllToFail(store, id, advice, NEEDS_MEMORY)
              expect(await store.load(id)).toMatchObject({ version: 1 })
              expect((await store.listByUser(user)).length).toBe(3)
              const session = sessions.open(cookies[0])
              await session.get("key")
              session.invalidate()
              expect((await session.finalize()).setCookie).toContain("Max-Age=0")
              const leaving = sessions.open(fourth)
              leaving.signOut()
              await leaving.finalize()
              expect(await sessions.open(fourth).userId()).toBeNull()
              await store.delete(other, ended)
              expect(await sessions.revokeByUser(user)).toBe(2)
              expect(await store.load(other)).toEqual({ ended: true })
            } finally {
              await admin.config("SET", "maxmemory", "0")
            }
            expect(await store.listByUser(user)).toEqual([])
            for (const cookie of cookies) expect(await sessions.open(cookie).keys()).toEqual([])
            expect(await store.load(id)).toMatchObject({ version: 1 })
            await expectAllToWork(store)
          },
        )

        test("too few replicas", inTurn, async () => {
          const id = await put(store)
          await admin.config("SET", "min-replicas-to-write", "1")
          const advice =
            /: too few replicas follow the engine \(min-replicas-to-write\), so it refuses writes\.$/
          await expectAllToFail(store, id, advice, WRITES_OF_ONE)
          await admin.config("SET", "min-replicas-to-write", "0")
          expect(await store.load(id)).toMatchObject({ version: 1 })
          await expectAllToWork(store)
        })

        test("a replica", inTurn, async () => {
          const id = await put(store)
          await admin.call("REPLICAOF", "127.0.0.1", "1")
          await expectAllToFail(store, id, READ_ONLY, WRITES_OF_ONE)
          expect(await store.load(id)).toMatchObject({ version: 1 })
          await admin.config("SET", "replica-serve-stale-data", "no")
          await expectAllToFail(store, id, STARTING, ["load"])
          await admin.config("SET", "replica-serve-stale-data", "yes")
          await admin.call("REPLICAOF", "NO", "ONE")
          await expectAllToWork(store)
        })

        test("a snapshot that cannot be written", inTurn, async () => {
          const id = await put(store)
          const [, folder] = (await admin.config("GET", "dir")) as [string, string]
          await admin.config("SET", "save", "3600 1000000")
          await admin.config("SET", "dir", "/proc")
          await admin.bgsave()
          await eventually(async () =>
            (await admin.info("persistence")).includes("rdb_last_bgsave_status:err"),
          )
          const advice = /: the engine cannot write to its disk, so it refuses writes; see its log\.$/
          await expectAllToFail(store, id, advice, WRITES_OF_ONE)
          await admin.config("SET", "save", "")
          await admin.config("SET", "dir", folder)
          expect(await store.load(id)).toMatchObject({ version: 1 })
          await expectAllToWork(store)
        })

        test("another's script that does not end", inTurn, async () => {
          const id = await put(store)
          const [busy, killer] = [await openAdmin(server.port), await openAdmin(server.port)]
          await admin.config("SET", "busy-reply-threshold", "20")
          const loop = busy.eval("while true do end", 0).catch(() => undefined)
          await sleep(100)
          await expectAllToFail(
            store,
            id,
            /: the engine is busy with a script; the next request tries again\.$/,
            ALL,
          )
          await killer.script("KILL")
          await loop
          busy.disconnect()
          killer.disconnect()
          expect(await store.load(id)).toMatchObject({ version: 1 })
          await expectAllToWork(store)
        })

        test("keys of somebody else under the prefix", inTurn, async () => {
          const id = freshId()
          const advice = /: a key with this prefix is not of coatcheck; choose another prefix\.$/
          await admin.hset(`session:${id}`, "a", "b")
          await expectAllToFail(store, id, advice, ["load", "update", "updateTtl", "changeId", "delete"])
          expect(await admin.hgetall(`session:${id}`)).toEqual({ a: "b" })
          await admin.del(`session:${id}`)
        })
      },
    )
  },
  { concurrent: true },
)

describeOnRedis(
  "redis",
  "a server without a command that the store needs",
  () => {
    test.each([
      ["evalsha", ["node-redis 6", "ioredis 5"]],
      ["getrange", ["node-redis 6", "ioredis 5"]],
    ] as const)("it says so: %s", async (command, drivers) => {
      const folder = makeFolder("redis-settings")
      const include = join(folder, "settings")
      writeFileSync(include, `rename-command ${command} ""\n`)
      const server = (await startRedis({ settings: { include } }))!
      for (const driver of drivers) {
        const { client, close } = await redisDrivers[driver]!({ port: server.port })
        const advice = /: the engine is older than Redis 6\.2, or leaves out what the store needs\.$/
        await expectAllToFail(redisStore(client), "no-such-id", advice, ["updateTtl"])
        await close()
      }
      await server.stop()
      dropFolder(folder)
    })
  },
  { concurrent: true },
)

describeOnRedis(
  "redis",
  "a server that starts",
  () => {
    test.concurrent.each(["node-redis 6", "ioredis 5"])(
      "it is waited for, unless it takes long: then it is an error, and later works, through %s",
      async (driver) => {
        // Each key takes half a millisecond to read.
        const settings = {
          save: "3600 1000000",
          "key-load-delay": "500",
          "loading-process-events-interval-bytes": "1024",
        }
        const server = (await startRedis({ settings }))!
        const own = { enableReadyCheck: false }
        for (const keys of [400, 3_500]) {
          const admin = await openAdmin(server.port)
          await admin.eval("for i = 1, ARGV[1] do redis.call('SET', i, string.rep(i, 20)) end", 0, keys)
          admin.disconnect()
          await server.shutDown()
          await server.start()
          const { client, close } = await redisDrivers[driver]!({ port: server.port }, { own })
          const store = redisStore(client)
          const outcome = await store.create(freshId(), newRecord()).catch((error: unknown) => error)
          if (keys === 400) expect(outcome).toBeUndefined()
          else {
            expectStoreError(outcome, STARTING)
            await eventually(() =>
              store.load("no-such-id").then(
                () => true,
                () => false,
              ),
            )
            await expectAllToWork(store)
          }
          await close()
        }
        await server.stop()
      },
    )
  },
  { concurrent: true },
)

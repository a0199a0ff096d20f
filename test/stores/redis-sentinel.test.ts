import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { createSessions, type Sessions } from "coatcheck"
import { redisStore } from "coatcheck/redis"
import { command, eventually } from "../support/servers/redis.ts"
import { type SentinelGroup, startSentinel } from "../support/servers/sentinel.ts"
import { expectStoreError, start } from "./faults.ts"
import { type Client, sentinelDrivers } from "./redis-clients.ts"
import { brokenLaws } from "./redis-conformance.ts"
import { describeOnRedis, freshPrefix } from "./redis-engines.ts"

/** A master, its replica, and a sentinel that clients ask which of them is the master. */

/** What may be said while one master goes and the other comes. */
const AWAY =
  /: the (connection was lost, so it is not known|server cannot be reached|server is read-only, as a replica is|engine starts or changes)|storeTimeout/

describeOnRedis("redis", "a sentinel", () => {
  let group: SentinelGroup
  const clients: Record<string, [Client, Client]> = {}

  beforeAll(async () => {
    group = (await startSentinel())!
    for (const [driver, open] of Object.entries(sentinelDrivers)) {
      const { port } = group.sentinel
      clients[driver] = [await open(port, group.name), await open(port, group.name)]
    }
  })
  afterAll(async () => {
    await Promise.all(Object.values(clients).flatMap((pair) => pair.map((client) => client.close())))
    await group.stop()
  })

  test.concurrent.each(Object.keys(sentinelDrivers))("the store's laws hold through %s", async (driver) => {
    const { count, broken } = await brokenLaws(clients[driver]!, [group.nodes[0].port], freshPrefix(), {
      quick: true,
    })
    expect(broken).toEqual([])
    expect(count).toBeGreaterThan(180)
  })

  test("the master dies, and the replica takes over: what was replicated is there, and each client goes on by itself", async () => {
    const race = { isOver: false }
    const failures: unknown[] = []
    const workers = await Promise.all(
      Object.entries(clients).map(async ([driver, [{ client }]]) => {
        const sessions = createSessions({
          store: redisStore(client),
          keys: ["a key for tests, long enough: 32 bytes"],
          storeTimeout: "500ms",
        })
        const cookie = await start(sessions, driver)
        const seen = { driver, sessions, cookie, last: 0 }
        return { ...seen, seen, running: work(sessions, cookie, seen) }
      }),
    )
    async function work(sessions: Sessions, cookie: string, seen: { last: number }): Promise<void> {
      while (!race.isOver) {
        const number = seen.last + 1
        try {
          const session = sessions.open(cookie)
          session.set("number", number)
          await session.finalize()
          seen.last = number
        } catch (error) {
          failures.push(error)
        }
        await sleep(5)
      }
    }
    const [master, replica] = group.nodes
    await eventually(async () => workers.every(({ seen }) => seen.last > 10))
    const before = workers.map(({ seen }) => seen.last)
    const offset = offsetOf(await command(master.port, ["INFO", "replication"]), "master")
    await eventually(
      async () => offsetOf(await command(replica.port, ["INFO", "replication"]), "slave") >= offset,
    )
    await master.kill()
    await eventually(async () => (await group.masterPort()) === replica.port)
    const after = workers.map(({ seen }) => seen.last)
    await eventually(async () => workers.every(({ seen }, index) => seen.last > after[index]! + 10))
    race.isOver = true
    await Promise.all(workers.map(({ running }) => running))

    expect(failures.length).toBeGreaterThan(0)
    for (const failure of failures) expectStoreError(failure, AWAY)
    for (const [index, { sessions, cookie, seen, driver }] of workers.entries()) {
      expect(await sessions.open(cookie).get("number")).toBe(seen.last)
      expect(seen.last).toBeGreaterThan(before[index]!)
      expect((await sessions.listByUser(driver)).length).toBe(1)
      expect(await sessions.revokeByUser(driver)).toBe(1)
      expect(await sessions.open(cookie).keys()).toEqual([])
    }
  })
})

/** How far a node has come with what the master writes. */
function offsetOf(facts: unknown, role: "master" | "slave"): number {
  return Number(new RegExp(`${role}_repl_offset:(\\d+)`).exec(String(facts))?.[1])
}

import { spawn } from "node:child_process"
import { afterAll, beforeAll, expect, test } from "vitest"
import { createSessions, type Sessions } from "coatcheck"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import type { SessionStore } from "../../src/store.ts"
import { mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"
import { describeOnRedis, openStore, portsOf, type RedisEngine } from "./redis-engines.ts"
import type { Place } from "./session-process.ts"

/** Several processes on one server: what only the database can keep apart. */

const worker = new URL("session-process.ts", import.meta.url).pathname
const preload = new URL("../docs/sources.ts", import.meta.url).pathname
const KEY = "a key for tests, long enough: 32 bytes"
const PROCESSES = 8
const REQUESTS = 50

/** Where the processes meet, as this process sees it. */
interface Meeting {
  readonly store: SessionStore
  readonly place: Place
  close(): Promise<void>
}

describeSql("postgres", "node-postgres", postgresDrivers)
describeSql("mariadb", "mysql2", mysqlDrivers)
describeSql("mysql", "mysql2", mysqlDrivers)
describeRedis("redis", "node-redis 6")
describeRedis("cluster", "ioredis 5")

function describeSql(engine: Engine, driver: string, drivers: Readonly<Record<string, OpenClient>>): void {
  describeOn(
    engine,
    `${PROCESSES} processes through ${driver}`,
    processesAt(async () => {
      const { drop, ...database } = await freshDatabase(engine)
      const client = await (drivers[driver] as OpenClient)(database)
      const store = client.store()
      await store.migrate()
      const close = async (): Promise<void> => {
        await client.close()
        await drop()
      }
      return { store, place: { driver, database }, close }
    }),
  )
}

function describeRedis(engine: RedisEngine, driver: string): void {
  describeOnRedis(
    engine,
    `${PROCESSES} processes through ${driver}`,
    processesAt(async () => {
      const { store, client, prefix } = await openStore(engine, driver)
      return { store, place: { driver, ports: portsOf(engine), prefix }, close: () => client.close() }
    }),
  )
}

function processesAt(meet: () => Promise<Meeting>): () => void {
  return () => {
    let meeting: Meeting
    let sessions: Sessions

    beforeAll(async () => {
      meeting = await meet()
      sessions = createSessions({ keys: [KEY], store: meeting.store })
    })
    afterAll(() => meeting.close())

    /** Runs one process each, and gives how many requests each has done. */
    function runAll(cookie: string, requests: number): Promise<number[]> {
      const names = Array.from({ length: PROCESSES }, (_, index) => String(index))
      const task = { place: meeting.place, key: KEY, cookie, requests }
      return Promise.all(names.map((name) => run(JSON.stringify({ ...task, name }))))
    }

    async function newCookie(userId?: string): Promise<string> {
      const session = sessions.open(undefined)
      if (userId !== undefined) session.signIn(userId)
      session.set("count", 0)
      return (await session.finalize()).setCookie?.split(";")[0] as string
    }

    test("G4: every key and every transaction of 8 × 50 requests on one session is there", async () => {
      const cookie = await newCookie()
      expect(await runAll(cookie, REQUESTS)).toEqual(Array.from({ length: PROCESSES }, () => REQUESTS))
      const session = sessions.open(cookie)
      expect(await session.get("count")).toBe(PROCESSES * REQUESTS)
      expect((await session.keys()).length).toBe(1 + PROCESSES * REQUESTS)
    })

    test("G5: what is revoked while 8 processes write to it, none brings back", async () => {
      const cookie = await newCookie("ann")
      const requests = 5000
      const running = runAll(cookie, requests)
      // They take some time to start; it must be amid their writes.
      for (let count: unknown = 0; count === 0;) count = await sessions.open(cookie).get("count")
      expect(await sessions.revokeByUser("ann")).toBe(1)
      const done = await running
      expect(Math.max(...done)).toBeLessThan(requests)
      expect(await sessions.listByUser("ann")).toEqual([])
      expect(await sessions.open(cookie).keys()).toEqual([])
    })
  }
}

/** How many requests the process has done. */
function run(task: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", preload, worker, task], {
      stdio: ["ignore", "pipe", "pipe"],
    })
    let output = ""
    let errors = ""
    child.stdout.on("data", (data: Buffer) => (output += String(data)))
    child.stderr.on("data", (data: Buffer) => (errors += String(data)))
    child.on("error", reject)
    child.on("close", (code) =>
      code === 0 ? resolve(Number(output)) : reject(new Error(`exit code ${code}: ${errors}`)),
    )
  })
}

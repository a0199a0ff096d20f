import { spawn } from "node:child_process"
import { afterAll, beforeAll, expect, test } from "vitest"
import { createSessions, type Sessions } from "coatcheck"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, type DatabaseFacts, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** Several processes on one server: what only the database can keep apart. */

const worker = new URL("session-process.ts", import.meta.url).pathname
const preload = new URL("../docs/sources.ts", import.meta.url).pathname
const KEY = "a key for tests, long enough: 32 bytes"
const PROCESSES = 8
const REQUESTS = 50

describeProcesses("postgres", "node-postgres", postgresDrivers)
describeProcesses("mariadb", "mysql2", mysqlDrivers)
describeProcesses("mysql", "mysql2", mysqlDrivers)

function describeProcesses(
  engine: Engine,
  driver: string,
  drivers: Readonly<Record<string, OpenClient>>,
): void {
  describeOn(engine, `${PROCESSES} processes through ${driver}`, () => {
    let database: DatabaseFacts
    let drop: () => Promise<void>
    let client: Client
    let sessions: Sessions

    beforeAll(async () => {
      ;({ drop, ...database } = await freshDatabase(engine))
      client = await (drivers[driver] as OpenClient)(database)
      const store = client.store()
      await store.migrate()
      sessions = createSessions({ keys: [KEY], store })
    })
    afterAll(async () => {
      await client.close()
      await drop()
    })

    /** Runs one process each, and gives how many requests each has done. */
    function runAll(cookie: string, requests: number): Promise<number[]> {
      const names = Array.from({ length: PROCESSES }, (_, index) => String(index))
      const task = { driver, database, key: KEY, cookie, requests }
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
  })
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

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { SessionError } from "coatcheck"
import { describeOn, freshDatabase, type FreshDatabase } from "../support/servers/databases.ts"
import type { Client } from "./clients.ts"
import {
  drivers,
  expectAllToFail,
  expectAllToWork,
  expectFailure,
  expectStoreError,
  IN_TIME,
  of,
  operations,
  put,
  sessionsOn,
  start,
} from "./faults.ts"

/** A pool that has ended, that is full, or that cannot connect. */

for (const { engine, name, open, impatient } of drivers) {
  describeOn(engine, `through ${name}`, () => {
    let database: FreshDatabase
    const opened: Client[] = []

    beforeAll(async () => {
      database = await freshDatabase(engine)
      const client = await open(database, { size: 1 })
      await client.store().migrate()
      await client.close()
    })
    afterAll(async () => {
      await Promise.all(opened.map((client) => client.close()))
      await database.drop()
    })

    async function openPool(...input: Partial<Parameters<typeof open>>): Promise<Client> {
      const [at = database, options = { size: 2 }] = input
      const client = await open(at, options)
      opened.push(client)
      return client
    }

    /** Somebody else keeps every connection of the pool for a while. */
    function hog(client: Client, size: number, seconds: number): Promise<unknown> {
      const sql = of(engine, `SELECT pg_sleep(${seconds})`, `SELECT SLEEP(${seconds})`)
      return Promise.all(Array.from({ length: size }, () => client.run(sql)))
    }

    test("a pool that was ended before", async () => {
      const client = await open(database, { size: 2 })
      const store = client.store()
      const id = await put(store)
      await client.close()
      await expectAllToFail(store, id, /: the client has been ended; give the store one that is open\.$/)
    })

    test("a pool that is ended while requests wait: each is done or fails in time", async () => {
      const client = await open(database, { size: 1 })
      const sessions = sessionsOn(client.store())
      const cookie = await start(sessions)
      const hogs = hog(client, 1, 0.2)
      const begin = performance.now()
      const requests = Promise.allSettled(Array.from({ length: 5 }, () => sessions.open(cookie).get("key")))
      await new Promise((resolve) => setTimeout(resolve, 50))
      const closing = client.close()
      for (const result of await requests) {
        if (result.status === "rejected")
          expectStoreError(result.reason, /the client has been ended|storeTimeout/)
      }
      expect(performance.now() - begin).toBeLessThan(700)
      await Promise.all([hogs, closing])
    })

    test("a full pool: requests fail in time, and work once there are connections", async () => {
      const client = await openPool()
      const store = client.store()
      const sessions = sessionsOn(store, "200ms")
      const cookie = await start(sessions)
      const hogs = hog(client, 2, 0.6)
      const begin = performance.now()
      const requests = Array.from({ length: 5 }, () => sessions.open(cookie).get("key"))
      for (const result of await Promise.allSettled(requests)) {
        expectStoreError(result.status === "rejected" ? result.reason : result.value, IN_TIME)
      }
      expect(performance.now() - begin).toBeLessThan(400)
      await hogs
      expect(await sessions.open(cookie).get("key")).toBeDefined()
      await expectAllToWork(store)
    })

    test.skipIf(impatient === undefined)("a full pool that says so itself", async () => {
      const client = await openPool(database, { size: 2, options: impatient as object })
      const store = client.store()
      const id = await put(store)
      const hogs = hog(client, 2, 0.8)
      const waiting = store.load(id).catch((error: unknown) => error)
      await expectFailure(
        () => operations.update(store, id),
        /: the pool had no free connection in time; .*raise (its|the pool's) size/,
        { id, within: 500 },
      )
      await hogs
      await waiting
      await expectAllToWork(store)
    })

    describe("a server that cannot be reached", () => {
      const addresses = { "a wrong port": { port: 9 }, "an unknown host": { host: "nowhere.invalid" } }

      test.each(Object.entries(addresses))("%s", async (_name, wrong) => {
        const options = { acquireTimeout: 300, initializationTimeout: 200 }
        const client = await openPool(
          { ...database, ...wrong },
          { size: 2, options: name === "mariadb" ? options : {} },
        )
        const advice = /: the server cannot be reached; see that it runs and that host and port are right\.$/
        await expectAllToFail(client.store(), "no-such-id", advice, ["load", "update", "delete"])
        const error = await sessionsOn(client.store())
          .listByUser("ann")
          .catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(SessionError)
      })
    })
  })
}

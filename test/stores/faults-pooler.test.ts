import { afterAll, beforeAll, expect, test } from "vitest"
import { describeOn, freshDatabase, type FreshDatabase } from "../support/servers/databases.ts"
import type { Client } from "./clients.ts"
import { driversOf, expectAllToWork, expectStoreError, put } from "./faults.ts"
import { pgbouncer, pooled } from "./pooler.ts"

/** A pooler that gives each transaction another connection, and knows nothing of prepared statements. */

for (const { name, open } of pgbouncer === undefined ? [] : driversOf("postgres")) {
  describeOn("postgres", `behind PgBouncer, through ${name}`, () => {
    let database: FreshDatabase
    const opened: Client[] = []

    beforeAll(async () => {
      database = await pooled(await freshDatabase("postgres"))
    })
    afterAll(async () => {
      await Promise.all(opened.map((client) => client.close()))
      await database.drop()
    })

    test("with prepared statements, failures tell of prepare: false, with which it works", async () => {
      const client = await open(database, { size: 3 })
      opened.push(client)
      await client.store({ prepare: false }).migrate()
      const store = client.store()
      const id = await put(client.store({ prepare: false }))
      const failures: unknown[] = []
      for (let round = 0; round < 10; round++) {
        const loads = await Promise.allSettled(Array.from({ length: 3 }, () => store.load(id)))
        for (const load of loads) if (load.status === "rejected") failures.push(load.reason)
      }
      // postgres.js prepares again what the connection does not know.
      if (name === "node-postgres") expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures)
        expectStoreError(failure, /; set prepare: false, or turn on the pooler's support/)
      await expectAllToWork(client.store({ prepare: false }))
    })
  })
}

import { afterAll, beforeAll, expect, test } from "vitest"
import type { SessionRecord } from "coatcheck"
import { changing, freshId, HOUR, newRecord } from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import { startMariadb } from "../support/servers/mariadb.ts"
import { startMysql } from "../support/servers/mysql.ts"
import { startPostgres } from "../support/servers/postgres.ts"
import type { DatabaseServer, Engine } from "../support/servers/server.ts"
import { type Client, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** G8: the engine's clock rules, in any time zone, in the hour that comes twice and in the one that never comes. */

const MINUTE = 60_000
/** Berlin, 2026: clocks go back at 01:00 UTC, so that 02:00 to 03:00 comes twice. */
const FALL_BACK = Date.UTC(2026, 9, 25, 1)
/** Clocks go forward at 01:00 UTC, so that 02:00 to 03:00 never comes. */
const SPRING_FORWARD = Date.UTC(2027, 2, 28, 1)

/** MySQL lets a connection set what time it is. */
for (const engine of ["mariadb", "mysql"] as const) {
  describeOn(engine, "when clocks change", () => {
    let server: DatabaseServer
    let client: Client
    beforeAll(async () => {
      const started = await (engine === "mariadb" ? startMariadb : startMysql)({
        env: { TZ: "Europe/Berlin" },
      })
      server = started as DatabaseServer
      const { host, port, user, password, database } = server
      client = await (mysqlDrivers["mysql2"] as OpenClient)(
        { host, port, user, password, database },
        { size: 1 },
      )
      await client.store().migrate()
    })
    afterAll(async () => {
      await client.close()
      await server.stop()
    })

    test.each([
      ["back", FALL_BACK],
      ["forward", SPRING_FORWARD],
    ])("a session of an hour lasts an hour when they go %s", async (_way, change) => {
      const store = client.store()
      const at = async (time: number): Promise<void> => {
        await client.run(`SET timestamp = ${time / 1000}`)
      }
      const id = freshId()
      await at(change - 10 * MINUTE)
      await store.create(id, newRecord({ idleTtl: HOUR, absoluteTtl: 5 * HOUR }))
      for (const minutes of [-10, 0, 20, 40]) {
        await at(change + minutes * MINUTE + 123)
        const record = (await store.load(id)) as SessionRecord
        expect(record.expiresIn).toBe((50 - minutes) * MINUTE - 123)
        expect(record.createdAt.getTime()).toBe(change - 10 * MINUTE)
      }
      await at(change + 49 * MINUTE)
      expect((await store.update(id, changing({ a: 1 }))).expiresIn).toBe(HOUR)
      await at(change + 109 * MINUTE - 1)
      expect((await store.load(id)) as SessionRecord).toMatchObject({ expiresIn: 1 })
      await at(change + 109 * MINUTE)
      expect(await store.load(id)).toBeUndefined()
    })
  })
}

/** PostgreSQL does not: there it is shown that no time zone matters, and that the two clocks agree. */
describeClock("postgres", postgresDrivers["node-postgres"] as OpenClient, [
  "SET timezone = 'Pacific/Kiritimati'",
  "SET timezone = 'Pacific/Pago_Pago'",
  "SET timezone = 'Europe/Berlin'",
])
for (const engine of ["mariadb", "mysql"] as const) {
  describeClock(engine, mysqlDrivers["mysql2"] as OpenClient, [
    "SET time_zone = '+13:00'",
    "SET time_zone = '-11:00'",
    "SET time_zone = '+05:45'",
  ])
}

function describeClock(engine: Engine, open: OpenClient, zones: readonly string[]): void {
  describeOn(engine, "in several time zones at once", () => {
    test("servers whose connections are in other time zones see the same session", async () => {
      const { drop, ...facts } = await freshDatabase(engine)
      const clients = await Promise.all(zones.map((zone) => open(facts, { size: 1, session: [zone] })))
      const stores = clients.map((client) => client.store())
      await stores[0]?.migrate()
      for (const writer of stores) {
        const id = freshId()
        const before = Date.now()
        await writer.create(id, newRecord({ idleTtl: HOUR, fixedTtl: 2 * HOUR, userId: "ann" }))
        for (const reader of stores) {
          const record = (await reader.load(id)) as SessionRecord
          expect(Math.abs(record.createdAt.getTime() - before)).toBeLessThan(5_000)
          expect(HOUR - record.expiresIn).toBeLessThan(5_000)
          expect(2 * HOUR - (record.fixedExpiresIn ?? 0)).toBeLessThan(5_000)
          expect(record.expiresIn).toBeLessThanOrEqual(HOUR)
          const { expiresIn } = await reader.update(id, changing({ a: 1 }))
          expect(HOUR - expiresIn).toBeLessThan(100)
        }
      }
      await Promise.all(clients.map((client) => client.close()))
      await drop()
    })

    test("milliseconds count", async () => {
      const { drop, ...facts } = await freshDatabase(engine)
      const client = await open(facts)
      const store = client.store()
      await store.migrate()
      const times = new Set<number>()
      for (let count = 0; count < 20; count++) {
        const id = freshId()
        await store.create(id, newRecord())
        times.add(((await store.load(id)) as SessionRecord).createdAt.getTime() % 1000)
      }
      expect(times.size).toBeGreaterThan(3)
      await client.close()
      await drop()
    })
  })
}

test.runIf(process.platform === "linux")(
  "PostgreSQL: nothing is different on a server that lives in Berlin",
  async ({ skip }) => {
    const server = await startPostgres({
      settings: { timezone: "Europe/Berlin" },
      env: { TZ: "Europe/Berlin" },
    })
    if (server === undefined) return skip("no postgres here")
    const { host, port, user, password, database } = server
    const client = await (postgresDrivers["node-postgres"] as OpenClient)({
      host,
      port,
      user,
      password,
      database,
    })
    const store = client.store()
    await store.migrate()
    const id = freshId()
    await store.create(id, newRecord({ idleTtl: HOUR }))
    const record = (await store.load(id)) as SessionRecord
    expect(Math.abs(record.createdAt.getTime() - Date.now())).toBeLessThan(5_000)
    await client.close()
    await server.stop()
  },
)

import { expect, test } from "vitest"
import { changing, freshId, HOUR, newRecord } from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

const EXPIRED = 20_000
const SWEEPERS = 4
const LIVE = 20

/** Rows that expired long ago. */
const fill: Readonly<Record<Engine, string>> = {
  postgres: `INSERT INTO sessions (id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
    SELECT 'expired-' || n, '{}', 1, 0, 0, n, n, n FROM generate_series(1, ${EXPIRED}) AS n`,
  mariadb: `INSERT INTO sessions (row_id, id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
    SELECT seq, CONCAT('expired-', seq), '{}', 1, 0, 0, seq, seq, seq FROM seq_1_to_${EXPIRED}`,
  mysql: `INSERT INTO sessions (row_id, id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
    WITH RECURSIVE ones (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ones WHERE n < 1000)
    SELECT a.n * 1000 + b.n, CONCAT('expired-', a.n, '-', b.n), '{}', 1, 0, 0, b.n, b.n, b.n FROM ones AS a JOIN ones AS b WHERE a.n <= ${EXPIRED / 1000}`,
}

describeSweeps("postgres", postgresDrivers["node-postgres"] as OpenClient)
describeSweeps("mariadb", mysqlDrivers["mysql2"] as OpenClient)
describeSweeps("mysql", mysqlDrivers["mysql2"] as OpenClient)

function describeSweeps(engine: Engine, open: OpenClient): void {
  describeOn(engine, "sweeps", () => {
    test("several at once remove each of many rows once, while sessions go on", async () => {
      const { drop, ...facts } = await freshDatabase(engine)
      const client = await open(facts)
      const store = client.store()
      await store.migrate()
      // In the sweeps' way, for they are due, and yet live.
      const ids = Array.from({ length: LIVE }, freshId)
      await Promise.all(ids.map((id) => store.create(id, newRecord({ idleTtl: HOUR }))))
      await client.run("UPDATE sessions SET sweep_at = 1000")
      await client.run(fill[engine])

      const work = { isOver: false, writes: 0 }
      const writing = ids.map(async (id) => {
        for (let count = 0; !work.isOver; count++) {
          await store.update(id, changing({ count }))
          await store.load(id)
          work.writes += 1
        }
      })
      const sweep = async (): Promise<number> => {
        let [total, count] = [0, 0]
        do {
          count = await store.deleteExpired({ limit: 500 })
          total += count
        } while (count > 0)
        return total
      }
      const totals = await Promise.all(Array.from({ length: SWEEPERS }, sweep))
      // One may have ended early, where others held the rows.
      const rest = await sweep()
      work.isOver = true
      await Promise.all(writing)

      expect([...totals, rest].reduce((sum, count) => sum + count)).toBe(EXPIRED)
      expect(work.writes).toBeGreaterThan(0)
      for (const id of ids)
        expect(await store.load(id)).toMatchObject({ version: expect.any(Number) as number })
      expect(await store.deleteExpired()).toBe(0)
      await client.close()
      await drop()
    })

    test("what another holds is removed when it is free again; PostgreSQL does not wait for it", async () => {
      const { drop, ...facts } = await freshDatabase(engine)
      const client = await open(facts, { size: 1 })
      const other = await open(facts, { size: 1 })
      const store = client.store()
      await store.migrate()
      const [held, free] = [freshId(), freshId()]
      for (const id of [held, free]) await store.create(id, newRecord({ idleTtl: 1 }))
      await new Promise((resolve) => setTimeout(resolve, 20))
      await other.run("BEGIN")
      await other.run(`SELECT id FROM sessions WHERE id = '${held}' FOR UPDATE`)
      const swept = store.deleteExpired()
      if (engine === "postgres") expect(await swept).toBe(1)
      await other.run("COMMIT")
      expect((await swept) + (await store.deleteExpired())).toBe(2)
      await Promise.all([client.close(), other.close()])
      await drop()
    })
  })
}

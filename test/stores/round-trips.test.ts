import mariadb from "mariadb"
import mysqlCallback from "mysql2"
import pg from "pg"
import postgres from "postgres"
import { expect, test } from "vitest"
import { mysqlStore } from "coatcheck/mysql"
import { postgresStore } from "coatcheck/postgres"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
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
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Address, Engine } from "../support/servers/server.ts"

/** How often each operation asks the server, as the driver itself tells. */

interface Counted {
  readonly store: SqlStore
  /** How many statements have been sent, but for those that prepare others. */
  readonly count: () => number
  readonly close: () => Promise<void>
}

const expiry = { idleTtl: HOUR, fixedTtl: null, cookieKind: null }
const user = { userId: "ann", label: null, absoluteTtl: HOUR }

/** What is done to a session that is there, and what it takes. */
const operations: Readonly<
  Record<string, readonly [number, (store: SqlStore, id: string) => Promise<unknown>]>
> = {
  create: [1, (store) => store.create(freshId(), newRecord())],
  load: [1, (store, id) => store.load(id)],
  "load of nothing": [1, (store) => store.load(freshId())],
  "update of a key": [1, (store, id) => store.update(id, changing({ a: 1 }))],
  "update of many keys": [
    1,
    (store, id) => store.update(id, changing({ a: 1, b: 2, c: 3 }, { remove: new Set(["d", "e"]) })),
  ],
  "update that removes": [1, (store, id) => store.update(id, removing("a"))],
  "update that clears": [1, (store, id) => store.update(id, changing({ a: 1 }, { clear: true }))],
  "update that keeps some": [1, (store, id) => store.update(id, changing({}, { clear: { except: ["a"] } }))],
  "update of user and expiry": [1, (store, id) => store.update(id, changing({ a: 1 }, { user, expiry }))],
  "update of a version": [1, (store, id) => store.update(id, changing({ a: 1 }), { ifVersion: 1 })],
  updateTtl: [1, (store, id) => store.updateTtl(id)],
  changeId: [1, (store, id) => store.changeId(id, freshId(), move())],
  "changeId with a change": [
    1,
    (store, id) => store.changeId(id, freshId(), { ...move(), change: changing({ a: 1 }, { user }) }),
  ],
  "load of what has moved": [
    2,
    async (store, id) => {
      await store.changeId(id, freshId(), move())
      await store.load(id)
    },
  ],
  delete: [1, (store, id) => store.delete(id)],
  "delete with a tombstone": [1, (store, id) => store.delete(id, ended)],
  listByUser: [1, (store) => store.listByUser(freshUser())],
  deleteByUser: [1, (store) => store.deleteByUser(freshUser(), ended)],
  "deleteByUser but for one": [1, (store, id) => store.deleteByUser(freshUser(), { ...ended, except: id })],
  // Only who asks in vain asks twice.
  "update of nothing": [2, (store) => store.update(freshId(), changing({ a: 1 })).catch(() => undefined)],
}

describeRoundTrips("postgres", "node-postgres", 1, async (facts) => {
  const pool = new pg.Pool({ ...facts, max: 1 })
  pool.on("error", () => undefined)
  let count = 0
  pool.on("acquire", () => (count += 1))
  return { store: postgresStore(pool), count: () => count, close: () => pool.end() }
})

describeRoundTrips("postgres", "postgres.js", 1, async (facts) => {
  let count = 0
  const sql = postgres({
    ...facts,
    max: 1,
    debug: () => (count += 1),
    fetch_types: false,
    onnotice: () => undefined,
  })
  return { store: postgresStore(sql), count: () => count, close: () => sql.end() }
})

for (const engine of ["mariadb", "mysql"] as const) {
  // Looking, and removing what it saw.
  describeRoundTrips(engine, "mysql2", 2, async (facts) => {
    const pool = mysqlCallback.createPool({ ...facts, connectionLimit: 1 })
    let count = 0
    pool.on("acquire", () => (count += 1))
    return { store: mysqlStore(pool), count: () => count, close: () => pool.promise().end() }
  })

  describeRoundTrips(engine, "mariadb", 2, async (facts) => {
    let count = 0
    const pool = mariadb.createPool({ ...facts, connectionLimit: 1, allowPublicKeyRetrieval: true })
    pool.on("acquire", () => (count += 1))
    return { store: mysqlStore(pool), count: () => count, close: () => pool.end() }
  })
}

function describeRoundTrips(
  engine: Engine,
  driver: string,
  sweep: number,
  open: (facts: Omit<Address, "drop">) => Promise<Counted>,
): void {
  describeOn(engine, `round trips through ${driver}`, () => {
    test("each operation takes one; what finds nothing asks why with a second", async () => {
      const { drop, ...facts } = await freshDatabase(engine)
      const { store, count, close } = await open(facts)
      try {
        await store.migrate()
        const taken: Record<string, number> = {}
        const expected: Record<string, number> = { sweep }
        for (const [name, [trips, run]] of Object.entries(operations)) {
          const id = freshId()
          await store.create(id, newRecord({ state: new Map([["a", "0"]]) }))
          const before = count()
          await run(store, id)
          taken[name] = count() - before
          expected[name] = trips
        }
        await store.create(freshId(), newRecord({ idleTtl: 1 }))
        await new Promise((resolve) => setTimeout(resolve, 20))
        const before = count()
        expect(await store.deleteExpired({ limit: 10 })).toBe(1)
        taken["sweep"] = count() - before
        expect(taken).toEqual(expected)
      } finally {
        await close()
        await drop()
      }
    })
  })
}

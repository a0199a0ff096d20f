import { afterAll, beforeAll, describe, test } from "vitest"
import type { StoreHarness } from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { type PGliteClient, postgresStore } from "./postgres.ts"

/**
 * PostgreSQL inside this process, where time can stand still: every law, to the millisecond. `test/stores` has those that need no such
 * clock, on real servers.
 */

const START = 1_790_000_000_000

/** Found before PostgreSQL's own, for its schema is named first. */
const FAKE_CLOCK = `
  CREATE SCHEMA clock;
  CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT to_timestamp(current_setting('clock.now')::numeric / 1000) $$;
  SET search_path = clock, pg_catalog, public;`

let database: PGliteClient & { close(): Promise<void> }
let now = START
let tables = 0

beforeAll(async () => {
  // Named through a variable: its declarations need those of a browser.
  const specifier = "@electric-sql/pglite"
  const { PGlite } = (await import(specifier)) as { PGlite: { create(): Promise<typeof database> } }
  database = await PGlite.create()
  await database.exec(FAKE_CLOCK)
  await advance(0)
})
afterAll(() => database.close())

async function advance(milliseconds: number): Promise<void> {
  now += milliseconds
  await database.exec(`SET clock.now = ${now}`)
}

async function open(): Promise<StoreHarness> {
  const table = `public.sessions_${++tables}`
  const store = postgresStore(database, { table })
  await store.migrate()
  return {
    store,
    precise: true,
    advance,
    connect: async () => postgresStore(database, { table, prepare: false }),
    corrupt: async (id) => {
      await database.exec(`UPDATE ${table} SET state = '[1]' WHERE id = '${id}'`)
    },
    close: () => undefined,
  }
}

describe("postgresStore on PGlite keeps the store contract", () => {
  for (const { name, run } of storeConformance(open)) test(name, run)
})

import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type StoreCase, storeConformance, type StoreHarness } from "coatcheck/testing"
import { ended, freshId, HOUR, move, newRecord, texts } from "../../src/testing/conformance/kit.ts"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
import { type Block, readPages } from "../docs/markdown.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** Every block of SQL on the stores' pages is run on the engine it is written for. */

const pages = readPages(fileURLToPath(new URL("../..", import.meta.url)))

describePage("docs/stores/postgresql.md", "postgres", postgresDrivers["node-postgres"] as OpenClient)
describePage("docs/stores/mysql.md", "mariadb", mysqlDrivers["mysql2"] as OpenClient)
describePage("docs/stores/mysql.md", "mysql", mysqlDrivers["mysql2"] as OpenClient)

function describePage(path: string, engine: Engine, open: OpenClient): void {
  const blocks = sqlOf(path)
  const partitions = blocks.filter(({ code }) => code.includes("PARTITION BY"))

  describeOn(engine, `the SQL of ${path}`, () => {
    let client: Client
    let drop: () => Promise<void>
    beforeAll(async () => {
      const database = await freshDatabase(engine)
      drop = database.drop
      const { drop: _, ...facts } = database
      client = await open(facts)
      const store = client.store()
      await store.migrate()
      await fill(store)
    })
    afterAll(async () => {
      await client?.close()
      await drop?.()
    })

    test("holds three queries at least", () => {
      expect(blocks.filter(({ code }) => isQuery(code)).length).toBeGreaterThanOrEqual(3)
    })

    test.each(blocks)("runs: line $line", async ({ code }) => {
      for (const statement of statementsOf(code)) {
        const rows = await client.run(statement)
        if (isQuery(statement)) expect((rows as unknown[]).length).toBeGreaterThan(0)
      }
    })

    if (partitions.length > 0) describePartitions(partitions[0] as Block, () => client)
  })
}

/** The store's laws, on a table that is partitioned as the page says. */
function describePartitions({ code }: Block, clientOf: () => Client): void {
  const example = /CREATE TABLE (\w+) .* PARTITION BY/.exec(code)?.[1] as string

  describe("its partitioned table keeps the store contract", () => {
    const shared = `${example}_of_laws`
    beforeAll(() => make(shared))

    const make = async (table: string): Promise<void> => {
      for (const statement of statementsOf(code.replaceAll(example, table))) await clientOf().run(statement)
    }
    const harness = async (table: string): Promise<StoreHarness> => {
      const store = clientOf().store({ table })
      await store.migrate()
      return {
        store,
        precise: false,
        advance: (milliseconds) => sleep(milliseconds),
        connect: async () => clientOf().store({ table }),
        corrupt: async (id) => {
          await clientOf().run(`UPDATE ${table} SET state = '[1]' WHERE id = '${id}'`)
        },
        close: () => undefined,
      }
    }
    let tables = 0
    const open = async (): Promise<StoreHarness> => {
      const table = `${example}_of_law_${++tables}`
      await make(table)
      return harness(table)
    }
    // A sweep would count what other laws have left.
    const sweeps = storeConformance(open, { precise: false })
    for (const [index, law] of storeConformance(() => harness(shared), { precise: false }).entries()) {
      const run = /deleteExpired|sweep/.test(law.name) ? (sweeps[index] as StoreCase).run : law.run
      test.concurrent(law.name, run)
    }
  })
}

function sqlOf(path: string): Block[] {
  const page = pages.find((candidate) => candidate.path === path)
  if (page === undefined) throw new Error(`There is no ${path}.`)
  return page.blocks.filter(({ info }) => info === "sql")
}

/** Not every driver takes several at once. */
function statementsOf(code: string): string[] {
  return code
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "")
}

function isQuery(statement: string): boolean {
  return statement.startsWith("SELECT")
}

/** Ada's two devices, a visitor with a cart, and one each of what has expired, moved, and ended. */
async function fill(store: SqlStore): Promise<void> {
  const state = texts([["cart", ["bowler"]]])
  const [phone, moved, over] = [freshId(), freshId(), freshId()]
  await store.create(phone, newRecord({ userId: "ada", label: "Phone", state }))
  await store.create(freshId(), newRecord({ userId: "ada", label: "Laptop" }))
  await store.create(freshId(), newRecord({ state, idleTtl: HOUR }))
  await store.create(freshId(), newRecord({ idleTtl: 1 }))
  await store.create(moved, newRecord())
  await store.changeId(moved, freshId(), move())
  await store.create(over, newRecord())
  await store.delete(over, ended)
}

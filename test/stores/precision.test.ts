import { afterAll, beforeAll, test } from "vitest"
import { storeConformance, type StoreHarness } from "coatcheck/testing"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import { type Client, mysqlDrivers, type OpenClient } from "./clients.ts"

/** The laws that need time to stand still, where a connection may say what time it is. PostgreSQL's are proven on PGlite. */

const START = 1_790_000_000_000

for (const engine of ["mariadb", "mysql"] as const) {
  describeOn(engine, "to the millisecond", () => {
    let clients: Client[] = []
    let drop: () => Promise<void>
    let now = START
    let tables = 0

    beforeAll(async () => {
      const { drop: remove, ...facts } = await freshDatabase(engine)
      drop = remove
      const open = mysqlDrivers["mysql2"] as OpenClient
      clients = [await open(facts, { size: 1 }), await open(facts, { size: 1 })]
      await advance(0)
    })
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()))
      await drop()
    })

    async function advance(milliseconds: number): Promise<void> {
      now += milliseconds
      await Promise.all(clients.map((client) => client.run(`SET timestamp = ${now / 1000}`)))
    }

    async function harness(): Promise<StoreHarness> {
      const [first, second] = clients as [Client, Client]
      const table = `sessions_${++tables}`
      const store = first.store({ table })
      await store.migrate()
      return {
        store,
        precise: true,
        advance,
        connect: async () => second.store({ table }),
        corrupt: async (id) => {
          await first.run(`UPDATE ${table} SET state = '[1]' WHERE id = '${id}'`)
        },
        close: () => undefined,
      }
    }

    const others = new Set(storeConformance(harness, { precise: false }).map(({ name }) => name))
    test.each(storeConformance(harness).filter(({ name }) => !others.has(name)))("$name", ({ run }) => run())
  })
}

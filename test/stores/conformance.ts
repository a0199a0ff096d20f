import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, test } from "vitest"
import { type StoreCase, storeConformance, type StoreHarness } from "coatcheck/testing"
import { describeOn, freshDatabase, type FreshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import type { Client, ClientOptions, OpenClient } from "./clients.ts"

export interface Setting extends ClientOptions {
  /** The store's own option. */
  readonly prepare?: boolean
  /** A server in between. */
  readonly through?: (database: FreshDatabase) => Promise<FreshDatabase>
}

/** Runs the store's laws on a server, with two pools. */
export function describeLaws(engine: Engine, name: string, open: OpenClient, setting: Setting = {}): void {
  const tests = (): void => {
    let drop: (() => Promise<void>) | undefined
    let clients: Client[] = []
    let tables = 0

    beforeAll(async () => {
      const made = await freshDatabase(engine)
      const { drop: remove, ...facts } = (await setting.through?.(made)) ?? made
      drop = remove
      clients = [await open(facts, setting), await open(facts, setting)]
    })
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()))
      await drop?.()
    })

    const harness = async (table: string): Promise<StoreHarness> => {
      const [first, second] = clients as [Client, Client]
      const options = { table, ...(setting.prepare === undefined ? undefined : { prepare: setting.prepare }) }
      const store = first.store(options)
      await store.migrate()
      return {
        store,
        precise: false,
        advance: (milliseconds) => sleep(milliseconds),
        connect: async () => second.store(options),
        corrupt: async (id) => {
          await first.run(`UPDATE ${table} SET state = '[1]' WHERE id = '${id}'`)
        },
        close: () => undefined,
      }
    }
    const shared = storeConformance(() => harness("sessions"), { precise: false })
    const alone = storeConformance(() => harness(`sessions_${++tables}`), { precise: false })

    for (const [index, law] of shared.entries()) {
      // A sweep would count what other laws have left.
      const sweeps = /deleteExpired|sweep/.test(law.name)
      test.concurrent(law.name, sweeps ? (alone[index] as StoreCase).run : law.run)
    }
  }
  // The laws about time mostly wait, and so wait together with those of other drivers.
  describeOn(engine, name, tests, { concurrent: true })
}

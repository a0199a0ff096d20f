import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, test } from "vitest"
import { fakeClock } from "../testing/clock.ts"
import type { StoreHarness } from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { type SqliteDatabase, sqliteStore } from "./sqlite.ts"

/** Runs the conformance suite on files that a driver opens, two connections each. */
export function describeConformance(
  driver: string,
  open: (path: string) => SqliteDatabase & { close(): unknown },
): void {
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-sqlite-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let files = 0

  const openStore = async (): Promise<StoreHarness> => {
    const clock = fakeClock()
    const path = join(folder, `${++files}.db`)
    const database = open(path)
    const databases = [database]
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    const store = sqliteStore(database, { clock })
    await store.migrate()
    return {
      store,
      precise: true,
      advance: clock.advance,
      connect: async () => {
        const second = open(path)
        databases.push(second)
        return sqliteStore(second, { clock })
      },
      corrupt: (id) => {
        database.exec(`UPDATE sessions SET state = '[broken' WHERE id = '${id}'`)
      },
      close: () => {
        for (const each of databases) each.close()
      },
    }
  }

  describe(`sqliteStore on ${driver} keeps the store contract`, () => {
    for (const { name, run } of storeConformance(openStore)) test(name, run)
  })
}

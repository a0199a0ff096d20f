import fc from "fast-check"
import { test } from "vitest"
import { type SqliteStore, sqliteStore } from "../../src/stores/sqlite.ts"
import { runProgram } from "./model/driver.ts"
import { programs, SEED } from "./model/program.ts"

/** Half as many programs as on memory, where they run faster. */
const RUNS = Math.ceil(Number(process.env["COATCHECK_RUNS"] ?? 2000) / 2)

test(
  "G1 to G11: any program does on the SQLite store what the model does",
  { timeout: 60_000 + RUNS * 100 },
  async () => {
    const property = fc.asyncProperty(programs, async (program) => {
      const opened: SqliteStore[] = []
      try {
        await runProgram(program, (clock) => {
          const store = sqliteStore(":memory:", { clock })
          opened.push(store)
          return store
        })
      } finally {
        for (const store of opened) await store.close()
      }
    })
    await fc.assert(property, { numRuns: RUNS, ...SEED })
  },
)

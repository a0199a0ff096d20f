import fc from "fast-check"
import { describe, test } from "vitest"
import { memoryStore } from "../../src/stores/memory.ts"
import { sqliteStore } from "../../src/stores/sqlite.ts"
import { runProgram } from "./model/driver.ts"
import { programs } from "./model/program.ts"

/** How many programs run on memory; a quarter of them runs on SQLite. */
const RUNS = Number(process.env["COATCHECK_RUNS"] ?? 2000)

describe("G1 to G11: any program does what the model does", { timeout: 60_000 + RUNS * 100 }, () => {
  test("on the memory store", async () => {
    const property = fc.asyncProperty(programs, (program) =>
      runProgram(program, (clock) => memoryStore({ clock })),
    )
    await fc.assert(property, { numRuns: RUNS })
  })

  test("on the SQLite store", async () => {
    const property = fc.asyncProperty(programs, async (program) => {
      const opened: { close(): Promise<void> }[] = []
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
    await fc.assert(property, { numRuns: Math.ceil(RUNS / 4) })
  })
})

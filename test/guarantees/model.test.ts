import fc from "fast-check"
import { test } from "vitest"
import { memoryStore } from "../../src/stores/memory.ts"
import { runProgram } from "./model/driver.ts"
import { programs, SEED } from "./model/program.ts"

/** How many programs run on memory; half of them run on SQLite, in `model-sqlite.test.ts`. */
const RUNS = Number(process.env["COATCHECK_RUNS"] ?? 2000)

test(
  "G1 to G11: any program does on the memory store what the model does",
  { timeout: 60_000 + RUNS * 100 },
  async () => {
    const property = fc.asyncProperty(programs, (program) =>
      runProgram(program, (clock) => memoryStore({ clock })),
    )
    await fc.assert(property, { numRuns: RUNS, ...SEED })
  },
)

import { fakeClock, storeConformance, type StoreHarness } from "coatcheck/testing"
import { memoryStore } from "coatcheck/memory"
import { type SqliteDatabase, sqliteStore } from "coatcheck/sqlite"

/** Runs the conformance suite without a test runner, in whatever runtime runs this file, and prints what failed. */

const stores: Record<string, (clock: () => number) => StoreHarness["store"] & { close?(): Promise<void> }> = {
  memory: (clock) => memoryStore({ clock }),
  sqlite: (clock) => sqliteStore(":memory:", { clock }),
}

if ("Bun" in globalThis) {
  // Named through a variable, so that no other runtime looks for it.
  const specifier = "bun:sqlite"
  const { Database } = (await import(specifier)) as { Database: new (path: string) => SqliteDatabase }
  stores["a bun:sqlite database"] = (clock) => {
    const store = sqliteStore(new Database(":memory:"), { clock })
    void store.migrate()
    return store
  }
}

let passed = 0
const failed: string[] = []
for (const [name, make] of Object.entries(stores)) {
  const open = (): StoreHarness => {
    const clock = fakeClock()
    const store = make(clock)
    return { store, precise: true, advance: clock.advance, close: () => store.close?.() }
  }
  for (const law of storeConformance(open, { extras: [] })) {
    try {
      await law.run()
      passed += 1
    } catch (error) {
      failed.push(`${name}: ${law.name}: ${String(error)}`)
    }
  }
}
const { stdout } = (await import("node:process")).default
stdout.write(`${JSON.stringify({ passed, failed })}\n`)

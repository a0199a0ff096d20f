import { describe, vi } from "vitest"
import { openPGlite } from "./clients.ts"
import { lawsOn } from "./conformance.ts"

// It runs in this thread: with too much at once, sessions expire before their turn comes.
vi.setConfig({ maxConcurrency: 10 })

describe("postgresStore on PGlite", () => {
  const laws = lawsOn(async () => {
    const client = await openPGlite()
    return { clients: [client, client], close: () => client.close() }
  })
  laws()
})

import { redisStore, type RedisClient } from "coatcheck/redis"
import { storeConformance, type StoreHarness } from "coatcheck/testing"

/** Runs the store's laws on a Redis with the client that the runtime is told to use, and prints what failed. The package must have been built. */

interface Client {
  readonly client: RedisClient
  close(): unknown
}

// Named through variables, so that no runtime looks for what it does not need.
const open: Record<string, (port: number) => Promise<Client>> = {
  bun: async (port) => {
    const specifier = "bun"
    const { RedisClient } = (await import(specifier)) as {
      RedisClient: new (url: string) => RedisClient & { connect(): Promise<void>; close(): void }
    }
    const client = new RedisClient(`redis://127.0.0.1:${port}`)
    await client.connect()
    return { client, close: () => client.close() }
  },
  "node-redis": async (port) => {
    const { createClient } = await import("redis")
    const client = createClient({ socket: { host: "127.0.0.1", port } })
    client.on("error", () => undefined)
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  ioredis: async (port) => {
    const { Redis } = await import("ioredis")
    const client = new Redis({ host: "127.0.0.1", port })
    client.on("error", () => undefined)
    return { client, close: () => client.disconnect() }
  },
}

const { argv, exit, stdout } = (await import("node:process")).default
const [driver = "", port = ""] = argv.slice(2)
const clients = [await open[driver]!(Number(port)), await open[driver]!(Number(port))] as const
const harness = (): StoreHarness => ({
  store: redisStore(clients[0].client),
  precise: false,
  expiresByItself: true,
  advance: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  connect: async () => redisStore(clients[1].client),
  close: () => undefined,
})
let passed = 0
const failed: string[] = []
// The laws about time mostly wait, and so wait together.
await Promise.all(
  storeConformance(harness, { precise: false, extras: ["connect"] }).map(async (law) => {
    try {
      await law.run()
      passed += 1
    } catch (error) {
      failed.push(`${law.name}: ${String(error)}`)
    }
  }),
)
for (const client of clients) client.close()
stdout.write(`${JSON.stringify({ passed, failed })}\n`, () => exit(0))

import { type RedisClient, redisStore } from "coatcheck/redis"
import { storeConformance, type StoreHarness } from "coatcheck/testing"

/** Runs the conformance suite on a Redis without a test runner, in whatever runtime runs this file, and prints what failed. */

interface Client {
  readonly client: RedisClient
  /** Runs a script on one key. */
  evaluate(script: string, key: string): Promise<unknown>
}

const AT_ONCE = 40
const { argv, exit, stdout } = (await import("node:process")).default
const [name = "", port = ""] = argv.slice(2)

/** Named through variables, so that no other runtime looks for them. */
const drivers: Readonly<Record<string, () => Promise<Client>>> = {
  "Bun's client": async () => {
    const specifier = "bun"
    const bun = (await import(specifier)) as { RedisClient: new (url: string) => BunClient }
    const client = new bun.RedisClient(`redis://127.0.0.1:${port}`)
    return { client, evaluate: (script, key) => client.send("EVAL", [script, "1", key]) }
  },
  "node-redis": async () => {
    const { createClient } = await import("redis")
    const client = createClient({ socket: { host: "127.0.0.1", port: Number(port) } })
    await client.connect()
    return { client, evaluate: (script, key) => client.eval(script, { keys: [key] }) }
  },
  ioredis: async () => {
    const { Redis } = await import("ioredis")
    const client = new Redis({ host: "127.0.0.1", port: Number(port) })
    return { client, evaluate: (script, key) => client.eval(script, 1, key) }
  },
}

interface BunClient {
  send(command: string, args: string[]): Promise<unknown>
}

const open = drivers[name]
if (open === undefined) throw new Error(`There is no driver ${name}.`)
const [first, second] = [await open(), await open()]
const corruption = `
  local record = redis.call('GET', KEYS[1])
  local _, stop = string.find(record, '^[^\\n]*\\n[^\\n]*\\n[^\\n]*\\n')
  return redis.call('SET', KEYS[1], string.sub(record, 1, stop) .. '[1]', 'KEEPTTL')`
const harness = (): StoreHarness => ({
  store: redisStore(first.client),
  precise: false,
  expiresByItself: true,
  advance: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  connect: async () => redisStore(second.client),
  corrupt: async (id) => void (await first.evaluate(corruption, `session:${id}`)),
  close: () => undefined,
})

let passed = 0
const failed: string[] = []
const laws = storeConformance(harness, { precise: false })
async function work(): Promise<void> {
  for (let law = laws.shift(); law !== undefined; law = laws.shift()) {
    const { name: title, run } = law
    await run().then(
      () => (passed += 1),
      (error: unknown) => failed.push(`${title}: ${String(error)}`),
    )
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work))
await new Promise((resolve) => stdout.write(`${JSON.stringify({ passed, failed })}\n`, resolve))
exit(0)

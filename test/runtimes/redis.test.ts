import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { requireProgram } from "../support/programs.ts"
import { startRedis } from "../support/servers/redis.ts"
import type { DatabaseServer } from "../support/servers/server.ts"

const script = new URL("redis-laws.ts", import.meta.url).pathname
const root = new URL("../../", import.meta.url).pathname

const runtimes: Record<string, { readonly input: readonly string[]; readonly drivers: readonly string[] }> = {
  bun: { input: ["run"], drivers: ["Bun's client", "node-redis", "ioredis"] },
  deno: { input: ["run", "--allow-all", "--no-lock", "--quiet"], drivers: ["node-redis", "ioredis"] },
}

/** The Redis store as other runtimes run it: Bun has a client of its own. The package must have been built. */
describe("the Redis store keeps the store contract", () => {
  const hasRedis = requireProgram("redis-server", ["/usr/bin/redis-server"]) !== undefined
  let server: DatabaseServer<"redis"> | undefined

  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server?.stop())

  for (const [runtime, { input, drivers }] of Object.entries(runtimes)) {
    const program = requireProgram(runtime, [`${root}node_modules/.bin/${runtime}`])
    for (const driver of drivers) {
      test
        .skipIf(program === undefined || !hasRedis)
        .concurrent(`on ${runtime} through ${driver}`, async () => {
          const args = [...input, script, driver, String(server!.port)]
          const { stdout } = await promisify(execFile)(program as string, args, {
            cwd: root,
            timeout: 100_000,
          })
          const result = JSON.parse(stdout) as { passed: number; failed: string[] }
          expect(result.failed).toEqual([])
          expect(result.passed).toBeGreaterThan(200)
        })
    }
  }
})

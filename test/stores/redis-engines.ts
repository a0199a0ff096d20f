import { Redis } from "ioredis"
import { describe, inject } from "vitest"
import { redisStore } from "coatcheck/redis"
import { command } from "../support/servers/redis.ts"
import * as scripts from "../../src/stores/redis-scripts.ts"
import type { SessionStore } from "../../src/store.ts"
import { type Client, clusterDrivers, redisDrivers } from "./redis-clients.ts"

/** The servers of this test run that keep sessions as redisStore does. */
export type RedisEngine = "redis" | "valkey" | "cluster"

const titles: Readonly<Record<RedisEngine, { name: string; program: string }>> = {
  redis: { name: "Redis", program: "redis-server" },
  valkey: { name: "Valkey", program: "valkey-server" },
  cluster: { name: "Redis Cluster", program: "redis-server" },
}

/** `describe` for tests that need such a server; they are skipped where its program is not installed, or was left out by `COATCHECK_SERVERS`. */
export function describeOnRedis(
  engine: RedisEngine,
  title: string,
  tests: () => void,
  options: { readonly concurrent?: boolean } = {},
): void {
  const { name, program } = titles[engine]
  const isMissing = portsOn(engine) === null
  describe.skipIf(isMissing)(`${name}: ${title}${isMissing ? ` (no ${program} here)` : ""}`, options, tests)
}

/** @returns the ports of a server, or of a cluster's nodes; null if it does not run. */
function portsOn(engine: RedisEngine): readonly number[] | null {
  if (engine === "cluster") return inject("cluster")
  const server = inject("servers")[engine]
  return server === null ? null : [server.port]
}

/** The ports of a server, or of a cluster's nodes. */
export function portsOf(engine: RedisEngine): readonly number[] {
  const ports = portsOn(engine)
  if (ports === null) throw new Error(`${titles[engine].name} does not run.`)
  return ports
}

/** A client of a server, or of a cluster. */
export function openOn(
  engine: RedisEngine,
  driver: string = "node-redis 6",
  ports: readonly number[] = portsOf(engine),
): Promise<Client> {
  const open = engine === "cluster" ? clusterDrivers[driver] : undefined
  if (open !== undefined) return open(ports)
  const openOne = redisDrivers[driver]
  if (openOne === undefined || engine === "cluster") throw new Error(`There is no driver ${driver}.`)
  return openOne({ port: ports[0] as number })
}

/** A store of a prefix of its own, and its client. */
export interface Opened {
  readonly client: Client
  readonly store: SessionStore
  readonly prefix: string
}

let count = 0

/** A prefix that no other test has. */
export function freshPrefix(): string {
  return `t${process.pid}-${Date.now().toString(36)}-${++count}:`
}

export async function openStore(
  engine: RedisEngine,
  driver?: string,
  prefix: string = freshPrefix(),
): Promise<Opened> {
  const client = await openOn(engine, driver)
  return { client, store: redisStore(client.client, { prefix }), prefix }
}

/** Every key with the prefix, and how many milliseconds each has left: -1 for ever. */
export async function keysWith(ports: readonly number[], prefix: string): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  const script = `
    local found = {}
    for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
      found[#found + 1] = key
      found[#found + 1] = redis.call('PTTL', key)
    end
    return found`
  for (const port of ports) {
    const cells = (await command(port, ["EVAL", script, "0", prefix])) as (string | number)[]
    for (let index = 0; index < cells.length; index += 2)
      found.set(String(cells[index]), Number(cells[index + 1]))
  }
  return found
}

/** Lets servers know all scripts of the store, so that none of its commands is sent twice. */
export async function teachScripts(ports: readonly number[]): Promise<void> {
  const texts = Object.values(scripts).flatMap((each) => (each instanceof scripts.Script ? [each.text] : []))
  for (const port of ports) {
    const server = new Redis({ host: "127.0.0.1", port })
    await Promise.all(texts.map((text) => server.script("LOAD", text)))
    server.disconnect()
  }
}

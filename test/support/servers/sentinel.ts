import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { requireProgram } from "../programs.ts"
import { makeFolder } from "./belongings.ts"
import { freePort } from "./ports.ts"
import { startServer } from "./private-server.ts"
import { command, eventually, startRedis } from "./redis.ts"
import type { DatabaseServer } from "./server.ts"

/** A master with a replica, and a sentinel that makes the replica the master when the master does not answer. */
export interface SentinelGroup {
  /** What the sentinel calls the master. */
  readonly name: string
  readonly sentinel: DatabaseServer<"redis">
  /** The master at first, then the replica. */
  readonly nodes: readonly [DatabaseServer<"redis">, DatabaseServer<"redis">]
  /** The port of the node that the sentinel takes for the master. */
  masterPort(): Promise<number>
  stop(): Promise<void>
}

const NAME = "main"
/** Otherwise a master waits for five seconds whether more replicas come. */
const AT_ONCE = { "repl-diskless-sync-delay": "0" }

/** Starts a private master with a replica and a sentinel; undefined if this machine has no Redis. */
export async function startSentinel(
  settings: Readonly<Record<string, string>> = {},
): Promise<SentinelGroup | undefined> {
  const program = requireProgram("redis-server", ["/usr/bin/redis-server"])
  if (program === undefined) return undefined
  const master = (await startRedis({ settings: { ...AT_ONCE, ...settings } }))!
  const replica = (await startRedis({
    settings: { ...AT_ONCE, ...settings, replicaof: `127.0.0.1 ${master.port}` },
  }))!
  await eventually(async () => String(await command(replica.port, ["ROLE"])).includes("connected"))
  const sentinel = await watcherOf(master.port, program)
  const group: SentinelGroup = {
    name: NAME,
    sentinel,
    nodes: [master, replica],
    masterPort: async () => {
      const address = await command(sentinel.port, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
      return Number((address as string[])[1])
    },
    stop: async () => {
      await Promise.all([sentinel, master, replica].map((each) => each.stop()))
    },
  }
  await eventually(async () => {
    const replicas = (await command(sentinel.port, ["SENTINEL", "REPLICAS", NAME])) as unknown[]
    return replicas.length === 1
  })
  return group
}

async function watcherOf(port: number, program: string): Promise<DatabaseServer<"redis">> {
  const own = await freePort()
  const folder = makeFolder("sentinel")
  const file = join(folder, "sentinel.conf")
  const lines = [
    `port ${own}`,
    "bind 127.0.0.1",
    `dir ${folder}`,
    `sentinel monitor ${NAME} 127.0.0.1 ${port} 1`,
    `sentinel down-after-milliseconds ${NAME} 300`,
    `sentinel failover-timeout ${NAME} 2000`,
  ]
  return startServer({
    engine: "redis",
    address: { host: "127.0.0.1", port: own, user: "", password: "", database: "0" },
    folder,
    // The sentinel writes into it what it learns.
    initialize: async () => writeFileSync(file, `${lines.join("\n")}\n`),
    command: { folder, log: join(folder, "log"), program, args: [file, "--sentinel"] },
    stopSignal: "SIGTERM",
    greet: async () => {
      const facts = String(await command(own, ["INFO", "server"]))
      return /redis_version:(\S+)/.exec(facts)?.[1] ?? ""
    },
  })
}

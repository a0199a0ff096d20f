import { setTimeout as sleep } from "node:timers/promises"
import { join } from "node:path"
import { createClient } from "redis"
import { requireProgram } from "../programs.ts"
import { makeFolder } from "./belongings.ts"
import { freePort } from "./ports.ts"
import { startServer } from "./private-server.ts"
import type { DatabaseServer, KeyValueEngine, ServerOptions } from "./server.ts"

/** Debian's stable releases may have no package of Valkey: then its program lies in a folder beside, where the tests run it from. */
const valkeyRoot = process.env["COATCHECK_VALKEY_ROOT"] ?? "/var/lib/coatcheck-test/valkey"

// Nothing is kept on the disk, but for tests that ask for it.
const defaults = { bind: "127.0.0.1", save: "", appendonly: "no", "enable-debug-command": "yes" }

/** Starts a private Redis; undefined if this machine has none. */
export function startRedis(options: ServerOptions = {}): Promise<DatabaseServer<"redis"> | undefined> {
  return start("redis", requireProgram("redis-server", ["/usr/bin/redis-server"]), options)
}

/** Starts a private Valkey; undefined if this machine has none. */
export function startValkey(options: ServerOptions = {}): Promise<DatabaseServer<"valkey"> | undefined> {
  const candidates = ["/usr/bin/valkey-server", join(valkeyRoot, "usr/bin/valkey-server")]
  return start("valkey", requireProgram("valkey-server", candidates), options)
}

async function start<E extends KeyValueEngine>(
  engine: E,
  program: string | undefined,
  { settings = {}, env }: ServerOptions,
): Promise<DatabaseServer<E> | undefined> {
  if (program === undefined) return undefined
  const port = await freePort()
  const folder = makeFolder(engine)
  const log = join(folder, "log")
  const all = { port: String(port), dir: folder, ...defaults, ...settings }
  return startServer({
    engine,
    address: { host: "127.0.0.1", port, user: "", password: settings["requirepass"] ?? "", database: "0" },
    folder,
    initialize: async () => {},
    command: {
      env,
      folder,
      log,
      program,
      args: Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]),
    },
    stopSignal: "SIGTERM",
    greet: () => greet(port, settings["requirepass"]),
  })
}

async function greet(port: number, password: string | undefined): Promise<string> {
  const facts = await command(port, ["INFO", "server"], password)
  return /(?:valkey_version|redis_version):(\S+)/.exec(valkeyFirst(String(facts)))?.[1] ?? ""
}

/** Valkey also says which Redis it is like. */
function valkeyFirst(facts: string): string {
  const version = /valkey_version:\S+/.exec(facts)?.[0]
  return version ?? facts
}

/** Runs one command on a connection of its own. */
export async function command(port: number, args: readonly string[], password?: string): Promise<unknown> {
  const client = createClient({
    socket: { host: "127.0.0.1", port, reconnectStrategy: false, connectTimeout: 2_000 },
    ...(password === undefined ? undefined : { password }),
  })
  client.on("error", () => undefined)
  await client.connect()
  try {
    return await client.sendCommand([...args])
  } finally {
    client.destroy()
  }
}

export interface RedisCluster {
  readonly nodes: readonly DatabaseServer<KeyValueEngine>[]
  stop(): Promise<void>
}

const SLOTS = 16_384

/** Starts a private cluster of masters, each with its share of the slots, and with `replicas` others behind each; undefined if this machine has no Redis. */
export async function startCluster(
  masters = 3,
  { replicas = 0, settings = {} }: ServerOptions & { readonly replicas?: number } = {},
): Promise<RedisCluster | undefined> {
  const results = await Promise.allSettled(
    Array.from({ length: masters * (1 + replicas) }, () => startNode(settings)),
  )
  const nodes = results.flatMap((result) => (result.status === "fulfilled" ? (result.value ?? []) : []))
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  try {
    const failure = results.find((result) => result.status === "rejected")
    if (failure !== undefined) throw failure.reason
    if (nodes.length === 0) return undefined
    await form(nodes, masters)
  } catch (error) {
    await stop()
    throw error
  }
  return { nodes, stop }
}

async function startNode(
  settings: Readonly<Record<string, string>>,
  tries = 3,
): Promise<DatabaseServer<"redis"> | undefined> {
  // Left to itself, a node talks to the others on a port that is given to outgoing connections as well.
  const facts = { "cluster-enabled": "yes", "cluster-node-timeout": "1000" }
  try {
    const port = String(await freePort())
    return await startRedis({ settings: { ...facts, "cluster-port": port, ...settings } })
  } catch (error) {
    if (tries === 1 || !/address already in use/i.test(String(error))) throw error
    return startNode(settings, tries - 1)
  }
}

async function form(nodes: readonly DatabaseServer<KeyValueEngine>[], masters: number): Promise<void> {
  const ports = nodes.map((node) => node.port)
  const first = ports[0] as number
  for (const [index, port] of ports.slice(0, masters).entries()) {
    const from = Math.floor((SLOTS * index) / masters)
    const to = Math.floor((SLOTS * (index + 1)) / masters)
    const slots = Array.from({ length: to - from }, (_, offset) => String(from + offset))
    await command(port, ["CLUSTER", "ADDSLOTS", ...slots])
    // No two may begin with the same epoch.
    await command(port, ["CLUSTER", "SET-CONFIG-EPOCH", String(index + 1)])
  }
  const [, bus] = /@(\d+)/.exec(String(await command(first, ["CLUSTER", "NODES"]))) ?? []
  for (const port of ports.slice(1))
    await command(port, ["CLUSTER", "MEET", "127.0.0.1", String(first), bus as string])
  await eventually(async () => await knowEachOther(ports))
  for (const [index, port] of ports.slice(masters).entries()) {
    const id = String(await command(ports[index % masters] as number, ["CLUSTER", "MYID"]))
    await command(port, ["CLUSTER", "REPLICATE", id])
  }
  await eventually(async () => {
    const facts = await Promise.all(ports.map((port) => command(port, ["CLUSTER", "INFO"])))
    return facts.every((each) => String(each).includes("cluster_state:ok"))
  })
}

async function knowEachOther(ports: readonly number[]): Promise<boolean> {
  const lists = await Promise.all(ports.map((port) => command(port, ["CLUSTER", "NODES"])))
  return lists.every((list) => ports.every((port) => String(list).includes(`127.0.0.1:${port}@`)))
}

/** Asks again until it is so; an error after twenty seconds. */
export async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error("It has not come about within twenty seconds.")
    await sleep(20)
  }
}

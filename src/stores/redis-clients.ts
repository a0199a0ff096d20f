import { ConfigError } from "../errors.ts"
import type { Script } from "./redis-scripts.ts"

/** node-redis 5 or later: a client, a pool, a cluster or a sentinel. */
export interface NodeRedisClient {
  evalSha(digest: string, options?: ScriptInput): Promise<unknown>
  eval(script: string, options?: ScriptInput): Promise<unknown>
  get(key: string): Promise<unknown>
}

interface ScriptInput {
  keys?: string[]
  arguments?: string[]
}

/** ioredis 5 or later: a `Redis`, with sentinels or without, or a `Cluster`. */
export interface IoredisClient {
  call(command: string, args: string[]): Promise<unknown>
  readonly isCluster: boolean
  readonly options: object
}

/** The client that Bun brings along. */
export interface BunRedisClient {
  send(command: string, args: string[]): Promise<unknown>
}

export type RedisClient = NodeRedisClient | IoredisClient | BunRedisClient

/** One script, and one round trip. */
export interface Connection {
  run(script: Script, keys: readonly string[], values: readonly string[]): Promise<Reply>
  /** What stands under a key, or null; undefined where such a read might be answered by a replica or a cache, which scripts never are. */
  readonly get: ((key: string) => Promise<unknown>) | undefined
  /** Whether keys stand on several nodes. */
  readonly isCluster: boolean
  /** Whether the client itself sends again what it has no answer to, though it may have been carried out. */
  readonly sendsAgain: boolean
}

/** What a script replies with, numbers as such or as text. */
export type Reply = readonly unknown[]

/** Told apart by their methods, so that a client need not come from the copy of a driver that this module would import. */
export function connectionOf(client: RedisClient): Connection {
  const methods = (client ?? {}) as Partial<Record<"evalSha" | "call" | "send", unknown>>
  if (typeof methods.evalSha === "function") return nodeRedis(client as NodeRedisClient)
  if (typeof methods.call === "function") return ioredis(client as IoredisClient)
  if (typeof methods.send === "function") return bunRedis(client as BunRedisClient)
  throw new ConfigError(
    "redisStore: expected a client, pool, cluster or sentinel of node-redis 5 or later, a Redis or Cluster of ioredis 5 or later, or Bun's RedisClient.",
    { option: "client" },
  )
}

function nodeRedis(client: NodeRedisClient): Connection {
  const isCluster = "nodeByAddress" in client
  const isSentinel = "getMasterNode" in client
  // A cache in the client would be asked in the place of the engine, and go on for a while with what has ended.
  const isCached = (client as { clientSideCache?: unknown }).clientSideCache !== undefined
  return {
    run: byDigest(
      (digest, keys, values) => client.evalSha(digest, { keys, arguments: values }),
      (text, keys, values) => client.eval(text, { keys, arguments: values }),
    ),
    get: isCluster || isSentinel || isCached ? undefined : (key) => client.get(key),
    isCluster,
    sendsAgain: isSentinel,
  }
}

function ioredis(client: IoredisClient): Connection {
  const { autoResendUnfulfilledCommands } = (client.options ?? {}) as {
    autoResendUnfulfilledCommands?: boolean
  }
  return {
    run: byDigest(
      (digest, keys, values) => client.call("evalsha", [digest, String(keys.length), ...keys, ...values]),
      (text, keys, values) => client.call("eval", [text, String(keys.length), ...keys, ...values]),
    ),
    get: client.isCluster ? undefined : (key) => client.call("get", [key]),
    isCluster: client.isCluster,
    sendsAgain: client.isCluster || autoResendUnfulfilledCommands !== false,
  }
}

function bunRedis(client: BunRedisClient): Connection {
  return {
    run: byDigest(
      (digest, keys, values) => client.send("EVALSHA", [digest, String(keys.length), ...keys, ...values]),
      (text, keys, values) => client.send("EVAL", [text, String(keys.length), ...keys, ...values]),
    ),
    get: (key) => client.send("GET", [key]),
    isCluster: false,
    sendsAgain: false,
  }
}

type Call = (script: string, keys: string[], values: string[]) => Promise<unknown>

/** A script that the server does not know (any more) has not been run, so it is sent whole. */
function byDigest(known: Call, whole: Call): Connection["run"] {
  return async (script, keys, values) => {
    const { digest } = script
    const [names, texts] = [keys as string[], values as string[]]
    try {
      return (await known(typeof digest === "string" ? digest : await digest, names, texts)) as Reply
    } catch (error) {
      if (!isUnknownScript(error)) throw error
      return (await whole(script.text, names, texts)) as Reply
    }
  }
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.includes("NOSCRIPT")
}

/** A cell of a reply as text, also from a client that hands out bytes. */
export function textOf(cell: unknown): string {
  return cell instanceof Uint8Array ? new TextDecoder().decode(cell) : String(cell)
}

import { createHash } from "node:crypto"
import { Redis } from "ioredis"
import { createClient } from "redis"

/** The commands that the benchmark gives itself, each as its driver has it. */
export interface Commands {
  readonly get: (key: string) => Promise<string | null>
  readonly set: (key: string, value: string, seconds: number) => Promise<unknown>
  readonly hashGetAll: (key: string) => Promise<Readonly<Record<string, string>>>
  readonly expire: (key: string, seconds: number) => Promise<unknown>
  readonly script: (script: Script, keys: string[], values: string[]) => Promise<unknown>
  /** Any other. */
  readonly send: (...args: string[]) => Promise<unknown>
}

/** A script that has been loaded. */
export interface Script {
  readonly text: string
  readonly digest: string
}

export function scriptOf(text: string): Script {
  return { text, digest: createHash("sha1").update(text).digest("hex") }
}

export type NodeRedis = ReturnType<typeof createClient>

export async function openNodeRedis(port: number): Promise<NodeRedis> {
  const client = createClient({ socket: { host: "127.0.0.1", port } })
  client.on("error", () => undefined)
  await client.connect()
  return client as NodeRedis
}

export function openIoredis(port: number): Redis {
  return new Redis({ host: "127.0.0.1", port })
}

export function commandsOfNodeRedis(client: NodeRedis): Commands {
  return {
    get: (key) => client.get(key),
    set: (key, value, seconds) => client.set(key, value, { EX: seconds }),
    hashGetAll: (key) => client.hGetAll(key),
    expire: (key, seconds) => client.expire(key, seconds),
    script: ({ digest }, keys, values) => client.evalSha(digest, { keys, arguments: values }),
    send: (...args) => client.sendCommand(args),
  }
}

export function commandsOfIoredis(client: Redis): Commands {
  return {
    get: (key) => client.get(key),
    set: (key, value, seconds) => client.set(key, value, "EX", seconds),
    hashGetAll: (key) => client.hgetall(key),
    expire: (key, seconds) => client.expire(key, seconds),
    script: ({ digest }, keys, values) => client.evalsha(digest, keys.length, ...keys, ...values),
    send: (command = "", ...args) => client.call(command, args),
  }
}

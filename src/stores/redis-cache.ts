import { ConfigError } from "../errors.ts"
import type { SessionId } from "../store.ts"
import { type BunRedisClient, type IoredisClient, textOf } from "./redis-clients.ts"
import { nameOption } from "./redis-names.ts"
import type { Invalidation, InvalidationMessage } from "./shared-cache-invalidation.ts"
import type { SessionCache } from "./shared-cache-tier.ts"
import { assertKnownOptions } from "./shared-options.ts"

export interface RedisCacheOptions {
  /** What every key begins with. Default `"session-cache:"`. */
  readonly prefix?: string | undefined
}

export interface RedisInvalidationOptions {
  /** Default `"session-invalidation"`. */
  readonly channel?: string | undefined
}

/** node-redis 5 or later: a client, a pool, a cluster or a sentinel. */
interface NodeRedisCacheClient {
  get(key: string): Promise<unknown>
  set(key: string, text: string, options: { expiration: { type: "PX"; value: number } }): Promise<unknown>
  del(key: string): Promise<unknown>
  evalSha(digest: string): Promise<unknown>
}

/** A client as `redisStore` takes it. */
export type RedisCacheClient = NodeRedisCacheClient | IoredisClient | BunRedisClient

/** A client as `redisStore` takes it. */
export interface RedisPublisher {
  publish(channel: string, message: string): Promise<unknown>
}

/** A client of its own, for one that has subscribed can do little else: in node-redis and Bun `await client.duplicate()`, connected; in ioredis `client.duplicate()`. */
export type RedisSubscriber = CallingSubscriber | EmittingSubscriber

/** node-redis, and Bun's client. */
interface CallingSubscriber {
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>
  unsubscribe(channel: string, listener: (message: string) => void): Promise<unknown>
}

/** ioredis. */
interface EmittingSubscriber {
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  on(event: "message", listener: (channel: string, message: string) => void): unknown
  removeListener(event: "message", listener: (channel: string, message: string) => void): unknown
  readonly isCluster: boolean
}

/** Keeps sessions in Redis for a `cachedStore` in front of a slower store. All servers share it. */
export function redisCache(client: RedisCacheClient, options: RedisCacheOptions = {}): SessionCache {
  assertKnownOptions("redisCache", options, ["prefix"])
  const { prefix = "session-cache:" } = options
  nameOption("prefix", prefix, "session-cache:")
  const { get, set, remove } = commandsOf(client)
  const key = (id: SessionId): string => prefix + id
  return {
    shared: true,
    get: async (id) => {
      const text = await get(key(id))
      return text === null ? undefined : textOf(text)
    },
    set: (id, text, ttl) => set(key(id), text, Math.max(1, Math.floor(ttl))),
    delete: (id) => remove(key(id)),
  }
}

/** Tells all servers through Redis what not to read from their caches any more. Redis hands messages over at most once, so `staleness` remains the bound. */
export function redisInvalidation(
  publisher: RedisPublisher,
  subscriber: RedisSubscriber,
  options: RedisInvalidationOptions = {},
): Invalidation {
  assertKnownOptions("redisInvalidation", options, ["channel"])
  const { channel = "session-invalidation" } = options
  nameOption("channel", channel, "session-invalidation")
  assertMethod("publisher", publisher, "publish")
  assertMethod("subscriber", subscriber, "subscribe")
  return {
    publish: (messages) => publisher.publish(channel, JSON.stringify(messages)),
    subscribe: async (listener) => {
      const hear = (text: string): void => messagesIn(text).forEach(listener)
      return "isCluster" in subscriber
        ? emitted(subscriber, channel, hear)
        : called(subscriber, channel, hear)
    },
  }
}

async function called(
  subscriber: CallingSubscriber,
  channel: string,
  hear: (text: string) => void,
): Promise<() => Promise<void>> {
  const listener = (message: string): void => hear(message)
  await subscriber.subscribe(channel, listener)
  return async () => {
    await subscriber.unsubscribe(channel, listener)
  }
}

async function emitted(
  subscriber: EmittingSubscriber,
  channel: string,
  hear: (text: string) => void,
): Promise<() => Promise<void>> {
  const listener = (from: string, message: string): void => {
    if (from === channel) hear(message)
  }
  subscriber.on("message", listener)
  try {
    await subscriber.subscribe(channel)
  } catch (error) {
    subscriber.removeListener("message", listener)
    throw error
  }
  // Others may have subscribed to the channel through this client, so it stays subscribed.
  return async () => {
    subscriber.removeListener("message", listener)
  }
}

/** Whatever else is said on the channel is no message. */
function messagesIn(text: string): InvalidationMessage[] {
  try {
    const messages = JSON.parse(text) as unknown
    return Array.isArray(messages) ? messages.filter(isMessage) : []
  } catch {
    return []
  }
}

function isMessage(message: unknown): message is InvalidationMessage {
  const { id, userId } = (message ?? {}) as { id?: unknown; userId?: unknown }
  return typeof id === "string" || typeof userId === "string"
}

interface CacheCommands {
  readonly get: (key: string) => Promise<unknown>
  readonly set: (key: string, text: string, ttl: number) => Promise<unknown>
  readonly remove: (key: string) => Promise<unknown>
}

function commandsOf(client: RedisCacheClient): CacheCommands {
  const methods = (client ?? {}) as Partial<Record<"evalSha" | "call" | "send", unknown>>
  if (typeof methods.evalSha === "function") {
    const nodeRedis = client as NodeRedisCacheClient
    return {
      get: (key) => nodeRedis.get(key),
      set: (key, text, ttl) => nodeRedis.set(key, text, { expiration: { type: "PX", value: ttl } }),
      remove: (key) => nodeRedis.del(key),
    }
  }
  const call = plainCall(client as IoredisClient | BunRedisClient)
  return {
    get: (key) => call("get", [key]),
    set: (key, text, ttl) => call("set", [key, text, "PX", String(ttl)]),
    remove: (key) => call("del", [key]),
  }
}

function plainCall(
  client: IoredisClient | BunRedisClient,
): (command: string, args: string[]) => Promise<unknown> {
  if ("call" in client) return (command, args) => client.call(command, args)
  if ("send" in client) return (command, args) => client.send(command, args)
  throw new ConfigError("redisCache: expected a client as redisStore takes it.", { option: "client" })
}

function assertMethod(option: string, client: unknown, method: string): void {
  if (typeof (client as Record<string, unknown> | null)?.[method] === "function") return
  throw new ConfigError(`redisInvalidation: ${option}: expected a Redis client.`, { option })
}

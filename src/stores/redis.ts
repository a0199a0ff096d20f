import type { SessionStore } from "../store.ts"
import { connectionOf, type RedisClient } from "./redis-clients.ts"
import { ClusterStore } from "./redis-cluster.ts"
import { nameOption } from "./redis-names.ts"
import { NodeStore } from "./redis-node.ts"
import { assertKnownOptions } from "./shared-options.ts"

export {
  redisCache,
  type RedisCacheClient,
  type RedisCacheOptions,
  redisInvalidation,
  type RedisInvalidationOptions,
  type RedisPublisher,
  type RedisSubscriber,
} from "./redis-cache.ts"
export type { BunRedisClient, IoredisClient, NodeRedisClient, RedisClient } from "./redis-clients.ts"

export interface RedisStoreOptions {
  /**
   * What every key begins with. Default `"session:"`. In a cluster a prefix with a hash tag, such as `"{session}:"`, keeps all sessions on one
   * node, where each operation is one script; without one they are spread.
   */
  readonly prefix?: string | undefined
}

/** What Redis Cluster takes the slot from, if it is there (Redis Cluster specification, "Hash tags"). */
const HASH_TAG = /^[^{]*\{[^}]+\}/

/**
 * Keeps sessions in Redis 6.2 or Valkey 7.2, or later, through node-redis, ioredis or Bun's client. Nothing has to be set up; the engine
 * removes what has expired.
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): SessionStore {
  assertKnownOptions("redisStore", options, ["prefix"])
  const { prefix = "session:" } = options
  nameOption("prefix", prefix, "session:")
  const connection = connectionOf(client)
  const isSpread = connection.isCluster && !HASH_TAG.test(prefix)
  return isSpread ? new ClusterStore(connection, prefix) : new NodeStore(connection, prefix)
}

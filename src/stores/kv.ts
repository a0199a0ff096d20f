import { ConfigError } from "../errors.ts"
import { byteLength } from "../json.ts"
import type { SessionStore } from "../store.ts"
import { type KeyValueEngine, KeyValueStore } from "./shared-keyvalue.ts"
import { assertKnownOptions } from "./shared-options.ts"

export {
  type CachedStore,
  type CacheStatistics,
  type Duration,
  kvCache,
  type KvCacheNamespace,
  type KvCacheOptions,
} from "./kv-cache.ts"

/** A KV namespace, as a Worker's `env` has it. */
export interface KvNamespace {
  get(key: string, options: { type: "text"; cacheTtl?: number }): Promise<string | null>
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>
  delete(key: string): Promise<void>
}

export interface KvStoreOptions {
  /** What the keys begin with. Default `"session:"`. */
  readonly prefix?: string | undefined
  /** For how many seconds a location may go on with what it has read, 30 or more. Default: KV's own, which is 60. */
  readonly cacheTtl?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

const LONGEST_KEY = 512
const ID_LENGTH = 43
const SHORTEST_CACHE_TTL = 30
/** In seconds. A record that ends sooner says so itself. */
const SHORTEST_TTL = 60
/** A little more than the second that KV wants between two writes of one key. */
const WRITE_AGAIN_AFTER = 1100

/**
 * Keeps sessions in Cloudflare Workers KV, which is eventually consistent: other locations may see a session as it was for a minute, or
 * longer with `cacheTtl`. A write takes the place of the whole record, so changes of concurrent requests can be lost. `transact`,
 * `consume`, grace and the list of a user's sessions are refused with a `CapabilityError`.
 */
export function kvStore(binding: KvNamespace, options: KvStoreOptions = {}): SessionStore {
  return new KeyValueStore(new KvEngine(binding, options))
}

class KvEngine implements KeyValueEngine {
  readonly name = "kv"
  /** To look where nothing is yet would make KV remember that for a minute, and a new session would not be found. Ids are 192 random bits. */
  readonly checksIds = false
  readonly clock: () => number
  readonly #binding: KvNamespace
  readonly #prefix: string
  readonly #reading: { readonly type: "text"; readonly cacheTtl?: number }

  constructor(binding: KvNamespace, options: KvStoreOptions) {
    assertKnownOptions("kvStore", options, ["prefix", "cacheTtl", "clock"])
    const { prefix = "session:", cacheTtl, clock = Date.now } = options
    assertNamespace(binding)
    if (typeof prefix !== "string" || byteLength(prefix) + ID_LENGTH > LONGEST_KEY) {
      throw new ConfigError(`prefix: expected a text of at most ${LONGEST_KEY - ID_LENGTH} bytes.`, {
        option: "prefix",
      })
    }
    if (cacheTtl !== undefined && !(Number.isSafeInteger(cacheTtl) && cacheTtl >= SHORTEST_CACHE_TTL)) {
      throw new ConfigError(`cacheTtl: expected a whole number of seconds, ${SHORTEST_CACHE_TTL} or more.`, {
        option: "cacheTtl",
      })
    }
    if (typeof clock !== "function") throw new ConfigError("clock: expected a function.", { option: "clock" })
    this.clock = clock
    this.#binding = binding
    this.#prefix = prefix
    this.#reading = { type: "text", ...(cacheTtl !== undefined && { cacheTtl }) }
  }

  keyOf(id: string): string {
    return this.#prefix + id
  }

  get(key: string): Promise<string | null> {
    return this.#binding.get(key, this.#reading)
  }

  put(key: string, text: string, ttl: number): Promise<void> {
    return this.#binding.put(key, text, { expirationTtl: Math.max(SHORTEST_TTL, Math.ceil(ttl / 1000)) })
  }

  remove(key: string): Promise<void> {
    return this.#binding.delete(key)
  }

  async keys(): Promise<readonly string[]> {
    return []
  }

  retryAfter(error: unknown): number | undefined {
    return TOO_SOON.test(messageOf(error)) ? WRITE_AGAIN_AFTER : undefined
  }

  adviceFor(error: unknown): string | undefined {
    const message = messageOf(error)
    return ADVICE.find(([pattern]) => pattern.test(message))?.[1]
  }
}

const TOO_SOON = /failed: 429\b|too many requests/i

/** The first that fits. */
const ADVICE: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [
    /limit exceeded for the day/i,
    "the account has used up its day's KV operations; the Workers Paid plan has no such limit",
  ],
  [
    TOO_SOON,
    "KV takes one write a second for each key, and this session was written more often; write less, or use D1",
  ],
  [/failed: 413\b/, "the session is larger than the 25 MiB that KV takes; lower maxStateBytes"],
]

function assertNamespace(binding: unknown): void {
  const { get, put, delete: remove } = (binding ?? {}) as Partial<Record<keyof KvNamespace, unknown>>
  if ([get, put, remove].every((method) => typeof method === "function")) return
  throw new ConfigError(
    "kvStore: expected a KV namespace such as env.SESSIONS; is it bound under that name (kv_namespaces)?",
    { option: "binding" },
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : ""
}

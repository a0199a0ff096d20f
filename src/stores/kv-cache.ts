import { ConfigError } from "../errors.ts"
import { byteLength } from "../json.ts"
import type { SessionId, SessionStore } from "../store.ts"
import { AuthorityCachedStore, type CachedStore } from "./shared-cache.ts"
import {
  assertAuthority,
  assertFunction,
  assertMethods,
  cacheTimes,
  type Duration,
} from "./shared-cache-options.ts"
import type { SessionCache } from "./shared-cache-tier.ts"
import { assertKnownOptions } from "./shared-options.ts"

export type { CachedStore, CacheStatistics } from "./shared-cache.ts"
export type { Duration } from "./shared-cache-options.ts"

/** A KV namespace, as a Worker's `env` has it. */
export interface KvCacheNamespace {
  get(key: string, options: { type: "text" }): Promise<string | null>
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>
  delete(key: string): Promise<void>
}

export interface KvCacheOptions {
  /** The store that writes go to, and that decides, such as `d1Store(env.DB)`. */
  readonly authority: SessionStore
  /** For how long a session may be read as it was: a duration of at most ten minutes. Default `"60s"`. */
  readonly staleness?: Duration | undefined
  /** How long KV is waited for, at most one second. Default `"500ms"`. */
  readonly cacheTimeout?: Duration | undefined
  /** What the keys begin with. Default `"session-cache:"`. */
  readonly prefix?: string | undefined
  /** Lets KV be filled after the response has been sent: `waitUntil` of `cloudflare:workers`. Default: the request waits for that. */
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | undefined
  /** Hears of what KV could not do. No request fails of it. */
  readonly onCacheError?: ((error: unknown) => void) | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

const LONGEST_KEY = 512
const ID_LENGTH = 43
/** In seconds. An entry that is over sooner says so itself. */
const SHORTEST_TTL = 60
const CLOCK_TOLERANCE = 60_000

/**
 * Puts Cloudflare Workers KV in front of another store: sessions are read from KV, near the visitor, as they were at most `staleness` ago. `load` with
 * `fresh`, and everything that writes, goes to the authority, which alone decides. So a session that was revoked may be read for
 * `staleness`, and never written. The age of an entry is told by the clocks of the machines that made and read it.
 */
export function kvCache(binding: KvCacheNamespace, options: KvCacheOptions): CachedStore {
  assertKnownOptions("kvCache", options, [
    "authority",
    "staleness",
    "cacheTimeout",
    "prefix",
    "waitUntil",
    "onCacheError",
    "clock",
  ])
  const { authority, staleness = "60s", cacheTimeout = "500ms", prefix = "session-cache:" } = options
  const { waitUntil, onCacheError, clock = Date.now } = options
  assertMethods("binding", binding, ["get", "put", "delete"], "a KV namespace such as env.SESSIONS")
  assertAuthority(authority)
  if (typeof prefix !== "string" || byteLength(prefix) + ID_LENGTH > LONGEST_KEY) {
    throw new ConfigError(`prefix: expected a text of at most ${LONGEST_KEY - ID_LENGTH} bytes.`, {
      option: "prefix",
    })
  }
  assertFunction("waitUntil", waitUntil)
  assertFunction("onCacheError", onCacheError)
  assertFunction("clock", clock)
  return new AuthorityCachedStore({
    ...cacheTimes(staleness, cacheTimeout),
    cache: new KvSessionCache(binding, prefix),
    authority,
    onCacheError,
    clock,
    invalidation: undefined,
    clockTolerance: CLOCK_TOLERANCE,
    joins: false,
    settle: waitUntil ?? ((set) => set),
  })
}

class KvSessionCache implements SessionCache {
  readonly shared: boolean = true
  readonly #binding: KvCacheNamespace
  readonly #prefix: string

  constructor(binding: KvCacheNamespace, prefix: string) {
    this.#binding = binding
    this.#prefix = prefix
  }

  get(id: SessionId): Promise<string | null> {
    return this.#binding.get(this.#prefix + id, { type: "text" })
  }

  async set(id: SessionId, text: string, ttl: number): Promise<void> {
    const expirationTtl = Math.max(SHORTEST_TTL, Math.ceil(ttl / 1000))
    try {
      await this.#binding.put(this.#prefix + id, text, { expirationTtl })
    } catch (error) {
      // KV takes one write a second for each key. Another load fills it later.
      if (!isTooSoon(error)) throw error
    }
  }

  delete(id: SessionId): Promise<void> {
    return this.#binding.delete(this.#prefix + id)
  }
}

function isTooSoon(error: unknown): boolean {
  return error instanceof Error && /failed: 429\b|too many requests/i.test(error.message)
}

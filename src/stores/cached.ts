import type { SessionStore } from "../store.ts"
import { AuthorityCachedStore, type CachedStore } from "./shared-cache.ts"
import type { Invalidation } from "./shared-cache-invalidation.ts"
import {
  assertAuthority,
  assertFunction,
  assertMethods,
  cacheTimes,
  type Duration,
} from "./shared-cache-options.ts"
import type { SessionCache } from "./shared-cache-tier.ts"
import { assertKnownOptions } from "./shared-options.ts"

export { memoryCache, type MemoryCacheOptions } from "./cached-memory.ts"
export type { CachedStore, CacheStatistics } from "./shared-cache.ts"
export type { Invalidation, InvalidationMessage } from "./shared-cache-invalidation.ts"
export type { Duration } from "./shared-cache-options.ts"
export type { SessionCache } from "./shared-cache-tier.ts"

export interface CachedStoreOptions {
  /** For how long a session may be read as it was: a duration of at most ten minutes. Default `"5s"`. */
  readonly staleness?: Duration | undefined
  /** How long a cache that is asked over the network is waited for, at most one second. Default `"250ms"`. */
  readonly cacheTimeout?: Duration | undefined
  /** How servers tell each other what has ended. Default: they do not, and find out within `staleness`. */
  readonly invalidation?: Invalidation | undefined
  /** Hears of what the cache and the invalidation could not do. No request fails of it. */
  readonly onCacheError?: ((error: unknown) => void) | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

/** By how many milliseconds the clocks of servers may be apart. */
const CLOCK_TOLERANCE = 60_000

/**
 * Puts a cache in front of a store. Loads may be answered by the cache, with what was true at most `staleness` ago; `load` with `fresh`, and
 * everything that writes, goes to the authority, which alone decides. So a session that was revoked may be read for `staleness`, and never written.
 * Within one process no load misses what has been written there.
 */
export function cachedStore(
  cache: SessionCache,
  authority: SessionStore,
  options: CachedStoreOptions = {},
): CachedStore {
  assertKnownOptions("cachedStore", options, [
    "staleness",
    "cacheTimeout",
    "invalidation",
    "onCacheError",
    "clock",
  ])
  const { staleness = "5s", cacheTimeout = "250ms", invalidation, onCacheError, clock = Date.now } = options
  assertMethods("cache", cache, ["get", "set", "delete"], "a cache such as memoryCache()")
  assertAuthority(authority)
  if (invalidation !== undefined) {
    assertMethods(
      "invalidation",
      invalidation,
      ["publish", "subscribe"],
      "an object with publish and subscribe",
    )
  }
  assertFunction("onCacheError", onCacheError)
  assertFunction("clock", clock)
  return new AuthorityCachedStore({
    ...cacheTimes(staleness, cacheTimeout),
    cache,
    authority,
    invalidation,
    onCacheError,
    clock,
    // Another server, whose clock is ahead, may have put back what this one has changed.
    clockTolerance: cache.shared ? CLOCK_TOLERANCE : 0,
    joins: !isWorker(),
    settle: () => undefined,
  })
}

/** In Cloudflare Workers a request may be cut off at any point, and whoever waits for it then waits for ever. */
function isWorker(): boolean {
  return globalThis.navigator?.userAgent === "Cloudflare-Workers"
}

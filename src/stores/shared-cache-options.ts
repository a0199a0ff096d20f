import { ConfigError } from "../errors.ts"
import { type Duration, durationOption } from "../expiry.ts"
import type { SessionStore } from "../store.ts"

export type { Duration } from "../expiry.ts"

/** Ten minutes: beyond that a cached session says little about the one that is stored. */
const LONGEST_STALENESS = 600_000
/** Half the default `storeTimeout`, so that a cache that hangs leaves the authority time to answer. */
const LONGEST_TIMEOUT = 1000

/** What cached stores of every kind are told, in milliseconds. */
export interface CacheTimes {
  readonly staleness: number
  readonly cacheTimeout: number
}

/** @throws {ConfigError} */
export function cacheTimes(staleness: Duration, cacheTimeout: Duration): CacheTimes {
  return {
    staleness: durationUpTo(LONGEST_STALENESS, "staleness", staleness),
    cacheTimeout: durationUpTo(LONGEST_TIMEOUT, "cacheTimeout", cacheTimeout),
  }
}

function durationUpTo(longest: number, option: string, value: Duration): number {
  const milliseconds = durationOption(option, value)
  if (milliseconds <= longest) return milliseconds
  throw new ConfigError(`${option}: expected at most ${longest} ms.`, { option })
}

/** @throws {ConfigError} for what is no store, and for one that may itself be behind: no bound could be stated on top of that. */
export function assertAuthority(authority: SessionStore): void {
  assertMethods("authority", authority, ["load", "update"], "a session store such as postgresStore(pool)")
  if (authority.capabilities.promptRevocation) return
  throw new ConfigError(
    `authority: the store ${authority.name} may be behind by itself (capabilities.promptRevocation); expected one without a cache or replicas of its own.`,
    { option: "authority" },
  )
}

/** @throws {ConfigError} */
export function assertFunction(option: string, value: unknown): void {
  if (value === undefined || typeof value === "function") return
  throw new ConfigError(`${option}: expected a function.`, { option })
}

/** @throws {ConfigError} */
export function assertMethods(
  option: string,
  value: unknown,
  methods: readonly string[],
  expected: string,
): void {
  const object = (value ?? {}) as Partial<Record<string, unknown>>
  if (methods.every((method) => typeof object[method] === "function")) return
  throw new ConfigError(`${option}: expected ${expected}.`, { option })
}

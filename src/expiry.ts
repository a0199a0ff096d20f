import { ConfigError } from "./errors.ts"
import type { CookieKind, RecordExpiry, SessionRecord } from "./store.ts"

/** A length of time: `"30s"`, `"15m"`, `"24h"`, `"30d"`, or milliseconds. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`

/** When a session ends, if not as configured. What is left out has no limit of its own; the absolute end always holds. */
export interface Expiry {
  /** Ends after this long without activity. */
  readonly idle?: Duration | undefined
  /** Ends at this time, whatever the activity: a `Date`, or milliseconds since the epoch. */
  readonly at?: Date | number | undefined
  /** Whether the cookie outlives the browser's session. Default: as configured. */
  readonly cookie?: CookieKind | undefined
}

/** An expiry as it is kept: members that were not set are absent. */
export interface ResolvedExpiry {
  /** Milliseconds. */
  readonly idle?: number | undefined
  readonly at?: Date | undefined
  readonly cookie?: CookieKind | undefined
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const LONGEST = 100 * 365 * 86_400_000

/** Milliseconds of a duration, or undefined if it is none: not a whole number above 0, or above a hundred years. */
export function parseDuration(value: unknown): number | undefined {
  let milliseconds = value
  if (typeof value === "string") {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value)
    // Rounded, for 2.3 hours are 8279999.999999999 in floating point.
    milliseconds =
      match === null ? undefined : rounded(Number(match[1]) * (UNITS[match[2] as string] as number))
  }
  if (typeof milliseconds !== "number" || !Number.isInteger(milliseconds)) return undefined
  return milliseconds > 0 && milliseconds <= LONGEST ? milliseconds : undefined
}

function rounded(value: number): number {
  return Math.abs(value - Math.round(value)) < 1e-6 ? Math.round(value) : value
}

/** Milliseconds of the duration given for an option. */
export function durationOption(option: string, value: unknown): number {
  const milliseconds = parseDuration(value)
  if (milliseconds !== undefined) return milliseconds
  throw new ConfigError(
    `${option}: expected a duration such as "30s", "15m", "24h", "30d" or whole milliseconds above 0, got ${shown(value)}.`,
    { option },
  )
}

/** How a wrong option is shown in a message. Never used for keys. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value)
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object"
  return typeof value === "function" ? "a function" : String(value)
}

/** Reads the argument of `setExpiry`. */
export function resolveExpiry(
  expiry: Expiry | "browser-session" | null,
  defaultIdle: number,
  now: number,
): RecordExpiry {
  if (expiry === null) return { idleTtl: defaultIdle, fixedTtl: null, cookieKind: null }
  if (expiry === "browser-session") return { idleTtl: defaultIdle, fixedTtl: null, cookieKind: expiry }
  if (typeof expiry !== "object" || expiry instanceof Date) {
    throw new TypeError(
      `setExpiry takes { idle?, at?, cookie? }, "browser-session" or null, got ${shown(expiry)}.`,
    )
  }
  const { idle, at, cookie, ...unknown } = expiry
  for (const name of Object.keys(unknown)) {
    throw new TypeError(`setExpiry takes { idle?, at?, cookie? }; ${shown(name)} is none of them.`)
  }
  if (cookie !== undefined && cookie !== "persistent" && cookie !== "browser-session") {
    throw new TypeError(`setExpiry: cookie is "persistent" or "browser-session", got ${shown(cookie)}.`)
  }
  const idleTtl = idle === undefined ? undefined : parseDuration(idle)
  if (idle !== undefined && idleTtl === undefined) {
    throw new TypeError(`setExpiry: idle is a duration such as "15m" or milliseconds, got ${shown(idle)}.`)
  }
  if (at !== undefined && typeof at !== "number" && !(at instanceof Date)) {
    throw new TypeError(`setExpiry: at is a valid Date or milliseconds since the epoch, got ${shown(at)}.`)
  }
  const end = at === undefined ? undefined : Number(at)
  if (end !== undefined && (!Number.isFinite(end) || Math.abs(end) > 8.64e15)) {
    throw new TypeError("setExpiry: at is a valid Date or milliseconds since the epoch.")
  }
  return {
    // Nothing but a cookie kind leaves the idle timeout as configured; a date alone switches it off.
    idleTtl: idleTtl ?? (end === undefined ? defaultIdle : null),
    fixedTtl: end === undefined ? null : Math.round(end - now),
    cookieKind: cookie ?? null,
  }
}

/** What `setExpiry` was given, read back from what is kept; null when it is the configured default. */
export function describeExpiry(
  expiry: RecordExpiry,
  defaultIdle: number,
  now: number,
): ResolvedExpiry | null {
  const { idleTtl, fixedTtl, cookieKind } = expiry
  if (idleTtl === defaultIdle && fixedTtl === null && cookieKind === null) return null
  return {
    ...(idleTtl === null ? undefined : { idle: idleTtl }),
    ...(fixedTtl === null ? undefined : { at: new Date(now + fixedTtl) }),
    ...(cookieKind === null ? undefined : { cookie: cookieKind }),
  }
}

/** Milliseconds from now to the earliest of the idle, the fixed and the absolute end. */
export function remaining(expiry: Pick<RecordExpiry, "idleTtl" | "fixedTtl">, absolute: number): number {
  return Math.min(expiry.idleTtl ?? absolute, expiry.fixedTtl ?? absolute, absolute)
}

/** The expiry a record keeps, seen from the moment it was loaded. */
export function expiryOf(record: SessionRecord): RecordExpiry {
  return { idleTtl: record.idleTtl, fixedTtl: record.fixedExpiresIn, cookieKind: record.cookieKind }
}

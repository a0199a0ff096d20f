import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ConfigError } from "./errors.ts"
import {
  describeExpiry,
  durationOption,
  type Expiry,
  expiryOf,
  parseDuration,
  remaining,
  resolveExpiry,
  shown,
} from "./expiry.ts"
import type { SessionRecord } from "./store.ts"

const HOUR = 3_600_000
const YEAR = 365 * 24 * HOUR
const NOW = 1_750_000_000_000

describe("durations", () => {
  test.each<[given: unknown, milliseconds: number]>([
    ["1ms", 1],
    ["30s", 30_000],
    ["15m", 900_000],
    ["24h", 24 * HOUR],
    ["30d", 720 * HOUR],
    ["1.5h", 1.5 * HOUR],
    ["0.5s", 500],
    ["007s", 7000],
    [1, 1],
    [86_400_000, 86_400_000],
    [100 * YEAR, 100 * YEAR],
  ])("%j is %d ms", (given, milliseconds) => {
    expect(parseDuration(given)).toBe(milliseconds)
    expect(durationOption("ttl", given)).toBe(milliseconds)
  })

  test.each<[what: string, given: unknown]>([
    ["no unit", "30"],
    ["an unknown unit", "30w"],
    ["a unit in capitals", "30S"],
    ["a long unit", "30 seconds"],
    ["blanks", " 30s"],
    ["a sign", "-30s"],
    ["an exponent", "1e3s"],
    ["no digits before the point", ".5s"],
    ["empty text", ""],
    ["a line break", "30s\n"],
    ["nothing", "0s"],
    ["0", 0],
    ["less than nothing", -1],
    ["half a millisecond", 0.5],
    ["half a millisecond, as text", "0.5ms"],
    ["NaN", Number.NaN],
    ["Infinity", Infinity],
    ["more than a hundred years", 100 * YEAR + 1],
    ["more than a hundred years, as text", "36501d"],
    ["a boolean", true],
    ["null", null],
    ["undefined", undefined],
    ["an object", {}],
    ["a bigint", 1000n],
  ])("%s is none", (_what, given) => {
    expect(parseDuration(given)).toBeUndefined()
    expect(() => durationOption("ttl", given)).toThrow(ConfigError)
    expect(() => durationOption("ttl", given)).toThrow(/^ttl: expected a duration .*, got /)
  })

  // `"2.3h"` is 8,280,000 ms exactly, but 2.3 * 3_600_000 is not: floating point decides which decimals are refused.
  test("a decimal that is a whole number of milliseconds is a duration", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9999 }), (tenths) => {
        expect(parseDuration(`${(tenths / 10).toFixed(1)}h`)).toBe(tenths * 360_000)
      }),
    )
  })
})

test("a wrong option is shown by its kind, and text is cut", () => {
  const given = ["text", "x".repeat(65), [1], {}, null, undefined, () => 1, 1.5, true, 1n, Symbol("s")]
  expect(given.map(shown)).toEqual([
    '"text"',
    `"${"x".repeat(64)}…"`,
    "an array",
    "an object",
    "null",
    "undefined",
    "a function",
    "1.5",
    "true",
    "1",
    "Symbol(s)",
  ])
})

describe("setExpiry", () => {
  test.each<[given: Expiry | "browser-session" | null, kept: object, described: object | null]>([
    [null, { idleTtl: HOUR, fixedTtl: null, cookieKind: null }, null],
    [{}, { idleTtl: HOUR, fixedTtl: null, cookieKind: null }, null],
    [{ idle: "1h" }, { idleTtl: HOUR, fixedTtl: null, cookieKind: null }, null],
    [
      "browser-session",
      { idleTtl: HOUR, fixedTtl: null, cookieKind: "browser-session" },
      { idle: HOUR, cookie: "browser-session" },
    ],
    [
      { cookie: "persistent" },
      { idleTtl: HOUR, fixedTtl: null, cookieKind: "persistent" },
      { idle: HOUR, cookie: "persistent" },
    ],
    [{ idle: "2h" }, { idleTtl: 2 * HOUR, fixedTtl: null, cookieKind: null }, { idle: 2 * HOUR }],
    [{ at: NOW + 5 }, { idleTtl: null, fixedTtl: 5, cookieKind: null }, { at: new Date(NOW + 5) }],
    [{ at: new Date(NOW - 5) }, { idleTtl: null, fixedTtl: -5, cookieKind: null }, { at: new Date(NOW - 5) }],
    [{ at: NOW + 0.6 }, { idleTtl: null, fixedTtl: 1, cookieKind: null }, { at: new Date(NOW + 1) }],
    [
      { idle: 5, at: NOW + 9, cookie: "browser-session" },
      { idleTtl: 5, fixedTtl: 9, cookieKind: "browser-session" },
      { idle: 5, at: new Date(NOW + 9), cookie: "browser-session" },
    ],
  ])("%j is kept and read back", (given, kept, described) => {
    const resolved = resolveExpiry(given, HOUR, NOW)
    expect(resolved).toEqual(kept)
    expect(describeExpiry(resolved, HOUR, NOW)).toEqual(described)
  })

  test.each<[what: string, given: unknown, message: RegExp]>([
    ["undefined", undefined, /^setExpiry takes .*, got undefined/],
    ["a duration alone", "1h", /^setExpiry takes .*, got "1h"/],
    ["a number", 1000, /got 1000/],
    ["a Date alone", new Date(), /^setExpiry takes/],
    ["a function", () => 1, /a function/],
    ["a wrong idle", { idle: "soon" }, /idle is a duration .*, got "soon"/],
    ["an idle of 0", { idle: 0 }, /idle is a duration/],
    ["an idle of null", { idle: null }, /idle is a duration .*, got null/],
    ["an invalid Date", { at: new Date(Number.NaN) }, /at is a valid Date/],
    ["a time out of range", { at: 8.64e15 + 1 }, /at is a valid Date/],
    ["a date as text", { at: "2030-01-01" }, /at is a valid Date/],
    ["an infinite time", { at: Infinity }, /at is a valid Date/],
    [
      "a wrong kind of cookie",
      { cookie: "session" },
      /cookie is "persistent" or "browser-session", got "session"/,
    ],
    ["a cookie of null", { cookie: null }, /cookie is .*, got null/],
  ])("%s is a TypeError", (_what, given, message) => {
    expect(() => resolveExpiry(given as Expiry, HOUR, NOW)).toThrow(TypeError)
    expect(() => resolveExpiry(given as Expiry, HOUR, NOW)).toThrow(message)
  })

  // Each would be taken for a time near 1970, which ends the session at once.
  test.each<[unknown]>([[null], [true], [[]], ["5"]])("an `at` of %j is a TypeError", (at) => {
    expect(() => resolveExpiry({ at } as Expiry, HOUR, NOW)).toThrow(TypeError)
  })
})

test("the earliest end counts", () => {
  expect(remaining({ idleTtl: null, fixedTtl: null }, 9)).toBe(9)
  expect(remaining({ idleTtl: 5, fixedTtl: null }, 9)).toBe(5)
  expect(remaining({ idleTtl: 5, fixedTtl: 3 }, 9)).toBe(3)
  expect(remaining({ idleTtl: 10, fixedTtl: 12 }, 9)).toBe(9)
})

test("the expiry of a record", () => {
  const record = { idleTtl: 5, fixedExpiresIn: 7, cookieKind: "persistent" } as SessionRecord
  expect(expiryOf(record)).toEqual({ idleTtl: 5, fixedTtl: 7, cookieKind: "persistent" })
})

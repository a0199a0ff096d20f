import { expect, test } from "vitest"
import type { UserId } from "./api.ts"
import { labelText, userKey } from "./user.ts"

test.each<[UserId, string]>([
  ["ann", "ann"],
  ["a".repeat(256), "a".repeat(256)],
  ["__proto__", "__proto__"],
  [" ü🧥 ", " ü🧥 "],
  [0, "0"],
  [-7, "-7"],
  [Number.MAX_SAFE_INTEGER, "9007199254740991"],
  [2n ** 64n, "18446744073709551616"],
  [-1n, "-1"],
])("%s is a user id", (given, kept) => {
  expect(userKey(given)).toBe(kept)
})

test.each<[what: string, given: unknown, got: string]>([
  ["an empty string", "", "a string"],
  ["257 characters", "a".repeat(257), "a string"],
  ["a lone surrogate", "a\ud800", "a string"],
  ["NUL", "a\0", "a string"],
  ["a fraction", 1.5, "a number"],
  ["-0", -0, "a number"],
  ["NaN", Number.NaN, "a number"],
  ["Infinity", Infinity, "a number"],
  ["a number that stands for several", 2 ** 53, "a number"],
  ["null", null, "null"],
  ["undefined", undefined, "undefined"],
  ["a boolean", true, "a boolean"],
  ["an object", { id: 1 }, "an instance of Object"],
])("%s is none, and the message does not show it", (_what, given, got) => {
  expect(() => userKey(given as UserId)).toThrow(TypeError)
  expect(() => userKey(given as UserId)).toThrow(new RegExp(`a safe integer or a bigint; got ${got}\\.$`))
})

test("a label is cut at 256 characters, and made text that every store can keep", () => {
  expect(labelText(undefined)).toBeNull()
  expect(labelText("")).toBe("")
  expect(labelText("Firefox on Linux")).toBe("Firefox on Linux")
  expect(labelText("x".repeat(300))).toBe("x".repeat(256))
  expect(labelText(`${"x".repeat(255)}🧥`)).toBe(`${"x".repeat(255)}\ufffd`)
  expect(labelText("a\0b\ud800")).toBe("a\ufffdb\ufffd")
})

test.each([1, null, {}, true])("a label that is %j is a TypeError", (label) => {
  expect(() => labelText(label as unknown as string)).toThrow(TypeError)
})

import { runInNewContext } from "node:vm"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ValueSerializationError } from "./errors.ts"
import {
  assertKey,
  byteLength,
  clone,
  define,
  equal,
  joinObject,
  type JsonObject,
  type JsonValue,
  kindOf,
  MAX_DEPTH,
  MAX_KEY_LENGTH,
  quote,
  serialize,
} from "./json.ts"

const NO_LIMIT = Infinity

function refusalOf(value: unknown, maxBytes = NO_LIMIT): ValueSerializationError {
  try {
    serialize("key", value, maxBytes)
  } catch (error) {
    expect(error).toBeInstanceOf(ValueSerializationError)
    return error as ValueSerializationError
  }
  throw new Error("It was accepted.")
}

function nested(levels: number, open: "array" | "object" = "array"): unknown {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = open === "array" ? [value] : { a: value }
  return value
}

class Point {
  readonly x = 1
}
class Items extends Array<number> {}

const cyclic: { self?: unknown; list: unknown[] } = { list: [] }
cyclic.self = cyclic
const deepCycle: { a: { b: unknown[] } } = { a: { b: [] } }
deepCycle.a.b.push(deepCycle.a)

describe("G10: refused, naming key and path", () => {
  test.each<[what: string, value: unknown, path: string, reason: RegExp]>([
    ["undefined", undefined, "", /undefined has no JSON form/],
    ["a function", () => 1, "", /a function has no JSON form/],
    ["a symbol", Symbol("s"), "", /a symbol has no JSON form/],
    ["a bigint", 1n, "", /a bigint has no JSON form/],
    ["NaN", Number.NaN, "", /NaN has no JSON form/],
    ["Infinity", Infinity, "", /Infinity has no JSON form/],
    ["-Infinity", -Infinity, "", /-Infinity has no JSON form/],
    ["-0", -0, "", /-0 has no JSON form/],
    ["-0 in an array", [0, -0], "[1]", /-0/],
    ["undefined as a member", { a: { b: undefined } }, ".a.b", /undefined/],
    ["undefined in an array", [1, [undefined]], "[1][0]", /undefined/],
    ["a member whose name is no identifier", { "a b": { '"': 1n } }, '["a b"]["\\""]', /bigint/],
    ["a cycle", cyclic, ".self", /contains itself/],
    ["a cycle further in", deepCycle, ".a.b[0]", /contains itself/],
    ["an instance of a class", { at: new Point() }, ".at", /an instance of Point is not a plain object/],
    ["an instance of an anonymous class", new (class {})(), "", /an object is not a plain object/],
    ["an object with another object as prototype", Object.create({ a: 1 }), "", /not a plain object/],
    ["an object two prototypes away from null", Object.create(Object.create(null)), "", /not a plain object/],
    ["a subclass of Array", Items.from([1]), "", /an instance of Items is not a plain array/],
    ["an array without prototype", Object.setPrototypeOf([1], null), "", /not a plain array/],
    ["a Date", { when: new Date(0) }, ".when", /an instance of Date .*toJSON/],
    ["an invalid Date", new Date(Number.NaN), "", /toJSON/],
    ["a URL", new URL("http://localhost"), "", /toJSON/],
    ["a Buffer", Buffer.from("a"), "", /toJSON/],
    ["an object with toJSON", { toJSON: () => 1 }, "", /toJSON/],
    ["an array with toJSON", Object.assign([1], { toJSON: () => 1 }), "", /toJSON/],
    ["a Map", new Map([["a", 1]]), "", /an instance of Map/],
    ["a Set", new Set([1]), "", /an instance of Set/],
    ["a RegExp", /a/, "", /an instance of RegExp/],
    ["an Error", new Error("secret"), "", /an instance of Error/],
    ["a promise", Promise.resolve(1), "", /an instance of Promise/],
    ["a typed array", new Uint8Array(1), "", /an instance of Uint8Array/],
    ["a boxed string", Object("a"), "", /an instance of String/],
    ["a boxed number", Object(1), "", /an instance of Number/],
    ["a boxed bigint", Object(1n), "", /an instance of BigInt/],
    ["an array with a hole", [1, , 3], "", /holes/], // oxlint-disable-line no-sparse-arrays
    ["an array of holes", new Array(3), "", /holes/],
    ["an array with an extra property", Object.assign([1], { extra: 1 }), "", /extra properties/],
    ["a hole that an extra property makes up for", Object.assign([, 1], { extra: 1 }), "[0]", /undefined/], // oxlint-disable-line no-sparse-arrays
    ["a symbol as a name", { a: { [Symbol("s")]: 1 } }, ".a", /a symbol as a member's name/],
    [
      "an accessor",
      {
        get a() {
          return 1
        },
      },
      ".a",
      /only plain, enumerable members/,
    ],
    [
      "a member that is not enumerable",
      Object.defineProperty({}, "a", { value: 1 }),
      ".a",
      /only plain, enumerable members/,
    ],
  ])("%s", (_what, value, path, reason) => {
    const error = refusalOf(value)
    expect(error).toMatchObject({ key: "key", path })
    expect(error.message).toContain('"key"')
    if (path !== "") expect(error.message).toContain(` at ${path}:`)
    expect(error.message).toMatch(reason)
    expect(error.message).not.toContain("secret")
  })

  test("a value that lies below a member named __proto__", () => {
    const value = JSON.parse('{"__proto__":{"a":1}}') as Record<string, { a: unknown }>
    const own = Object.getOwnPropertyDescriptor(value, "__proto__")?.value as { a: unknown }
    own.a = undefined
    expect(refusalOf(value)).toMatchObject({ path: ".__proto__.a" })
  })

  test("a 65th level, in arrays and objects, but not a 64th", () => {
    for (const open of ["array", "object"] as const) {
      expect(serialize("key", nested(MAX_DEPTH, open), NO_LIMIT)).toBe(
        JSON.stringify(nested(MAX_DEPTH, open)),
      )
      const error = refusalOf(nested(MAX_DEPTH + 1, open))
      expect(error.message).toMatch(/more than 64 levels/)
      expect(error.path).toBe((open === "array" ? "[0]" : ".a").repeat(MAX_DEPTH))
    }
    expect(MAX_DEPTH).toBe(64)
  })

  test("a hundred thousand levels, without a stack overflow", () => {
    expect(refusalOf(nested(100_000)).message).toMatch(/64 levels/)
  })

  // G10 "Nothing is silently dropped": what hangs on an array besides its items is dropped by JSON.stringify.
  test("a symbol as a name on an array", () => {
    expect(refusalOf(Object.assign([1], { [Symbol("s")]: 1 })).path).toBe("")
  })

  test("a member of an array that is not enumerable", () => {
    expect(refusalOf(Object.defineProperty([1], "extra", { value: 1 })).path).toBe("")
  })

  // An accessor is called twice, once by the check and once by JSON.stringify, and may answer otherwise the second time.
  test("an accessor as an item of an array", () => {
    let calls = 0
    const value = Object.defineProperty([0], 0, {
      enumerable: true,
      get: () => (calls++ === 0 ? 1 : undefined),
    })
    expect(refusalOf(value).path).toBe("[0]")
  })
})

describe("what JSON can hold is accepted", () => {
  test.each<[what: string, value: unknown]>([
    ["null", null],
    ["booleans", [true, false]],
    [
      "numbers at the edge of float64",
      [Number.MAX_VALUE, Number.MIN_VALUE, -Number.MAX_VALUE, 2 ** 53 + 2, 5e-324],
    ],
    ["text with lone surrogates, NUL and quotes", ["\ud800", "\udc00a", "\0", '"\\\u2028']],
    ["empty containers", [[], {}, ""]],
    ["an object without prototype", Object.assign(Object.create(null) as object, { a: 1 })],
    ["the same object twice, side by side", [cyclic.list, cyclic.list]],
    ["toJSON as plain data", { toJSON: "no function" }],
    ["hostile names", JSON.parse('{"__proto__":1,"constructor":{"prototype":1},"hasOwnProperty":null,"":0}')],
    ["frozen values", Object.freeze([Object.freeze({ a: 1 })])],
  ])("%s", (_what, value) => {
    expect(JSON.parse(serialize("key", value, NO_LIMIT))).toEqual(JSON.parse(JSON.stringify(value)))
  })

  test("objects of another realm", () => {
    expect(serialize("key", runInNewContext("({ a: { b: 1 } })"), NO_LIMIT)).toBe('{"a":{"b":1}}')
  })

  // Their JSON is no other than that of an array of this realm, and objects of other realms are accepted.
  test("arrays of another realm", () => {
    expect(serialize("key", runInNewContext("({ a: [1] })"), NO_LIMIT)).toBe('{"a":[1]}')
  })

  test("G10: whatever JSON holds comes back equal", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const kept = withoutNegativeZero(value as JsonValue)
        const text = serialize("key", kept, NO_LIMIT)
        const back = JSON.parse(text) as JsonValue
        expect(equal(back, kept)).toBe(true)
        expect(equal(clone(kept), kept)).toBe(true)
        expect(byteLength(text)).toBe(Buffer.byteLength(text))
      }),
      { numRuns: 1000 },
    )
  })
})

describe("size", () => {
  test.each([
    ["ASCII", "abc", 5],
    ["two bytes", "ü", 4],
    ["three bytes", "€", 5],
    ["four bytes", "🧥", 6],
    ["an escape", "\n", 4],
    ["a lone surrogate, which is escaped", "\ud800", 8],
  ])("is counted in UTF-8 bytes of the JSON: %s", (_what, value, size) => {
    expect(serialize("key", value, size)).toBe(JSON.stringify(value))
    const error = refusalOf(value, size - 1)
    expect(error.message).toBe(
      `The value of "key" is ${size} bytes of JSON; at most ${size - 1} are allowed.`,
    )
    expect(error.path).toBe("")
  })

  test("byteLength is what an encoder makes of any text", () => {
    const encoder = new TextEncoder()
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(byteLength(text)).toBe(encoder.encode(text).length)
      }),
      { numRuns: 200 },
    )
    for (const text of [
      "\x7f",
      "\x80",
      "\u07ff",
      "\u0800",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\ud800",
      "\udc00",
      "a\ud83e",
      "\ud83e\ud83e\udde5",
      "\udde5\ud83e",
    ]) {
      expect(byteLength(text)).toBe(encoder.encode(text).length)
    }
  })
})

describe("keys", () => {
  test("of 1 to 256 UTF-16 code units are good, whatever they say", () => {
    for (const key of ["a", "__proto__", "\0", "\ud800", "k".repeat(MAX_KEY_LENGTH), "é".repeat(256)]) {
      expect(() => assertKey(key)).not.toThrow()
    }
  })

  test.each<[what: string, key: unknown, message: RegExp]>([
    ["an empty key", "", /must not be empty/],
    ["257 characters", "k".repeat(257), /at most 256 characters, got 257/],
    ["a number", 1, /must be a string, got a number/],
    ["undefined", undefined, /got undefined/],
    ["a symbol", Symbol("s"), /got a symbol/],
    ["an object", {}, /got an instance of Object/],
  ])("%s is refused", (_what, key, message) => {
    expect(() => assertKey(key)).toThrow(ValueSerializationError)
    expect(() => assertKey(key)).toThrow(message)
  })

  test("are shown escaped, and cut where they are long", () => {
    expect(quote('a"\n')).toBe('"a\\"\\n"')
    expect(quote("k".repeat(64))).toBe(`"${"k".repeat(64)}"`)
    expect(quote("k".repeat(65))).toBe(`"${"k".repeat(64)}…"`)
  })
})

test("kindOf never shows a value", () => {
  const values = [null, undefined, "secret", 1, true, 1n, Symbol("s"), () => 1, {}, [], new Point()]
  expect(values.map(kindOf)).toEqual([
    "null",
    "undefined",
    "a string",
    "a number",
    "a boolean",
    "a bigint",
    "a symbol",
    "a function",
    "an instance of Object",
    "an instance of Array",
    "an instance of Point",
  ])
  expect(kindOf(Object.create(null))).toBe("an object")
  expect(kindOf(Object.create({ constructor: "no function" }))).toBe("an object")
})

test("equal compares as JSON does, without regard to the order of members", () => {
  const values: JsonValue[] = [
    null,
    true,
    0,
    1,
    "1",
    "",
    [],
    [1],
    [1, 2],
    {},
    { a: 1 },
    { a: 2 },
    { b: 1 },
    { a: 1, b: 1 },
  ]
  for (const [index, a] of values.entries()) {
    for (const [other, b] of values.entries()) expect(equal(a, clone(b))).toBe(index === other)
  }
  expect(equal({ a: 1, b: [2] }, { b: [2], a: 1 })).toBe(true)
  expect(equal({ toString: 1 }, { constructor: 1 })).toBe(false)
  expect(equal(JSON.parse('{"__proto__":1}') as JsonValue, JSON.parse('{"__proto__":1}') as JsonValue)).toBe(
    true,
  )
  expect(equal(JSON.parse('{"__proto__":1}') as JsonValue, { a: 1 })).toBe(false)
})

test("clone shares nothing, and keeps a member named __proto__ an own one", () => {
  const value = JSON.parse('{"__proto__":{"a":[1]},"b":[{}]}') as { b: JsonValue[] }
  const copy = clone(value)
  expect(Object.keys(copy)).toEqual(["__proto__", "b"])
  expect(copy.b[0]).not.toBe(value.b[0])
  expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
  expect(JSON.stringify(copy)).toBe(JSON.stringify(value))
})

test("define sets an own property under any name", () => {
  const object: JsonObject = {}
  for (const name of ["a", "__proto__", "constructor"]) define(object, name, { n: name })
  expect(Object.keys(object)).toEqual(["a", "__proto__", "constructor"])
  expect(Object.getPrototypeOf(object)).toBe(Object.prototype)
})

test("joinObject writes one object, whatever the keys are", () => {
  expect(joinObject([])).toBe("{}")
  const keys = ["a", "__proto__", 'q"uote', "\ud800"]
  const back = JSON.parse(joinObject(keys.map((key, index) => [key, String(index)]))) as JsonObject
  expect(Object.entries(back)).toEqual(keys.map((key, index) => [key, index]))
})

function withoutNegativeZero(value: JsonValue): JsonValue {
  if (Object.is(value, -0)) return 0
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(withoutNegativeZero)
  const copy: JsonObject = {}
  for (const name of Object.keys(value)) define(copy, name, withoutNegativeZero(value[name] as JsonValue))
  return copy
}

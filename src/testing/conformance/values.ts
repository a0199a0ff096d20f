import type { JsonValue } from "../../json.ts"
import { changing, expectEqual, expectTrue, type Law, removing, texts } from "./kit.ts"

/** G10: what goes in comes out, whatever the key and the value. */

const KEYS: Readonly<Record<string, string>> = {
  __proto__: "__proto__",
  constructor: "constructor",
  prototype: "prototype",
  toString: "toString",
  hasOwnProperty: "hasOwnProperty",
  "a double quote": 'a"b',
  "a single quote": "a'b",
  "a backslash": "a\\b",
  "a dot": "a.b",
  "a path": "$.a[0]",
  brackets: "[0]",
  "a hash and a dollar": "#$",
  NUL: "a\0b",
  "a line break": "a\nb",
  "a blank": " ",
  "a colon and braces": "{a}:b",
  "a percent sign": "100%_",
  "an emoji": "🧥",
  "a combining accent": "e\u0301",
  "a composed accent": "\u00e9",
  "a lone surrogate": "\ud83e",
  "256 characters": "k".repeat(256),
  "256 astral code units": "🧥".repeat(128),
  digits: "0",
  SQL: "'; DROP TABLE sessions; --",
}

const VALUES: Readonly<Record<string, JsonValue>> = {
  null: null,
  "true and false": [true, false],
  "the empty string": "",
  "an empty array": [],
  "an empty object": {},
  zero: 0,
  "the largest number": Number.MAX_VALUE,
  "the smallest number": Number.MIN_VALUE,
  "the largest safe integer": Number.MAX_SAFE_INTEGER,
  "an unsafe integer": 2 ** 53 + 2,
  "the smallest safe integer": Number.MIN_SAFE_INTEGER,
  "a number that needs 17 digits": 0.1 + 0.2,
  "a number in exponent form": 1e21,
  "a small fraction": 5e-324,
  "a string with NUL": "a\0b",
  "a string with line separators": "\u2028\u2029",
  "a string with a lone high surrogate": "\ud800",
  "a string with a lone low surrogate": "\udc00x",
  "a string with an astral character": "🧥",
  "a byte order mark": "\ufeffx",
  "a string with quotes and backslashes": `"'\\/\b\f\n\r\t`,
  "a string that looks like JSON": '{"a":1}',
  "a string that looks like a date": "2030-01-01T00:00:00.000Z",
  "a number as a string": "1",
  "an object with hostile members": JSON.parse('{"__proto__":{"a":1},"constructor":2,"":3}') as JsonValue,
  "a value of 64 levels": nested(64),
  "a string of 256 KiB": "x".repeat(256 * 1024 - 2),
  "256 KiB that are three times as many bytes": "€".repeat(80_000),
  "ten thousand numbers": Array.from({ length: 10_000 }, (_, index) => index),
}

function nested(levels: number): JsonValue {
  let value: JsonValue = 1
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value }
  return value
}

export const valueLaws: readonly Law[] = [
  ...Object.entries(KEYS).flatMap(([name, key]): Law[] => [
    {
      name: `create and load: a key that is or holds ${name} comes back`,
      run: async ({ put, read }) => {
        const id = await put({
          state: texts([
            [key, 1],
            ["other", 2],
          ]),
        })
        const { state } = await read(id)
        expectEqual(Object.keys(state).toSorted(), [key, "other"].toSorted(), "keys")
        expectEqual(Object.getOwnPropertyDescriptor(state, key)?.value, 1)
      },
    },
    {
      name: `update: a key that is or holds ${name} is set, replaced and removed by itself`,
      run: async ({ store, put, read }) => {
        const id = await put({ state: texts([["other", 2]]) })
        await store.update(id, changingKey(key, "first"))
        await store.update(id, changingKey(key, "second"))
        expectEqual(Object.getOwnPropertyDescriptor((await read(id)).state, key)?.value, "second")
        await store.update(id, removing(key))
        expectEqual((await read(id)).state, { other: 2 })
      },
    },
  ]),
  ...Object.entries(VALUES).map(([name, value]): Law => ({
    name: `create, update and load: ${name} comes back the same`,
    run: async ({ store, put, read }) => {
      const id = await put({ state: texts([["created", value]]) })
      await store.update(id, changing({ updated: value }))
      const { state } = await read(id)
      expectEqual(state["created"], value, "created")
      expectEqual(state["updated"], value, "updated")
    },
  })),
  {
    name: "load: a state without keys is an empty object",
    run: async ({ put, read }) => expectEqual((await read(await put())).state, {}),
  },
  {
    name: "load: the state belongs to the caller, and changing it changes nothing stored",
    run: async ({ put, read }) => {
      const id = await put({ state: texts([["list", [1, { deep: true }]]]) })
      const { state } = await read(id)
      ;(state["list"] as JsonValue[]).push("mine")
      state["more"] = 1
      expectEqual((await read(id)).state, { list: [1, { deep: true }] })
    },
  },
  {
    name: "create: the record handed in belongs to the caller, and changing it changes nothing stored",
    run: async ({ put, read }) => {
      const state = texts([["a", 1]])
      const id = await put({ state })
      state.set("b", "2")
      expectEqual((await read(id)).state, { a: 1 })
    },
  },
  {
    name: "update: a change handed in belongs to the caller, and changing it changes nothing stored",
    run: async ({ store, put, read }) => {
      const id = await put()
      const set = texts([["a", 1]])
      await store.update(id, { set, remove: new Set() })
      set.set("a", "2")
      expectEqual((await read(id)).state, { a: 1 })
    },
  },
  {
    name: "load: member names are own properties, and lead to no prototype",
    run: async ({ put, read }) => {
      const { state } = await read(await put({ state: texts([["__proto__", { polluted: true }]]) }))
      expectTrue(Object.hasOwn(state, "__proto__"), "__proto__ to be an own property")
      expectTrue(!("polluted" in state), "the prototype to be untouched")
    },
  },
  {
    name: "update: a thousand keys are kept",
    run: async ({ store, put, read }) => {
      const id = await put()
      const entries = Array.from({ length: 1000 }, (_, index) => [`key ${index}`, index] as const)
      await store.update(id, { set: texts(entries), remove: new Set() })
      expectEqual((await read(id)).state, Object.fromEntries(entries))
    },
  },
]

function changingKey(key: string, value: JsonValue): ReturnType<typeof changing> {
  return { set: texts([[key, value]]), remove: new Set() }
}

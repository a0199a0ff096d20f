import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { JsonValue } from "../json.ts"
import { fromEngineText, toEngineKey, toEngineObject, toEngineText } from "./shared-json.ts"

const back = (value: JsonValue): unknown =>
  JSON.parse(fromEngineText(toEngineText(JSON.stringify(value), 30)))

function nested(levels: number): JsonValue {
  let value: JsonValue = "bottom"
  for (let level = 0; level < levels; level++) value = [value]
  return value
}

describe("what an engine's JSON type cannot hold", () => {
  test.each([
    ["NUL", "a\0b", '"a␐0000b"'],
    ["a lone high surrogate", "\ud83e", '"␐d83e"'],
    ["a lone low surrogate", "\udd8a", '"␐dd8a"'],
    ["the escape character", "␐", '"␐2410"'],
    ["what looks like an escape", "␐0000", '"␐24100000"'],
    ["what looks like a value nested deeply", "␐j[]", '"␐2410j[]"'],
  ])("%s is written in another way, and comes back", (_name, value, written) => {
    expect(toEngineText(JSON.stringify(value))).toBe(written)
    expect(back(value)).toBe(value)
  })

  test.each([
    ["a pair of surrogates", "🦊"],
    ["an escaped backslash before u0000", "\\u0000"],
    ["two escaped backslashes before u0000", "\\\\u0000"],
    ["other control characters", "\u0001\n\t"],
    ["quotes", '"'],
    ["a surrogate's digits", "d83e"],
  ])("%s is left as it is", (_name, value) => {
    const text = JSON.stringify(value)
    expect(toEngineText(text)).toBe(text)
    expect(back(value)).toBe(value)
  })

  test("where an engine follows 30 levels, the 31st makes a string of the whole value", () => {
    expect(toEngineText(JSON.stringify(nested(30)), 30)).toBe(JSON.stringify(nested(30)))
    expect(toEngineText(JSON.stringify(nested(31)), 30)).toBe(
      JSON.stringify(`␐j${JSON.stringify(nested(31))}`),
    )
    expect(toEngineText(JSON.stringify(nested(64)))).toBe(JSON.stringify(nested(64)))
    expect(back(nested(31))).toEqual(nested(31))
    expect(back(nested(64))).toEqual(nested(64))
  })

  test("brackets in strings, and many values side by side, are no levels", () => {
    const value = {
      text: '[{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\"',
      list: Array.from({ length: 50 }, () => [[]]),
    }
    expect(toEngineText(JSON.stringify(value), 30)).toBe(JSON.stringify(value))
  })
})

describe("keys", () => {
  test.each([
    ['a"b', "a␐0022b"],
    ["a\\b", "a␐005cb"],
    ["\0\n\u007f", "␐0000␐000a␐007f"],
    ["\ud83e", "␐d83e"],
    ["␐", "␐2410"],
    ["plain.key [0] ' é 🦊", "plain.key [0] ' é 🦊"],
  ])("%j", (key, written) => {
    expect(toEngineKey(key)).toBe(written)
    expect(Object.keys(JSON.parse(fromEngineText(JSON.stringify({ [written]: 1 }))) as object)).toEqual([key])
  })
})

test("anything comes back, with keys of any kind", () => {
  const value = fc.jsonValue({ stringUnit: "binary", maxDepth: 4 }) as fc.Arbitrary<JsonValue>
  const key = fc.string({ unit: "binary" }).filter((name) => !name.startsWith("\\"))
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value)), (entries) => {
      const written = toEngineObject(entries.map(([name, each]) => [name, JSON.stringify(each)]))
      expect(written).not.toMatch(/\\u(?:0000|d[89a-f])/)
      const read = new Map(Object.entries(JSON.parse(fromEngineText(written)) as object))
      expect(read).toEqual(
        new Map(entries.map(([name, each]) => [name, JSON.parse(JSON.stringify(each)) as unknown])),
      )
    }),
  )
})

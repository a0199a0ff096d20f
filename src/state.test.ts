import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { define, type JsonObject, type JsonValue } from "./json.ts"
import { blind, Changes, layOver, Overlay } from "./state.ts"

/** What may be done to a state, said twice: to the library, and to a plain Map. */
interface Step {
  readonly name: string
  on(overlay: Overlay): void
  model(state: Map<string, JsonValue>): void
}

const KEYS = ["a", "b", "c", "__proto__"]

const aKey = fc.constantFrom(...KEYS)
const aValue: fc.Arbitrary<JsonValue> = fc.constantFrom<JsonValue[]>(1, 2, "x", null, [1], { m: [1] })
const aStep: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(aKey, aValue).map(([key, value]) => setStep(key, value)),
  aKey.map((key) => removeStep(key)),
  fc.constant<Step>({ name: "clear", on: (o) => o.clear(), model: (m) => m.clear() }),
  fc.subarray(KEYS).map((kept) => ({
    name: `keep ${kept.join()}`,
    on: (o: Overlay) => o.changes.dropAll(kept),
    model: (m: Map<string, JsonValue>) => {
      for (const key of m.keys()) if (!kept.includes(key)) m.delete(key)
    },
  })),
)
const aBase = fc.array(fc.tuple(aKey, aValue), { maxLength: 4 })

function setStep(key: string, value: JsonValue): Step {
  return {
    name: `set ${key} ${JSON.stringify(value)}`,
    on: (o) => o.set(key, value, JSON.stringify(value)),
    model: (m) => void m.set(key, value),
  }
}

function removeStep(key: string): Step {
  return { name: `remove ${key}`, on: (o) => o.remove(key), model: (m) => void m.delete(key) }
}

function objectOf(entries: Iterable<readonly [string, JsonValue]>): JsonObject {
  const object: JsonObject = {}
  for (const [key, value] of entries) define(object, key, value)
  return object
}

function entriesOf(overlay: Overlay): [string, JsonValue | undefined][] {
  return overlay.keys().map((key) => [key, overlay.get(key)])
}

function sorted<T>(entries: Iterable<readonly [string, T]>): (readonly [string, T])[] {
  return [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

describe("an overlay", () => {
  test("reads and applies like a plain map, whatever is done to it", () => {
    fc.assert(
      fc.property(aBase, fc.array(aStep, { maxLength: 12 }), (base, steps) => {
        const model = new Map(base)
        const overlay = new Overlay(objectOf(base), new Changes())
        for (const step of steps) {
          step.on(overlay)
          step.model(model)
        }
        expect(sorted(entriesOf(overlay))).toEqual(sorted(model))
        expect(overlay.size).toBe(model.size)
        for (const key of KEYS) expect(overlay.has(key)).toBe(model.has(key))
        expect(sorted(Object.entries(overlay.result()))).toEqual(sorted(model))
        expect(sorted(overlay.texts())).toEqual(
          sorted([...model].map(([k, v]) => [k, JSON.stringify(v)] as const)),
        )
      }),
      { numRuns: 500 },
    )
  })

  test("changes that were made blindly come to the same, laid over any base", () => {
    fc.assert(
      fc.property(aBase, fc.array(aStep, { maxLength: 12 }), (base, steps) => {
        const model = new Map(base)
        const unknown = blind(new Changes())
        for (const step of steps) {
          step.on(unknown)
          step.model(model)
        }
        expect(sorted(Object.entries(unknown.changes.applyTo(objectOf(base))))).toEqual(sorted(model))
        expect(sorted(entriesOf(layOver(objectOf(base), unknown.changes)))).toEqual(sorted(model))
      }),
      { numRuns: 500 },
    )
  })

  test("appending later changes is doing them one after the other", () => {
    fc.assert(
      fc.property(
        aBase,
        fc.array(aStep, { maxLength: 8 }),
        fc.array(aStep, { maxLength: 8 }),
        (base, first, second) => {
          const model = new Map(base)
          const [one, two] = [new Changes(), new Changes()]
          for (const step of first) step.on(blind(one))
          for (const step of second) step.on(blind(two))
          for (const step of [...first, ...second]) step.model(model)
          one.append(two)
          expect(sorted(Object.entries(one.applyTo(objectOf(base))))).toEqual(sorted(model))
          for (const key of one.set.keys()) expect(one.remove.has(key)).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })

  test("since: what came after a copy, done to what the copy made, is what all of it makes", () => {
    fc.assert(
      fc.property(
        aBase,
        fc.array(aStep, { maxLength: 8 }),
        fc.array(aStep, { maxLength: 8 }),
        (base, first, second) => {
          const changes = new Changes()
          for (const step of first) step.on(blind(changes))
          const copy = changes.copy()
          for (const step of second) step.on(blind(changes))
          const stored = copy.applyTo(objectOf(base))
          const later = changes.since(copy).applyTo(stored)
          expect(sorted(Object.entries(later))).toEqual(
            sorted(Object.entries(changes.applyTo(objectOf(base)))),
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  test("since a copy nothing has changed", () => {
    for (const prepare of [
      (c: Changes) => c.write("a", "1"),
      (c: Changes) => c.drop("a"),
      (c: Changes) => c.dropAll(),
    ]) {
      const changes = new Changes()
      prepare(changes)
      expect(changes.since(changes.copy()).isEmpty).toBe(true)
    }
  })

  // A `clear` that keeps some keys is another object in each copy, so it counts as changed: after `save` it is sent once more.
  test("since a copy nothing has changed, where some keys were kept", () => {
    const changes = new Changes()
    changes.dropAll(["a"])
    changes.write("b", "1")
    expect(changes.since(changes.copy()).isEmpty).toBe(true)
  })

  test("a write that changes nothing leaves no change, and takes back an earlier one", () => {
    const overlay = new Overlay({ a: { m: 1, n: 2 } }, new Changes())
    overlay.set("a", { n: 2, m: 1 }, '{"n":2,"m":1}')
    overlay.remove("b")
    expect(overlay.changes.isEmpty).toBe(true)
    overlay.set("a", 2, "2")
    overlay.set("b", 1, "1")
    expect(overlay.changes.isEmpty).toBe(false)
    overlay.set("a", { m: 1, n: 2 }, '{"m":1,"n":2}')
    overlay.remove("b")
    expect(overlay.changes.isEmpty).toBe(true)
    const empty = new Overlay({}, new Changes())
    empty.set("a", 1, "1")
    empty.clear()
    expect(empty.changes.isEmpty).toBe(true)
  })

  test("a key that is cleared and set to what it was is a change, for the clear drops it", () => {
    const overlay = new Overlay({ a: 1 }, new Changes())
    overlay.clear()
    overlay.set("a", 1, "1")
    expect([...overlay.changes.set]).toEqual([["a", "1"]])
    expect(overlay.changes.clear).toBe(true)
  })

  test("G10: what it hands out is yours", () => {
    const overlay = new Overlay({ a: [1] }, new Changes())
    ;(overlay.get("a") as number[]).push(2)
    overlay.set("b", [1], "[1]")
    ;(overlay.get("b") as number[]).push(2)
    expect(entriesOf(overlay)).toEqual([
      ["a", [1]],
      ["b", [1]],
    ])
  })

  test("looks nothing up through the prototype", () => {
    const overlay = new Overlay({}, new Changes())
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(overlay.has(key)).toBe(false)
      expect(overlay.get(key)).toBeUndefined()
    }
  })

  test("a state that is not known takes writes, and refuses to be read", () => {
    const overlay = blind(new Changes())
    overlay.set("a", 1, "1")
    overlay.remove("b")
    expect(overlay.get("a")).toBe(1)
    expect(overlay.has("a")).toBe(true)
    for (const read of [
      () => overlay.get("b"),
      () => overlay.has("b"),
      () => overlay.keys(),
      () => overlay.texts(),
      () => overlay.result(),
    ]) {
      expect(read).toThrow(/before it is known/)
    }
    overlay.clear()
    expect(overlay.changes.clear).toBe(true)
  })

  test("over an empty base there is nothing to clear or remove", () => {
    const changes = new Changes()
    changes.dropAll()
    changes.write("a", "1")
    changes.remove.add("b")
    expect(layOver({}, changes).changes).toMatchObject({
      clear: undefined,
      remove: new Set(),
      set: new Map([["a", "1"]]),
    })
  })
})

describe("changes", () => {
  test("decide a key that they set, remove or clear", () => {
    const changes = new Changes()
    changes.write("set", "1")
    changes.drop("removed")
    expect(["set", "removed", "other"].map((key) => changes.decides(key))).toEqual([true, true, false])
    changes.dropAll(["kept"])
    expect(["set", "removed", "other", "kept"].map((key) => changes.decides(key))).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect([...changes.set.keys(), ...changes.remove]).toEqual([])
  })

  test("a second clear keeps what both keep", () => {
    const changes = new Changes()
    changes.dropAll(["a", "b"])
    changes.dropAll(["b", "c"])
    expect(changes.clear).toEqual({ except: ["b"] })
    changes.dropAll()
    changes.dropAll(["a"])
    expect(changes.clear).toBe(true)
  })

  test("a removed key that is cleared anyway is not named", () => {
    const changes = new Changes()
    changes.dropAll(["a"])
    changes.drop("a")
    changes.drop("b")
    expect([...changes.remove]).toEqual(["a"])
  })
})

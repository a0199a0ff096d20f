import fc from "fast-check"
import { expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import { MemoryCache, memoryCache } from "./cached-memory.ts"
import { Watermarks } from "./shared-cache-watermarks.ts"

function clockAt(time: number): { now: number; read: () => number } {
  const clock = { now: time, read: () => clock.now }
  return clock
}

function lengthOf(text: unknown): number | undefined {
  return typeof text === "string" ? text.length : undefined
}

test("a text is given until its ttl is over, and not at that millisecond", () => {
  const clock = clockAt(0)
  const cache = memoryCache({ clock: clock.read })
  cache.set("a", "text", 1000)
  clock.now = 999
  expect(cache.get("a")).toBe("text")
  clock.now = 1000
  expect(cache.get("a")).toBeUndefined()
  clock.now = 0
  expect(cache.get("a")).toBeUndefined()
})

test("a text takes the place of the one before, with its own ttl, and can be deleted", () => {
  const clock = clockAt(0)
  const cache = memoryCache({ clock: clock.read })
  cache.set("a", "one", 1000)
  cache.set("a", "two", 10)
  expect(cache.get("a")).toBe("two")
  cache.delete("a")
  cache.delete("a")
  expect(cache.get("a")).toBeUndefined()
})

test("there are at most max texts; those unused for longest make room", () => {
  const cache = memoryCache({ max: 3 })
  for (const id of ["a", "b", "c"]) cache.set(id, id, 1000)
  cache.get("a")
  cache.set("d", "d", 1000)
  expect(["a", "b", "c", "d"].map((id) => cache.get(id))).toEqual(["a", undefined, "c", "d"])
})

test("the texts take at most maxBytes, two bytes a character", () => {
  const cache = memoryCache({ maxBytes: 2 * 1000 + 3 * 250 })
  for (const id of ["a", "b", "c", "d"]) cache.set(id, "x".repeat(330), 1000)
  expect(["a", "b", "c", "d"].map((id) => lengthOf(cache.get(id)))).toEqual([undefined, 330, 330, 330])
  cache.set("e", "x".repeat(2000), 1000)
  expect(["b", "c", "d", "e"].map((id) => lengthOf(cache.get(id)))).toEqual([330, 330, 330, undefined])
})

test("a text that is too large leaves nothing under its id, not even what was there", () => {
  const cache = memoryCache({ maxBytes: 1000 })
  cache.set("a", "x", 1000)
  cache.set("a", "x".repeat(1000), 1000)
  expect(cache.get("a")).toBeUndefined()
})

test("what is over does not pile up, though there is room and no timer", () => {
  const clock = clockAt(0)
  const cache = new MemoryCache({ clock: clock.read })
  for (let index = 0; index < 1000; index++) {
    clock.now += 1
    cache.set(`id ${index}`, "text", 100)
  }
  expect(cache.size).toBeLessThan(110)
})

test("whatever is done to it, it keeps to its bounds, and gives what was set last", () => {
  const step = fc.record({
    kind: fc.constantFrom("get" as const, "set" as const, "set" as const, "delete" as const),
    id: fc.constantFrom("a", "b", "c", "d", "e"),
    length: fc.nat(400),
    ttl: fc.integer({ min: 1, max: 50 }),
    advance: fc.nat(20),
  })
  fc.assert(
    fc.property(fc.array(step, { size: "max", maxLength: 200 }), (steps) => {
      const clock = clockAt(0)
      const cache = memoryCache({ max: 3, maxBytes: 2000, clock: clock.read })
      const model = new Map<string, { text: string; until: number }>()
      for (const [at, { kind, id, length, ttl, advance }] of steps.entries()) {
        clock.now += advance
        if (kind === "set") {
          const text = `${at}:${"x".repeat(length)}`
          cache.set(id, text, ttl)
          model.set(id, { text, until: clock.now + ttl })
        } else if (kind === "delete") {
          cache.delete(id)
          model.delete(id)
        }
        const texts = ["a", "b", "c", "d", "e"].map((each) => {
          const text = cache.get(each) as string | undefined
          const entry = model.get(each)
          if (text !== undefined) expect([text, (entry?.until ?? 0) > clock.now]).toEqual([entry?.text, true])
          return text
        })
        const held = texts.filter((text) => text !== undefined)
        expect(held.length).toBeLessThanOrEqual(3)
        expect(held.reduce((sum, text) => sum + 2 * text.length, 0)).toBeLessThanOrEqual(2000)
      }
    }),
  )
})

test.each([
  [{ max: 0 }, "max"],
  [{ max: 1.5 }, "max"],
  [{ maxBytes: -1 }, "maxBytes"],
  [{ maxBytes: "1" }, "maxBytes"],
  [{ clock: 1 }, "clock"],
  [{ maximum: 1 }, "maximum"],
])("%j is refused", (options, option) => {
  expect(() => memoryCache(options as object)).toThrow(ConfigError)
  expect(() => memoryCache(options as object)).toThrow(option)
})

test("marks that are over do not pile up", () => {
  const clock = clockAt(0)
  const marks = new Watermarks(100, clock.read)
  for (let index = 0; index < 10_000; index++) {
    clock.now += 1
    marks.raise(`name ${index}`, 1)
  }
  expect(marks.size).toBeLessThan(110)
})

test("a mark holds for its lifetime, from the last time that it was raised, and never falls", () => {
  const clock = clockAt(0)
  const marks = new Watermarks(100, clock.read)
  marks.raise("a", 5)
  clock.now = 60
  marks.raise("a", 3)
  expect([marks.of("a"), marks.of("b")]).toEqual([5, 0])
  clock.now = 159
  expect(marks.of("a")).toBe(5)
  clock.now = 160
  expect(marks.of("a")).toBe(0)
  marks.raise("a", 2)
  expect(marks.of("a")).toBe(2)
})

import * as v from "valibot"
import { describe, expect, test } from "vitest"
import { ConfigError, ValueValidationError } from "./errors.ts"
import { anyValue, type SchemaMap, schemaValidator, type StandardSchema } from "./schema.ts"
import { createSessions } from "./sessions.ts"
import { memoryStore } from "./stores/memory.ts"
import { fakeClock } from "./testing/clock.ts"
import { KEY, Visitor, world } from "./visitor.test-helper.ts"

const map: SchemaMap = {
  views: v.number(),
  cart: v.array(v.object({ price: v.number() })),
  since: v.pipe(
    v.string(),
    v.transform((text) => text.length),
  ),
}
const validator = schemaValidator("schema.server", map, undefined)

function standard(validate: StandardSchema["~standard"]["validate"]): StandardSchema {
  return { "~standard": { version: 1, vendor: "tests", validate } }
}

function thrownBy(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error("Nothing was thrown.")
}

test("without a schema every key and value is good", () => {
  expect(() => anyValue.check("any", 1)).not.toThrow()
  expect(anyValue.knows("any")).toBe(true)
  expect(anyValue.read("any", [1])).toEqual([1])
})

describe("a schema", () => {
  test("lets good values through, and reads as what it makes of them", () => {
    expect(() => validator.check("cart", [{ price: 1 }])).not.toThrow()
    expect(validator.read("since", "abc")).toBe(3)
    expect(validator.knows("since")).toBe(true)
  })

  test("refuses a new value with the issues and where they are", () => {
    const error = thrownBy(() => validator.check("cart", [{ price: 1 }, { price: "free" }]))
    expect(error).toBeInstanceOf(ValueValidationError)
    expect(error).toMatchObject({ key: "cart", stored: false, issues: [{ path: [1, "price"] }] })
    expect((error as Error).message).toBe('The value of "cart" does not fit its schema; see issues.')
    expect((error as Error).message).not.toContain("free")
  })

  test("refuses a key that it does not have, whatever the prototype has", () => {
    for (const key of ["other", "constructor", "__proto__", "toString"]) {
      expect(thrownBy(() => validator.check(key, 1))).toMatchObject({
        key,
        issues: [{ message: "the schema has no such key" }],
      })
      expect(validator.knows(key)).toBe(false)
      expect(validator.read(key, 1)).toBeUndefined()
    }
  })

  test("throws for a stored value that no longer fits", () => {
    expect(thrownBy(() => validator.read("views", "many"))).toMatchObject({
      name: "ValueValidationError",
      message: 'The stored value of "views" does not fit its schema; see issues.',
      stored: true,
    })
  })

  test("or, where such values are discarded, tells so and reads as undefined", () => {
    const discarded: string[] = []
    const lenient = schemaValidator("schema.server", map, (key) => discarded.push(key))
    expect(lenient.read("views", "many")).toBeUndefined()
    expect(lenient.read("views", 1)).toBe(1)
    expect(discarded).toEqual(["views"])
    expect(thrownBy(() => lenient.check("views", "many"))).toBeInstanceOf(ValueValidationError)
  })

  test("may give issues without a path, or with steps that are objects", () => {
    const odd = schemaValidator(
      "schema.server",
      {
        none: standard(() => ({ issues: [{ message: "no" }] })),
        steps: standard(() => ({
          issues: [{ message: "no", path: ["a", { key: 1 }, { key: Symbol.iterator }] }],
        })),
      },
      undefined,
    )
    expect(thrownBy(() => odd.check("none", 1))).toMatchObject({ issues: [{ message: "no" }] })
    expect(thrownBy(() => odd.check("steps", 1))).toMatchObject({
      issues: [{ path: ["a", 1, Symbol.iterator] }],
    })
  })

  test("that is asynchronous is a ConfigError, and its rejection ends no process", async () => {
    const late = schemaValidator(
      "schema.client",
      {
        theme: v.pipeAsync(
          v.string(),
          v.checkAsync(async () => false),
        ),
        gone: standard(() => Promise.reject(new Error("no"))),
      },
      undefined,
    )
    for (const key of ["theme", "gone"]) {
      for (const act of [() => late.check(key, "dark"), () => late.read(key, "dark")]) {
        const error = thrownBy(act)
        expect(error).toBeInstanceOf(ConfigError)
        expect(error).toMatchObject({ option: `schema.client.${key}` })
        expect((error as Error).message).toMatch(/asynchronous validators are not supported/)
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  })
})

describe("sessions with a schema", () => {
  const server = {
    views: v.pipe(v.number(), v.minValue(0)),
    since: v.pipe(
      v.string(),
      v.isoDate(),
      v.transform((text) => new Date(text)),
    ),
  }
  const client = { theme: v.picklist(["light", "dark"]) }

  test("set takes and stores the input, get returns the output", async () => {
    const sessions = createSessions({ keys: [KEY], store: memoryStore(), schema: { server, client } })
    const session = sessions.open(undefined)
    session.set("since", "2030-01-01")
    session.set("views", 1)
    session.client.set("theme", "dark")
    expect(await session.get("since")).toEqual(new Date("2030-01-01"))
    expect(await session.entries()).toEqual([
      ["since", new Date("2030-01-01")],
      ["views", 1],
    ])
    expect(session.client.get("theme")).toBe("dark")
    await session.finalize()
    const [summaryState] = [await session.load()]
    expect(summaryState.get("since")).toEqual(new Date("2030-01-01"))
  })

  test("a value that does not fit changes nothing", async () => {
    const w = world({ schema: { server, client } })
    const session = w.sessions.open(undefined)
    session.set("views", 1)
    expect(() => session.set("views", -1)).toThrow(ValueValidationError)
    expect(() => session.set("other", 1)).toThrow(ValueValidationError)
    expect(() => session.client.set("theme", "pink")).toThrow(ValueValidationError)
    expect(await session.entries()).toEqual([["views", 1]])
    expect(session.client.isEmpty()).toBe(true)
  })

  test("a stored value that no longer fits throws, or is discarded with an event", async () => {
    const clock = fakeClock()
    const before = world({ clock })
    const visitor = before.visitor()
    await visitor.visit((s) => {
      s.set("views", "many")
      s.set("since", "2030-01-01")
      s.set("left by an earlier release", 1)
      s.client.set("theme", "pink")
    })
    const strict = world({ store: before.store, clock, schema: { server, client } })
    await new Visitor(strict.sessions, visitor.cookie).visit(async (s) => {
      await expect(s.get("views")).rejects.toMatchObject({
        name: "ValueValidationError",
        stored: true,
        key: "views",
      })
      await expect(s.entries()).rejects.toBeInstanceOf(ValueValidationError)
      expect(() => s.client.get("theme")).toThrow(ValueValidationError)
      expect(await s.keys()).toEqual(["views", "since"])
      expect(await s.has("left by an earlier release")).toBe(false)
      expect(await s.get("left by an earlier release")).toBeUndefined()
      s.set("views", 1)
      expect(await s.get("views")).toBe(1)
    })
    await visitor.visit((s) => s.set("views", "many"))
    const lenient = world({
      store: before.store,
      clock,
      schema: { server, client },
      onInvalidStored: "discard",
    })
    await new Visitor(lenient.sessions, visitor.cookie).visit(async (s) => {
      expect(await s.get("views")).toBeUndefined()
      expect(s.client.get("theme")).toBeUndefined()
      expect((await s.entries()).map(([key]) => key)).toEqual(["since"])
    })
    expect(lenient.events.slice(0, 2)).toEqual([
      { type: "stored-value-invalid", key: "views", state: "server" },
      { type: "stored-value-invalid", key: "theme", state: "client" },
    ])
    expect(JSON.stringify(lenient.events)).not.toMatch(/many|pink/)
  })
})

import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { memoryStore } from "coatcheck/memory"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
import { freshId, newRecord, texts } from "../../src/testing/conformance/kit.ts"
import type { JsonValue } from "../../src/json.ts"
import type { Change, SessionStore } from "../../src/store.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, mysqlDrivers, openPGlite, type OpenClient, postgresDrivers } from "./clients.ts"
import { describeOnRedis, type Opened, openStore, type RedisEngine } from "./redis-engines.ts"

/** G10 on engines that have opinions about JSON: what random changes leave is what they leave in memory. */

const RUNS = Number(process.env["COATCHECK_RUNS"] ?? 300)
const SEED = process.env["COATCHECK_RUNS"] === undefined ? { seed: 20_261_121 } : {}

/** What a path, a literal, a collation or a parser might trip over. */
const awkward: readonly string[] = [
  "a",
  "A",
  "á",
  "a ",
  " a",
  "a.b",
  "a[0]",
  "[0]",
  "$",
  "$.a",
  "*",
  "**",
  "last",
  '"',
  '\\"',
  "\\",
  "a\\",
  "a\\u0000",
  "\\u0000",
  "'",
  "`",
  "?",
  ":name",
  "$1",
  "%",
  "\0",
  "\u0001",
  "\n",
  "\u007f",
  "\u2028",
  "\u2410",
  "\u24100000",
  "\u2410j{}",
  "\ud800",
  "\udc00",
  "😀",
  "\u{10ffff}",
  "ﬁ",
  "ß",
  "İ",
  "__proto__",
  "constructor",
  "null",
  "0",
]

/**
 * None begins with a backslash: after an object with such a member, V8's `JSON.parse` takes a member whose name is written with an escape
 * for it (seen in Node.js 20 and 24: `{"\\":0}`, then `{"\u0001":0}`), and no store can help that.
 */
const key = fc
  .oneof(fc.constantFrom(...awkward), fc.string({ minLength: 1, maxLength: 256, unit: "binary" }))
  .filter((name) => !name.startsWith("\\"))
const text = fc.oneof(
  fc.constantFrom(...awkward),
  fc.string({ unit: "binary" }),
  fc.array(fc.constantFrom(...awkward)).map((parts) => parts.join("")),
)
const number = fc
  .oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.constantFrom(
      2 ** 53,
      -(2 ** 53),
      2 ** 63,
      2 ** 64,
      1e21,
      1e-7,
      5e-324,
      1.7976931348623157e308,
      2.2250738585072014e-308,
      0.1,
      123456789.12345679,
    ),
  )
  .filter((value) => !Object.is(value, -0))
const value: fc.Arbitrary<JsonValue> = fc.oneof(
  { weight: 3, arbitrary: text },
  { weight: 2, arbitrary: number },
  fc.constantFrom<JsonValue>(null, true, false, [], {}, "", [[]], { a: {} }),
  fc.array(fc.oneof(text, number)),
  fc.array(fc.tuple(key, fc.oneof(text, number))).map((entries) => Object.fromEntries(entries)),
  fc.integer({ min: 1, max: 63 }).map((depth) => nested(depth)),
)
const change: fc.Arbitrary<Change> = fc
  .record({
    clear: fc.option(
      fc.oneof(
        fc.constant(true as const),
        fc.array(key, { maxLength: 4 }).map((except) => ({ except })),
      ),
      { nil: undefined, freq: 5 },
    ),
    set: fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 6 }),
    remove: fc.uniqueArray(key, { maxLength: 4 }),
  })
  .map(({ clear, set, remove }) => {
    const names = new Set(set.map(([name]) => name))
    return { clear, set: texts(set), remove: new Set(remove.filter((name) => !names.has(name))) }
  })

function nested(depth: number): JsonValue {
  let inner: JsonValue = "\0 at the bottom"
  for (let level = 0; level < depth; level++) inner = level % 2 === 0 ? [inner] : { "a b": inner }
  return inner
}

function behavesLikeMemory(store: () => SessionStore): void {
  test("what random changes leave is what they leave in memory", { timeout: 300_000 }, async () => {
    const changes = fc.array(change, { minLength: 1, maxLength: 5 })
    const state = fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(state, changes, async (entries, all) => {
        const [real, memory] = [store(), memoryStore()]
        const id = freshId()
        const record = newRecord({ state: texts(entries) })
        await Promise.all([real.create(id, record), memory.create(id, record)])
        for (const each of all) {
          await Promise.all([real.update(id, each), memory.update(id, each)])
          const [found, expected] = await Promise.all([real.load(id), memory.load(id)])
          expect(stateOf(found)).toEqual(stateOf(expected))
        }
      }),
      { numRuns: RUNS, ...SEED },
    )
  })
}

/** As a map, for `toEqual` does not see a member called `__proto__`. */
function stateOf(found: unknown): Map<string, string> {
  const entries = Object.entries((found as { state: Record<string, JsonValue> }).state)
  return new Map(entries.map(([name, each]): [string, string] => [name, canonical(each)]).toSorted())
}

function canonical(each: JsonValue): string {
  return JSON.stringify(each, (_name, member: JsonValue) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1))
      : member,
  )
}

describeValues("postgres", postgresDrivers["node-postgres"] as OpenClient)
describeValues("mariadb", mysqlDrivers["mysql2"] as OpenClient)
describeValues("mysql", mysqlDrivers["mysql2"] as OpenClient)
describeValues("mysql", mysqlDrivers["mariadb"] as OpenClient)

describeRedisValues("redis", "node-redis 6")
describeRedisValues("redis", "ioredis 5")
describeRedisValues("valkey", "node-redis 6")
describeRedisValues("cluster", "ioredis 5")

describe("PGlite", () => {
  let client: Client
  let store: SqlStore
  beforeAll(async () => {
    client = await openPGlite()
    store = client.store()
    await store.migrate()
  })
  afterAll(() => client.close())
  behavesLikeMemory(() => store)
})

function describeValues(engine: Engine, open: OpenClient): void {
  describeOn(engine, "values", () => {
    let client: Client
    let store: SqlStore
    let drop: () => Promise<void>
    beforeAll(async () => {
      const { drop: remove, ...facts } = await freshDatabase(engine)
      drop = remove
      client = await open(facts)
      store = client.store()
      await store.migrate()
    })
    afterAll(async () => {
      await client.close()
      await drop()
    })
    behavesLikeMemory(() => store)
  })
}

function describeRedisValues(engine: RedisEngine, driver: string): void {
  describeOnRedis(engine, `values through ${driver}`, () => {
    let opened: Opened
    beforeAll(async () => {
      opened = await openStore(engine, driver)
    })
    afterAll(() => opened.client.close())
    behavesLikeMemory(() => opened.store)
  })
}

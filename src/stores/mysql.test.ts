import fc from "fast-check"
import { expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import type { Change } from "../store.ts"
import { newRecord } from "../testing/conformance/kit.ts"
import { type MysqlClient, mysqlStore } from "./mysql.ts"
import { isTransient } from "./mysql-failures.ts"
import { Statements, unpack } from "./mysql-statements.ts"

// What a real server does is tested in test/stores.

const nobody: MysqlClient = {
  execute: () => Promise.reject<[unknown, unknown]>(new Error("not asked")),
  query: () => Promise.reject<[unknown, unknown]>(new Error("not asked")),
}

test.each([undefined, null, {}, "mysql://localhost", { query: () => undefined }])(
  "%j is no client",
  (client) => {
    expect(() => mysqlStore(client as unknown as MysqlClient)).toThrow(ConfigError)
  },
)

test.each(["", "a b", "a`b", "1a", "a.b.c", ".a", "a.", "s".repeat(55), "a;b", "é", 5, null])(
  "%j is no name of a table",
  (table) => {
    expect(() => mysqlStore(nobody, { table: table as string })).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_CONFIG", option: "table" }) as Error,
    )
  },
)

test("a misspelt option is refused by its name", () => {
  expect(() => mysqlStore(nobody, { tabel: "visitors" } as object)).toThrow(
    /no option tabel; there are table, prepare/,
  )
})

test("the migration names the table as it was given", () => {
  expect(mysqlStore(nobody, { table: "auth.visitors" }).migrationSql()).toContain(
    "CREATE TABLE IF NOT EXISTS `auth`.`visitors` (",
  )
})

test("the store claims everything there is to claim", () => {
  expect(mysqlStore(nobody).capabilities).toEqual({
    merge: true,
    compareAndSet: true,
    promptRevocation: true,
    userIndex: true,
    atomicRotation: true,
    clock: "store",
  })
})

test("a client that only has promises is asked through them", async () => {
  const asked: string[] = []
  const answer = async ({ sql }: { sql: string }): Promise<[unknown, unknown]> => {
    asked.push(sql)
    return [
      sql.startsWith("SELECT @@") ? [["utf8mb4", "utf8mb4", 1]] : { affectedRows: 1, insertId: 0 },
      undefined,
    ]
  }
  await mysqlStore({ execute: answer, query: answer }).create("id", newRecord())
  expect(asked).toEqual([
    expect.stringMatching(/^SELECT @@/),
    expect.stringMatching(/^INSERT INTO `sessions` /),
  ])
})

const key = fc.string({ minLength: 1, maxLength: 3 })
const milliseconds = fc.option(fc.integer({ min: 1, max: 1e9 }))
const change: fc.Arbitrary<Change> = fc.record({
  clear: fc.constantFrom(
    undefined,
    true as const,
    { except: [] },
    { except: ["a"] },
    { except: ["a", "b", "a"] },
  ),
  set: fc.uniqueArray(key, { maxLength: 9 }).map((keys) => new Map(keys.map((name) => [name, "1"]))),
  remove: fc.uniqueArray(key, { maxLength: 9 }).map((keys) => new Set(keys)),
  user: fc.option(fc.record({ userId: fc.option(key), label: fc.option(key), absoluteTtl: milliseconds }), {
    nil: undefined,
  }),
  expiry: fc.option(
    fc.record({
      idleTtl: milliseconds,
      fixedTtl: milliseconds,
      cookieKind: fc.constantFrom(null, "persistent", "browser-session"),
    }),
    { nil: undefined },
  ),
})

test("a statement's text, which is kept for the next of its kind, is the one that would be made anew", () => {
  const kept = new Statements("`sessions`")
  fc.assert(
    fc.property(change, fc.option(fc.nat(), { nil: undefined }), (given, ifVersion) => {
      const made = new Statements("`sessions`")
      const update = kept.update("id", given, ifVersion)
      expect(update).toEqual(made.update("id", given, ifVersion))
      expect(update.sql.split("?").length - 1).toBe(update.values.length)
      const move = (statements: Statements): unknown =>
        statements.move("1", "old", "new", given, ifVersion, { ttl: 1, grace: 2, privilegeChanged: true })
      expect(move(kept)).toEqual(move(made))
      const record = newRecord({ userId: given.user?.userId ?? null })
      expect(kept.insert("1", "id", record)).toEqual(made.insert("1", "id", record))
      expect(kept.replace("id", record)).toEqual(made.replace("id", record))
    }),
    { numRuns: 2000 },
  )
})

const pack = (version: bigint, expiresIn: bigint): bigint => (version << 40n) | expiresIn

test.each([
  [1n, 0n],
  [8191n, 86_400_000n],
  [8192n, 86_400_000n],
  [2n ** 23n - 2n, 2n ** 40n - 2n],
])("version %d and time to live %d fit into one number", (version, expiresIn) => {
  const both = pack(version, expiresIn)
  const expected = { version: Number(version), expiresIn: Number(expiresIn) }
  expect(unpack(both)).toEqual(expected)
  expect(unpack(String(both))).toEqual(expected)
  expect(unpack(Number(both))).toEqual(both <= Number.MAX_SAFE_INTEGER ? expected : undefined)
})

test.each([
  [2n ** 23n - 1n, 5n],
  [5n, 2n ** 40n - 1n],
])("version %d and time to live %d have to be asked for", (version, expiresIn) => {
  expect(unpack(pack(version, expiresIn))).toBeUndefined()
})

test.each<[{ errno: number; message?: string } | undefined, boolean]>([
  [{ errno: 1213 }, true],
  [{ errno: 1180, message: "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT" }, true],
  [{ errno: 1180, message: "Got error 28 - 'No space left on device' during COMMIT" }, false],
  [{ errno: 1205 }, false],
  [undefined, false],
])("what the engine has undone because of another may be tried again: %j, %s", (facts, expected) => {
  expect(isTransient(facts && Object.assign(new Error(facts.message), facts))).toBe(expected)
})

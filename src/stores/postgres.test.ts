import { expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import { type PostgresClient, postgresStore } from "./postgres.ts"
import { Statements } from "./postgres-statements.ts"

// What a real server does is tested in test/stores.

const nobody: PostgresClient = { query: () => Promise.reject(new Error("not asked")) }

test.each([undefined, null, {}, "postgres://localhost", { exec: () => undefined }])(
  "%j is no client",
  (client) => {
    expect(() => postgresStore(client as unknown as PostgresClient)).toThrow(ConfigError)
  },
)

test.each(["", "a b", 'a"b', "1a", "a.b.c", ".a", "a.", "s".repeat(55), "a;b", "é", 5, null])(
  "%j is no name of a table",
  (table) => {
    expect(() => postgresStore(nobody, { table: table as string })).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_CONFIG", option: "table" }) as Error,
    )
  },
)

test("a misspelt option is refused by its name", () => {
  expect(() => postgresStore(nobody, { prepared: false } as object)).toThrow(
    /no option prepared; there are table, prepare/,
  )
})

test("the migration names the table as it was given", () => {
  expect(postgresStore(nobody, { table: "auth.visitors" }).migrationSql()).toContain(
    'CREATE TABLE "auth"."visitors" (',
  )
})

test("statements are prepared under a name of their own, which no other table has", () => {
  const [one, other] = [new Statements('"one"', true), new Statements('"other"', true)]
  const change = { set: new Map(), remove: new Set<string>() }
  const texts = new Map<string, string>()
  for (const {
    create,
    find,
    touch,
    remove,
    removeExpired,
    end,
    sweep,
    list,
    removeByUser,
    endByUser,
    ...rest
  } of [one, other]) {
    const all = [create, find, touch, remove, removeExpired, end, sweep, list, removeByUser, endByUser]
    for (const { name, text } of all) texts.set(name as string, text)
    expect(rest).toEqual({})
  }
  for (const statements of [one, other]) {
    for (const hasVersion of [true, false]) {
      const { name, text } = statements.update(change, hasVersion)
      texts.set(name as string, text)
      expect(statements.update(change, hasVersion).name).toBe(name)
    }
  }
  expect(texts.size).toBe(24)
  expect(new Set(texts.values()).size).toBe(24)
  // PostgreSQL cuts longer ones.
  for (const name of texts.keys()) expect(name.length).toBeLessThan(64)
})

test("without prepare no statement has a name", () => {
  expect(new Statements('"one"', false).find.name).toBeUndefined()
})

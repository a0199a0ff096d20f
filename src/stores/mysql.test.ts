import { expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import { type MysqlClient, mysqlStore } from "./mysql.ts"
import { unpack } from "./mysql-statements.ts"

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

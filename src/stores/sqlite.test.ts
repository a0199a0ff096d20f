import { mkdtempSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import BetterSqlite from "better-sqlite3"
import { afterAll, describe, expect, test } from "vitest"
import { ConfigError, StoreError } from "../errors.ts"
import { fakeClock } from "../testing/clock.ts"
import { changing, ended, freshId, newRecord, type StoreHarness, texts } from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { type SqliteDatabase, sqliteStore } from "./sqlite.ts"

const folder = mkdtempSync(join(tmpdir(), "coatcheck-sqlite-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const freshPath = (): string => join(folder, `${++files}.db`)

const drivers: Record<string, (path: string) => SqliteDatabase & { close(): unknown }> = {
  "node:sqlite": (path) => new DatabaseSync(path),
  "better-sqlite3": (path) => new BetterSqlite(path),
  "better-sqlite3 with bigints": (path) => new BetterSqlite(path).defaultSafeIntegers(true),
}

describe.each(Object.entries(drivers))("sqliteStore on %s keeps the store contract", (_name, open) => {
  const openStore = async (): Promise<StoreHarness> => {
    const clock = fakeClock()
    const path = freshPath()
    const database = open(path)
    const databases = [database]
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    const store = sqliteStore(database, { clock })
    await store.migrate()
    return {
      store,
      precise: true,
      advance: clock.advance,
      connect: async () => {
        const second = open(path)
        databases.push(second)
        return sqliteStore(second, { clock })
      },
      corrupt: (id) => {
        database.exec(`UPDATE sessions SET state = '[broken' WHERE id = '${id}'`)
      },
      close: () => {
        for (const each of databases) each.close()
      },
    }
  }
  for (const { name, run } of storeConformance(openStore)) test(name, run)
})

describe("sqliteStore at a path", () => {
  test("makes the file and its table, and finds them again", async () => {
    const path = freshPath()
    const id = freshId()
    const first = sqliteStore(path)
    await first.create(id, newRecord({ state: texts([["a", 1]]) }))
    await first.close()
    const second = sqliteStore(path)
    expect(await second.load(id)).toMatchObject({ state: { a: 1 } })
    await second.close()
    const database = new DatabaseSync(path)
    expect(database.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" })
    expect(database.prepare("SELECT state ->> 'a' AS a FROM sessions").get()).toEqual({ a: 1 })
    database.close()
  })

  test("opens nothing until it is used, and nothing after it was closed", async () => {
    const store = sqliteStore(join(folder, "missing", "x.db"))
    await expect(store.load(freshId())).rejects.toThrow()
    await store.close()
    await expect(store.load(freshId())).rejects.toThrow("closed")
  })

  test("waits for another process's write", async () => {
    const path = freshPath()
    const store = sqliteStore(path, { busyTimeout: 50, synchronous: "full" })
    await store.migrate()
    const other = new DatabaseSync(path)
    other.exec("BEGIN IMMEDIATE")
    await expect(store.create(freshId(), newRecord())).rejects.toThrow("locked")
    other.exec("COMMIT")
    await store.create(freshId(), newRecord())
    other.close()
    await store.close()
  })
})

describe("sqliteStore on a database that was passed in", () => {
  test("without its table says what to do, and works once that is done", async () => {
    const store = sqliteStore(new DatabaseSync(":memory:"))
    await expect(store.load(freshId())).rejects.toBeInstanceOf(StoreError)
    await expect(store.load(freshId())).rejects.toThrow("migrate()")
    await store.migrate()
    await store.migrate()
    expect(await store.load(freshId())).toBeUndefined()
    await store.close()
  })

  test("works inside a transaction that its user has open, and shares its fate", async () => {
    const database = new DatabaseSync(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord())
    database.exec("BEGIN")
    await store.update(id, changing({ a: 1 }))
    await store.changeId(id, next, { tombstone: { ttl: 1000, grace: 0, privilegeChanged: false } })
    database.exec("ROLLBACK")
    expect(await store.load(id)).toMatchObject({ state: {} })
    expect(await store.load(next)).toBeUndefined()
  })

  test("a rotation that fails half-way leaves nothing behind", async () => {
    const database = new DatabaseSync(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord())
    database.exec(
      "CREATE TRIGGER fail BEFORE INSERT ON sessions WHEN NEW.moved_to IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    await expect(
      store.changeId(id, next, { tombstone: { ttl: 1000, grace: 0, privilegeChanged: false } }),
    ).rejects.toThrow("no")
    expect(await store.load(id)).toMatchObject({ version: 1 })
    expect(await store.load(next)).toBeUndefined()
  })

  test("two stores with tables of their own do not meet", async () => {
    const database = new DatabaseSync(":memory:")
    const [one, two] = [sqliteStore(database, { table: "one" }), sqliteStore(database, { table: "two" })]
    await one.migrate()
    await two.migrate()
    const id = freshId()
    await one.create(id, newRecord({ userId: "ann" }))
    expect([await two.load(id), await two.listByUser("ann")]).toEqual([undefined, []])
    await two.create(id, newRecord())
    await two.delete(id, ended)
    expect(await one.load(id)).toMatchObject({ userId: "ann" })
  })
})

test.each([
  [() => sqliteStore(""), "path"],
  [() => sqliteStore({} as never), "node:sqlite"],
  [() => sqliteStore(undefined as never), "node:sqlite"],
  [() => sqliteStore("x.db", { table: "a; DROP TABLE b" }), "table"],
  [() => sqliteStore("x.db", { table: '"' }), "table"],
  [() => sqliteStore("x.db", { clock: 1 as never }), "clock"],
  [() => sqliteStore("x.db", { busyTimeout: -1 }), "busyTimeout"],
  [() => sqliteStore("x.db", { synchronous: "off" as never }), "synchronous"],
])("a wrong option is refused: %s", (make, message) => {
  expect(make).toThrow(ConfigError)
  expect(make).toThrow(message)
})

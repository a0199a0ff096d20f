import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import BetterSqlite from "better-sqlite3"
import { afterAll, describe, expect, test } from "vitest"
import { ConfigError, RecordCorruptError, StoreError } from "../errors.ts"
import { fakeClock } from "../testing/clock.ts"
import { changing, ended, freshId, newRecord, texts } from "../testing/conformance/kit.ts"
import { describeConformance } from "./sqlite-conformance.test-helper.ts"
import { type SqliteDatabase, sqliteStore } from "./sqlite.ts"

const folder = mkdtempSync(join(tmpdir(), "coatcheck-sqlite-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const freshPath = (): string => join(folder, `${++files}.db`)

const moved = { tombstone: { ttl: 1000, grace: 0, privilegeChanged: false } }

describeConformance("node:sqlite", (path) => new DatabaseSync(path))

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

describe("sqliteStore and what goes wrong", () => {
  test.each([
    "created_at = -5",
    "absolute_end = 9000000000000000, deadline = 9000000000000000",
    "signed_in_at = 9000000000000000",
    "idle_ttl = -1",
    "cookie_kind = 'bogus'",
  ])("a record with %s is corrupt, and can be ended", async (columns) => {
    const database = new DatabaseSync(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const id = freshId()
    await store.create(id, newRecord())
    database.exec(`UPDATE sessions SET ${columns}`)
    await expect(store.load(id)).rejects.toBeInstanceOf(RecordCorruptError)
    await store.delete(id, ended)
    expect(await store.load(id)).toEqual({ ended: true })
  })

  test("moves that lead in a circle are corrupt, and hang nothing", async () => {
    const database = new DatabaseSync(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const [one, two] = [freshId(), freshId()]
    await store.create(one, newRecord())
    await store.changeId(one, two, moved)
    database.exec(`UPDATE sessions SET state = NULL, moved_to = '${one}' WHERE id = '${two}'`)
    await expect(store.delete(one, ended)).rejects.toBeInstanceOf(RecordCorruptError)
    expect(await store.deleteByUser("ann", { except: one, ...ended })).toBe(0)
  })

  const drivers: [name: string, open: (path: string) => SqliteDatabase & { close(): unknown }][] = [
    ["node:sqlite", (path) => new DatabaseSync(path)],
    ["better-sqlite3", (path) => new BetterSqlite(path)],
  ]
  test.each(drivers)("G11: on %s a touch whose commit fails is no success", async (_name, open) => {
    const database = open(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const id = freshId()
    await store.create(id, newRecord())
    // A deferred constraint is checked by the commit, the only step that fails.
    database.exec(`PRAGMA foreign_keys = ON;
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER orphan AFTER UPDATE ON sessions BEGIN INSERT INTO child VALUES (1); END`)
    await expect(store.updateTtl(id)).rejects.toThrow("FOREIGN KEY")
    await expect(store.update(id, changing({ a: 1 }))).rejects.toThrow("FOREIGN KEY")
    const next = freshId()
    await expect(store.changeId(id, next, moved)).rejects.toThrow("FOREIGN KEY")
    expect(await store.load(id)).toMatchObject({ version: 1 })
    expect(await store.load(next)).toBeUndefined()
    database.exec("DROP TRIGGER orphan")
    await store.changeId(id, next, moved)
    database.close()
  })

  test("the error that made SQLite roll back by itself is the one that is thrown", async () => {
    const database = new DatabaseSync(":memory:")
    const store = sqliteStore(database)
    await store.migrate()
    const [id, next] = [freshId(), freshId()]
    await store.create(id, newRecord())
    database.exec(
      "CREATE TRIGGER fail BEFORE INSERT ON sessions WHEN NEW.moved_to IS NOT NULL BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END",
    )
    await expect(store.changeId(id, next, moved)).rejects.toThrow("disk full")
    database.exec("DROP TRIGGER fail")
    await store.changeId(id, next, moved)
    expect(await store.load(next)).toMatchObject({ version: 2 })
  })

  test("a file that is no database is an error each time, until it is one", async () => {
    const path = freshPath()
    writeFileSync(path, "no database ".repeat(1000))
    const store = sqliteStore(path)
    await expect(store.load(freshId())).rejects.toThrow("not a database")
    await expect(store.load(freshId())).rejects.toThrow("not a database")
    rmSync(path)
    expect(await store.load(freshId())).toBeUndefined()
    await store.close()
  })

  test("an asynchronous database is refused, not taken to have stored something", async () => {
    const later = async () => ({ success: true })
    const store = sqliteStore({
      exec: later,
      prepare: () => ({ get: later, all: later, run: later }),
    })
    await expect(store.create(freshId(), newRecord())).rejects.toThrow("asynchronous")
  })
})

describe("sqliteStore on a database that was passed in", () => {
  test("works though its rows are arrays by default", async () => {
    const store = sqliteStore(new DatabaseSync(":memory:", { returnArrays: true }))
    await store.migrate()
    const id = freshId()
    await store.create(id, newRecord({ userId: "ann", state: texts([["a", 1]]) }))
    expect(await store.load(id)).toMatchObject({ state: { a: 1 }, userId: "ann" })
    expect(await store.updateTtl(id)).toMatchObject({ version: 1 })
  })

  test("takes whole milliseconds of a clock that has fractions", async () => {
    const store = sqliteStore(new DatabaseSync(":memory:"), { clock: () => 1000.75 })
    await store.migrate()
    const id = freshId()
    await store.create(id, newRecord({ idleTtl: 500 }))
    expect(await store.load(id)).toMatchObject({ expiresIn: 500, createdAt: new Date(1000) })
  })

  test("sweeps in two statements, so that a batch takes two commits and not one a row", async () => {
    const database = new DatabaseSync(":memory:")
    const clock = fakeClock()
    let runs = 0
    const counting: SqliteDatabase = {
      exec: (sql) => database.exec(sql),
      prepare(sql) {
        const statement = database.prepare(sql)
        return {
          get: (...values) => statement.get(...values),
          all: (...values) => statement.all(...values),
          run(...values) {
            runs += 1
            return statement.run(...values)
          },
        }
      },
    }
    const store = sqliteStore(counting, { clock })
    await store.migrate()
    for (let index = 0; index < 50; index++) await store.create(freshId(), newRecord({ idleTtl: 1000 }))
    clock.advance(1001)
    runs = 0
    expect(await store.deleteExpired({ limit: Infinity })).toBe(50)
    expect(runs).toBe(2)
  })

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
  [() => sqliteStore({ prepare: () => undefined } as never), "node:sqlite"],
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

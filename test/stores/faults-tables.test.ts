import { afterAll, beforeAll, expect, test } from "vitest"
import { changing } from "../../src/testing/conformance/kit.ts"
import { describeOn, execute, freshDatabase, type FreshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import type { Client } from "./clients.ts"
import {
  drivers,
  expectAllToFail,
  expectAllToWork,
  expectFailure,
  of,
  type Operation,
  OPERATIONS,
  put,
  rivalOn,
} from "./faults.ts"

/** A table that is not as the store needs it: what each operation says, and that it goes on once that is mended. */

interface Fault {
  readonly name: string
  /** In SQL; the table `sessions` is there. */
  readonly begin: readonly string[]
  readonly end: (engine: Engine) => readonly string[]
  readonly advice: RegExp
  /** The operations that notice. */
  readonly hits: (engine: Engine) => readonly Operation[]
}

const faults: readonly Fault[] = [
  {
    name: "a missing table",
    begin: ["ALTER TABLE sessions RENAME TO spare"],
    end: () => ["ALTER TABLE spare RENAME TO sessions"],
    advice: /: the table ["`]sessions["`] does not exist; call migrate\(\), or run migrationSql\(\)\.$/,
    hits: () => OPERATIONS,
  },
  {
    name: "a table of an older layout",
    begin: ["ALTER TABLE sessions DROP COLUMN privilege_changed"],
    end: (engine) => [
      `ALTER TABLE sessions ADD COLUMN privilege_changed ${of(engine, "boolean NOT NULL DEFAULT false", "TINYINT NOT NULL DEFAULT 0")}`,
    ],
    advice: /: the table ["`]sessions["`] has an older layout, or another one; call migrate\(\)/,
    hits: (engine) => ["load", "changeId", ...of<Operation[]>(engine, ["create"], [])],
  },
  {
    name: "a table of this name that is not of coatcheck",
    begin: [
      "ALTER TABLE sessions RENAME TO spare",
      "CREATE TABLE sessions (id VARCHAR(99) PRIMARY KEY, data VARCHAR(99))",
      "INSERT INTO sessions VALUES ('theirs', 'data')",
    ],
    end: () => ["DROP TABLE sessions", "ALTER TABLE spare RENAME TO sessions"],
    advice: /: the table ["`]sessions["`] has an older layout, or another one; call migrate\(\)/,
    hits: () => OPERATIONS,
  },
  {
    name: "a table whose columns have other types",
    begin: [
      "ALTER TABLE sessions RENAME TO spare",
      "CREATE TABLE sessions AS SELECT * FROM spare WHERE 1 = 0",
      "ALTER TABLE sessions DROP COLUMN deadline",
      "ALTER TABLE sessions ADD COLUMN deadline DATE",
    ],
    end: () => ["DROP TABLE sessions", "ALTER TABLE spare RENAME TO sessions"],
    advice: /: the table ["`]sessions["`] has an older layout, or another one; call migrate\(\)/,
    hits: (engine) => of(engine, OPERATIONS, []),
  },
]

for (const { engine, name, open } of drivers) {
  describeOn(engine, `through ${name}, with`, () => {
    let database: FreshDatabase
    let client: Client

    beforeAll(async () => {
      database = await freshDatabase(engine)
      client = await open(database, { size: 2 })
    })
    afterAll(async () => {
      await client.close()
      await database.drop()
    })

    async function admin(statements: readonly string[]): Promise<void> {
      for (const sql of statements) await execute(engine, database, sql)
    }

    test.each(faults)("$name", async ({ begin, end, advice, hits }) => {
      const store = client.store()
      await store.migrate()
      const id = await put(store)
      // Both connections know the statements from before.
      await Promise.all([store.load(id), store.load(id), store.load(id)])
      await admin(begin)
      await expectAllToFail(store, id, advice, hits(engine))
      await admin(end(engine))
      expect(await store.load(id)).toMatchObject({ version: 1 })
      expect(await store.update(id, changing({ more: 1 }))).toMatchObject({ version: 2 })
      await expectAllToWork(store)
    })

    test("a schema that does not exist", async () => {
      const store = client.store({ table: "nowhere.sessions" })
      const missing = /: the (table ["`]nowhere["`].["`]sessions["`]|database|schema of .*) does not exist; /
      await expectAllToFail(store, "no-such-id", missing)
      await expectFailure(() => store.migrate(), /: the (schema|database) .*does not exist; create it/)
    })

    test("a database that does not exist", async () => {
      const stray = await open(
        { ...database, database: "nowhere" },
        { size: 2, options: { acquireTimeout: 300 } },
      )
      await expectAllToFail(stray.store(), "no-such-id", /: the database does not exist; create it/, [
        "load",
        "update",
      ])
      await stray.close()
    })

    test("a table that is not of coatcheck: migrate refuses it, and leaves it and the connection alone", async () => {
      await admin([
        "CREATE TABLE theirs (id INTEGER PRIMARY KEY, state VARCHAR(99))",
        "INSERT INTO theirs VALUES (1, 'data')",
      ])
      const alone = await open(database, { size: 1 })
      const refusal =
        /migrate failed: there is a table ["`]theirs["`] that is not of coatcheck; choose another name/
      await expectFailure(() => alone.store({ table: "theirs" }).migrate(), refusal)
      const good = alone.store({ table: "mine" })
      await good.migrate()
      await expectAllToWork(good)
      await alone.close()
      const rival = await rivalOn(engine, database)
      expect(await rival.run("SELECT * FROM theirs")).toEqual([{ id: 1, state: "data" }])
      await rival.close()
    })
  })
}

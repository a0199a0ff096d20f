import { readdirSync, readFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import mysql from "mysql2/promise"
import pg from "pg"
import { afterEach, describe, expect, test } from "vitest"
import { type SessionRecord, type SessionStore, StoreError } from "coatcheck"
import { sqliteStore } from "coatcheck/sqlite"
import { connectionOf } from "../../src/stores/mysql-clients.ts"
import { connectionOf as connectionOfPostgres } from "../../src/stores/postgres-clients.ts"
import * as mysqlLayouts from "../../src/stores/mysql-layouts.ts"
import * as postgresLayouts from "../../src/stores/postgres-layouts.ts"
import { tableOf } from "../../src/stores/shared-names.ts"
import { changing, freshId, move, newRecord } from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, type DatabaseFacts, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/**
 * Each file of `layouts/` is what a release of coatcheck has left: the table as it made it, a session of ann's, and word of where it was
 * before. They are never changed; a new layout gets a new file.
 */
const files = readdirSync(new URL("layouts", import.meta.url)).toSorted()
const LEFT = "an-id-of-forty-three-characters-left-by-ann"
const BEFORE = "an-id-of-forty-three-characters-moved-to-hr"

/** Who waits for another server's migration must see what that one has made, though its snapshot may be older. */
const repeatableRead = {
  postgres: "SET default_transaction_isolation = 'repeatable read'",
  mysql: "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}

function layoutsOf(kind: string): string[] {
  return files.filter((file) => file.startsWith(`${kind}-`))
}

function textOf(file: string): string {
  return readFileSync(new URL(`layouts/${file}`, import.meta.url), "utf8")
}

/** The table works, with all that was in it. */
async function expectUsable(store: SessionStore): Promise<void> {
  const record = (await store.load(LEFT)) as SessionRecord
  expect(record).toMatchObject({ version: 7, userId: "ann", label: "phone", idleTtl: 3_600_000_000_000 })
  expect(record.state).toEqual({ cart: ["apple"], "\0": "a\u2410b" })
  expect(record.createdAt.getTime()).toBe(1_790_000_000_000)
  expect(await store.load(BEFORE)).toMatchObject({ movedTo: LEFT, graceExpiresIn: 0 })
  expect((await store.update(LEFT, changing({ more: 1 }))).version).toBe(8)
  const next = freshId()
  await store.changeId(LEFT, next, move())
  expect((await store.listByUser("ann")).map(({ id }) => id)).toEqual([next])
  await store.delete(BEFORE, { tombstone: { ttl: 1000 } })
  expect(await store.listByUser("ann")).toEqual([])
}

describe("SQLite", () => {
  test.each(layoutsOf("sqlite"))("goes on from %s, with what is in it", async (file) => {
    const database = new DatabaseSync(":memory:")
    database.exec(textOf(file))
    const store = sqliteStore(database)
    await store.migrate()
    await store.migrate()
    await expectUsable(store)
  })
})

describeMigrations("postgres", "postgres", postgresDrivers["node-postgres"] as OpenClient)
describeMigrations("mariadb", "mysql", mysqlDrivers["mysql2"] as OpenClient)
describeMigrations("mysql", "mysql", mysqlDrivers["mysql2"] as OpenClient)

function describeMigrations(engine: Engine, kind: "postgres" | "mysql", open: OpenClient): void {
  describeOn(engine, "migrations", () => {
    const clients: Client[] = []
    let facts: DatabaseFacts
    let drop: (() => Promise<void>) | undefined

    afterEach(async () => {
      await Promise.all(clients.splice(0).map((client) => client.close()))
      await drop?.()
      drop = undefined
    })

    /** A connection to the test's database, which is new with the first. */
    async function connect(): Promise<Client> {
      if (drop === undefined) ({ drop, ...facts } = await freshDatabase(engine))
      const client = await open(facts, { size: 2, session: [repeatableRead[kind]] })
      clients.push(client)
      return client
    }

    async function script(client: Client, text: string): Promise<void> {
      for (const statement of kind === "postgres" ? [text] : text.split(/;\s*\n/)) {
        if (statement.trim() !== "") await client.run(statement)
      }
    }

    test.each(layoutsOf(kind))("goes on from %s, with what is in it", async (file) => {
      const client = await connect()
      await script(client, textOf(file))
      const store = client.store()
      await store.migrate()
      await store.migrate()
      await expectUsable(store)
    })

    test("migrate() makes the table that migrationSql() does, and each may follow the other", async () => {
      const client = await connect()
      const store = client.store()
      await script(client, store.migrationSql())
      await store.migrate()
      await script(client, store.migrationSql())
      await store.create(freshId(), newRecord({ userId: "ann" }))
      expect(await store.listByUser("ann")).toHaveLength(1)
    })

    test("20 servers that start at once make one table", async () => {
      const servers = [await connect()]
      while (servers.length < 20) servers.push(await connect())
      await Promise.all(servers.map((client) => client.store().migrate()))
      const stores = servers.map((client) => client.store())
      await Promise.all(stores.map((store) => store.create(freshId(), newRecord({ userId: "ann" }))))
      expect(await stores[0]?.listByUser("ann")).toHaveLength(20)
    })

    test("a table of this name that is not coatcheck's is refused, and left as it is", async () => {
      const client = await connect()
      await client.run("CREATE TABLE sessions (sid varchar(10) PRIMARY KEY)")
      await client.run("INSERT INTO sessions VALUES ('theirs')")
      const failure: unknown = await client
        .store()
        .migrate()
        .catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(StoreError)
      expect((failure as Error).message).toContain("not of coatcheck")
      expect(await client.run("SELECT sid FROM sessions")).toEqual([{ sid: "theirs" }])
      await client.store({ table: "visitors" }).migrate()
    })

    test("a table may be in another schema, with a name of 54 characters", async () => {
      const client = await connect()
      const schema = `${facts.database}_b`
      await client.run(`CREATE SCHEMA ${schema}`)
      const names = ["sessions", "s".repeat(54)]
      for (const name of names) {
        const store = client.store({ table: `${schema}.${name}` })
        await store.migrate()
        await store.migrate()
        const id = freshId()
        await store.create(id, newRecord({ userId: "ann" }))
        await store.changeId(id, freshId(), move())
        expect(await store.listByUser("ann")).toHaveLength(1)
        expect(await store.deleteByUser("ann", { except: id })).toBe(0)
      }
      if (kind === "mysql") await client.run(`DROP SCHEMA ${schema}`)
    })

    test("a later layout is reached from this one while sessions are written, by 10 servers at once", async () => {
      const client = await connect()
      await script(client, textOf(`${kind}-1.sql`))
      const store = client.store()
      const writing = { isOver: false, count: 0 }
      const writes = (async () => {
        for (; !writing.isOver; writing.count++) {
          await store.update(LEFT, changing({ [`key-${writing.count}`]: writing.count }))
        }
      })()
      await Promise.all(Array.from({ length: 10 }, () => toLaterLayout()))
      writing.isOver = true
      await writes
      const record = (await store.load(LEFT)) as SessionRecord
      expect(Object.keys(record.state).length).toBe(2 + writing.count)
      expect(await client.run("SELECT note FROM sessions WHERE version = 0")).toEqual([{ note: "later" }])
      // What is at a later layout than this release knows is left alone: an older server may start while a newer one runs.
      await store.migrate()
    })

    async function toLaterLayout(): Promise<void> {
      if (kind === "postgres") {
        const later = (table: string): string =>
          `ALTER TABLE ${table} ADD COLUMN note text NOT NULL DEFAULT 'later';`
        const pool = new pg.Pool({ ...facts, max: 1 })
        pool.on("error", () => undefined)
        const all = [...postgresLayouts.LAYOUTS, later]
        await postgresLayouts.migrate(connectionOfPostgres(pool), '"sessions"', all)
        await pool.end()
        return
      }
      const layouts = [
        ...mysqlLayouts.LAYOUTS,
        (table: string, comment: string) =>
          `ALTER TABLE ${table} ADD COLUMN note VARCHAR(10) NOT NULL DEFAULT 'later', COMMENT = '${comment}'`,
      ]
      const pool = mysql.createPool({ ...facts, connectionLimit: 1 })
      await mysqlLayouts.migrate(connectionOf(pool, true), tableOf("sessions", "`"), layouts)
      // As a person would run it; it finds nothing to do.
      for (const statement of mysqlLayouts.migrationSql(tableOf("sessions", "`"), layouts).split(/;\n/)) {
        if (statement.trim() !== "") await pool.query(statement)
      }
      await pool.end()
    }
  })
}

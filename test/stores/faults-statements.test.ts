import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { type SessionRecord, StoreError, UnknownIdError } from "coatcheck"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
import { changing, ended, freshId, freshUser, move } from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase, type FreshDatabase } from "../support/servers/databases.ts"
import type { Client } from "./clients.ts"
import {
  busyConnections,
  closeAll,
  drivers,
  expectFailure,
  expectStoreError,
  IN_TIME,
  killing,
  of,
  put,
  refresh,
  type Rival,
  rivalOn,
  sessionsOn,
  start,
  untilBusy,
} from "./faults.ts"

/** A statement that somebody else is in the way of: it is done, or not done, and never half or twice. */

for (const { engine, name, open } of drivers) {
  describeOn(engine, `through ${name}`, () => {
    let database: FreshDatabase
    let client: Client
    let store: SqlStore
    let rival: Rival
    let other: Rival
    const opened: Client[] = []

    beforeAll(async () => {
      database = await freshDatabase(engine)
      client = await open(database, { size: 4 })
      opened.push(client)
      store = client.store()
      await store.migrate()
      rival = await rivalOn(engine, database)
      other = await rivalOn(engine, database)
      await rival.run("CREATE TABLE ballast (number INTEGER)")
    })
    afterAll(async () => {
      // A lock that a failed test has left would keep a pool from ending.
      await Promise.all([rival.close(), other.close()])
      await closeAll(opened)
      await database.drop()
    })

    async function openStore(session: string, size = 2): Promise<SqlStore> {
      const made = await open(database, { size, session: [session] })
      opened.push(made)
      return made.store()
    }

    /** Holds the row of a session until the rival's transaction ends. */
    async function hold(id: string): Promise<void> {
      await rival.run("BEGIN")
      await rival.run(`SELECT 1 FROM sessions WHERE id = '${id}' FOR UPDATE`)
    }

    async function read(id: string): Promise<SessionRecord> {
      return (await store.load(id)) as SessionRecord
    }

    const ends = {
      update: (id: string) => store.update(id, changing({ one: 1, two: 2 })),
      changeId: (id: string, next: string) =>
        store.changeId(id, next, { ...move(), change: changing({ one: 1, two: 2 }) }),
      delete: (id: string) => store.delete(id, ended),
      "deleteByUser, from the second of two rows": (_id: string, _next: string, user: string) =>
        store.deleteByUser(user, ended),
    }

    test.each(Object.entries(ends))(
      "a connection that is killed amid %s: it was carried out, or not at all",
      async (_name, run) => {
        const user = freshUser()
        const first = await put(store, user)
        const id = await put(store, user)
        const next = freshId()
        await hold(id)
        const failing = expectFailure(
          () => run(id, next, user),
          /: the (connection was lost, so it is not known whether this was carried out; the next request connects anew|server cancelled the statement; the next request tries again)\.$/,
          { id },
        )
        await other.run(killing(engine, await untilBusy(other, engine)))
        await failing
        await rival.run("ROLLBACK")
        await refresh(store)
        expect(await read(id)).toMatchObject({ version: 1, state: { key: expect.any(String) as string } })
        expect(Object.keys((await read(id)).state)).toEqual(["key"])
        expect(await store.load(next)).toBeUndefined()
        expect(await read(first)).toMatchObject({ version: 1 })
        await run(id, next, user)
      },
    )

    test("connections killed amid transactions: nothing counts twice, and nothing acknowledged is missing", async () => {
      const sessions = sessionsOn(store, "2000ms")
      const cookie = await start(sessions)
      const race = { isOver: false }
      const killer = (async () => {
        while (!race.isOver) {
          await new Promise((resolve) => setTimeout(resolve, 10))
          for (const connection of await busyConnections(other, engine)) {
            await other.run(killing(engine, connection)).catch(() => undefined)
          }
        }
      })()
      // A lock that comes and goes, so that there is something to be killed.
      const id = (await rival.run("SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1"))[0]?.[
        "id"
      ] as string
      const locker = (async () => {
        while (!race.isOver) {
          await hold(id)
          await new Promise((resolve) => setTimeout(resolve, 15))
          await rival.run("ROLLBACK")
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      })()
      const acknowledged: string[] = []
      const failures: unknown[] = []
      await Promise.all(
        ["a", "b", "c"].map(async (worker) => {
          for (let index = 0; index < 40; index++) {
            const key = `${worker}-${index}`
            try {
              await sessions.open(cookie).transact((state) => {
                state.set("count", Number(state.get("count") ?? 0) + 1)
                state.set(key, Number(state.get(key) ?? 0) + 1)
              })
              acknowledged.push(key)
            } catch (error) {
              failures.push(error)
            }
          }
        }),
      )
      race.isOver = true
      await Promise.all([killer, locker])
      expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures)
        expectStoreError(failure, /not known whether|cancelled the statement|has ended/)
      await refresh(store)
      const { state } = await read(id)
      const counted = Object.entries(state).filter(([key]) => /^[abc]-/.test(key))
      expect(counted.every(([, times]) => times === 1)).toBe(true)
      expect(state["count"]).toBe(counted.length)
      expect(acknowledged.filter((key) => state[key] !== 1)).toEqual([])
      expect(counted.length).toBeLessThanOrEqual(acknowledged.length + failures.length)
    })

    test("a row that is held for longer than storeTimeout: the request fails in time, and what comes late is whole", async () => {
      const sessions = sessionsOn(store, "150ms")
      const cookie = await start(sessions)
      const [row] = await rival.run("SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1")
      const id = row?.["id"] as string
      await hold(id)
      const session = sessions.open(cookie)
      session.set("one", 1)
      session.set("two", 2)
      const begin = performance.now()
      expectStoreError(await session.finalize().catch((error: unknown) => error), IN_TIME)
      expect(performance.now() - begin).toBeLessThan(400)
      expect(Object.keys((await read(id)).state)).toEqual(["key"])
      await rival.run("ROLLBACK")
      let found: SessionRecord
      do found = await read(id)
      while (found.version === 1)
      expect(found).toMatchObject({ version: 2, state: { one: 1, two: 2 } })
    })

    test("a row that is held for longer than the server lets wait", async () => {
      const id = await put(store)
      await hold(id)
      const patience = of(engine, "SET lock_timeout = '100'", "SET SESSION innodb_lock_wait_timeout = 1")
      const impatient = await openStore(patience)
      const advice = /: another transaction holds the row for too long \(.*timeout\)\.$/
      await expectFailure(() => impatient.update(id, changing({ one: 1 })), advice, { id, within: 2_500 })
      await rival.run("ROLLBACK")
      expect(await impatient.update(id, changing({ one: 1 }))).toMatchObject({ version: 2 })
    })

    test.skipIf(engine === "mysql")("a statement that takes longer than the server lets it", async () => {
      const id = await put(store)
      await hold(id)
      const impatient = await openStore(
        of(engine, "SET statement_timeout = '100'", "SET SESSION max_statement_time = 0.1"),
      )
      const advice = /: the server cancelled the statement.*; the next request tries again\.$/
      await expectFailure(() => impatient.update(id, changing({ one: 1 })), advice, { id, within: 1_000 })
      await rival.run("ROLLBACK")
      expect(await impatient.update(id, changing({ one: 1 }))).toMatchObject({ version: 2 })
    })

    test("a deadlock in which the store is the victim: it tries again, and succeeds", async () => {
      const user = freshUser()
      const first = await put(store, user)
      // In another millisecond, so that the rows are locked in this order.
      await new Promise((resolve) => setTimeout(resolve, 5))
      const second = await put(store, user)
      // PostgreSQL lets him go on who looks last; InnoDB him who has changed more.
      const victim = engine === "postgres" ? await openStore("SET deadlock_timeout = '300'") : store
      if (engine === "postgres") await rival.run("SET deadlock_timeout = '10s'")
      const before = await deadlocks()
      await hold(second)
      await rival.run(`INSERT INTO ballast VALUES ${Array.from({ length: 100 }, () => "(1)").join(", ")}`)
      const ending = victim.deleteByUser(user, ended)
      await untilBusy(other, engine)
      await new Promise((resolve) => setTimeout(resolve, 50))
      const begin = performance.now()
      await rival.run(`UPDATE sessions SET version = version + 1 WHERE id = '${first}'`)
      if (engine === "postgres") expect(performance.now() - begin).toBeGreaterThan(100)
      await rival.run("COMMIT")
      expect(await ending).toBe(2)
      expect(await store.listByUser(user)).toEqual([])
      expect(await deadlocks()).toBe(before + of(engine, 0, 1))
      await expect(store.update(first, changing({ one: 1 }))).rejects.toThrow(UnknownIdError)
    })

    /** How many deadlocks InnoDB has counted. PostgreSQL tells too late; there he who waited has waited for one. */
    async function deadlocks(): Promise<number> {
      if (engine === "postgres") return 0
      const sql =
        "SELECT CAST(count AS CHAR) AS number FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
      return Number((await other.run(sql))[0]?.["number"])
    }

    beforeEach(() => rival.run("DROP TRIGGER IF EXISTS conflict " + of(engine, "ON sessions", "")))

    /** Makes the first writes fail as those do that the engine undoes because of others. */
    async function conflict(times: number): Promise<void> {
      if (engine === "postgres") {
        await rival.run("DROP SEQUENCE IF EXISTS tries; CREATE SEQUENCE tries")
        await rival.run(`CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('tries') <= ${times} THEN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'a conflict'; END IF;
          RETURN NEW; END $$`)
        await rival.run(
          "CREATE TRIGGER conflict BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION conflict()",
        )
      } else {
        await rival.run(`CREATE TRIGGER conflict BEFORE UPDATE ON sessions FOR EACH ROW BEGIN
          SET @tries = COALESCE(@tries, 0) + 1;
          IF @tries <= ${times} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'a conflict'; END IF; END`)
      }
    }

    /** One connection, for MySQL counts the tries in a variable of the connection. */
    async function openCounting(): Promise<{ store: SqlStore; tries(): Promise<number> }> {
      const made = await open(database, { size: 1 })
      opened.push(made)
      const tries = async (): Promise<number> => {
        const sql = of(
          engine,
          "SELECT last_value AS number FROM tries",
          "SELECT CAST(@tries AS CHAR) AS number",
        )
        return Number(((await made.run(sql)) as [{ number: string }])[0].number)
      }
      return { store: made.store(), tries }
    }

    test("a statement that the engine has undone three times is tried a fourth, and counts once", async () => {
      const counting = await openCounting()
      const user = freshUser()
      const id = await put(store, user)
      await conflict(3)
      expect(await counting.store.deleteByUser(user, ended)).toBe(1)
      expect(await counting.tries()).toBe(4)
      expect(await store.load(id)).toEqual({ ended: true })
    })

    test("a statement that the engine undoes each time fails after a bounded number of tries", async () => {
      const counting = await openCounting()
      const id = await put(store)
      await conflict(1_000_000)
      const advice = /: update failed: the engine has undone it \d+ times because of others\.$/
      const error = await expectFailure(() => counting.store.update(id, changing({ one: 1 })), advice, {
        id,
        within: 3_000,
      })
      expect((error.cause as Error).message).toMatch(/a conflict/)
      const tries = await counting.tries()
      expect(error.message).toContain(` ${tries} times`)
      expect(tries).toBeLessThanOrEqual(100)
      expect(await read(id)).toMatchObject({ version: 1 })
      expect(error).toBeInstanceOf(StoreError)
    })
  })
}

import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest"
import { DuplicateIdError, type SessionRecord, StoreError, UnknownIdError } from "coatcheck"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, type DatabaseFacts, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** Where something out of the ordinary would be somebody else's session, a lost change or a table that grows for ever. */

describeCorners("postgres", postgresDrivers["node-postgres"] as OpenClient)
describeCorners("mariadb", mysqlDrivers["mysql2"] as OpenClient)
describeCorners("mysql", mysqlDrivers["mysql2"] as OpenClient)

function describeCorners(engine: Engine, open: OpenClient): void {
  const isMysql = engine !== "postgres"

  describeOn(engine, "corners", () => {
    let facts: DatabaseFacts
    let drop: () => Promise<void>
    let client: Client
    let store: SqlStore

    beforeAll(async () => {
      ;({ drop, ...facts } = await freshDatabase(engine))
      client = await open(facts)
      store = client.store()
      await store.migrate()
    })
    afterEach(() => vi.restoreAllMocks())
    afterAll(async () => {
      await client.close()
      await drop()
    })

    test.runIf(isMysql)("a row's number that another session has takes nothing from it", async () => {
      const [alice, mallory, next] = [freshId(), freshId(), freshId()]
      await store.create(mallory, newRecord({ userId: "mallory" }))
      const [now, random] = [Date.now(), 0.123456]
      vi.spyOn(Date, "now").mockReturnValue(now)
      const numbers = vi.spyOn(Math, "random").mockReturnValue(random)
      await store.create(alice, newRecord({ userId: "alice", state: new Map([["card", "1"]]) }))
      // The same number three times, and then another.
      numbers
        .mockReturnValueOnce(random)
        .mockReturnValueOnce(random)
        .mockReturnValueOnce(random)
        .mockReturnValue(0.5)
      await store.changeId(mallory, next, move())
      expect(await store.load(alice)).toMatchObject({ userId: "alice", version: 1, state: { card: 1 } })
      expect(await store.load(next)).toMatchObject({ userId: "mallory", version: 2, state: {} })
      expect(await store.load(mallory)).toMatchObject({ movedTo: next })
      numbers.mockReturnValueOnce(random).mockReturnValue(0.6)
      const other = freshId()
      await store.create(other, newRecord({ userId: "bob" }))
      expect(await store.load(other)).toMatchObject({ userId: "bob" })
      expect(await store.load(alice)).toMatchObject({ userId: "alice" })
    })

    test.each(["é", "\0", "a b", "x".repeat(65), "", "日本"])("no session has the id %j", async (id) => {
      const user = freshUser()
      const real = freshId()
      await store.create(real, newRecord({ userId: user }))
      for (let count = 0; count < 3; count++) {
        if (isMysql || !id.includes("\0")) {
          expect(await store.load(id)).toBeUndefined()
          await expect(store.update(id, changing({ a: 1 }))).rejects.toThrow(UnknownIdError)
          await expect(store.updateTtl(id)).rejects.toThrow(UnknownIdError)
          await expect(store.delete(id, ended)).rejects.toThrow(UnknownIdError)
          await expect(store.changeId(id, freshId(), move())).rejects.toThrow(UnknownIdError)
          expect(await store.deleteByUser(freshUser(), { except: id })).toBe(0)
        }
      }
      expect(await store.deleteByUser(user)).toBe(1)
    })

    test("a change of 20,000 keys is merged like any other, and while others write", async () => {
      const id = freshId()
      await store.create(
        id,
        newRecord({
          state: new Map([
            ["kept", "1"],
            ["gone", "1"],
          ]),
        }),
      )
      const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`key-${index}`, index]))
      const large = store.update(id, changing(many, { remove: new Set(["gone"]) }))
      const small = Array.from({ length: 5 }, (_, index) =>
        store.update(id, changing({ [`small-${index}`]: 1 })),
      )
      await Promise.all([large, ...small])
      const record = (await store.load(id)) as SessionRecord
      expect(record.version).toBe(7)
      expect(Object.keys(record.state).length).toBe(20_006)
      expect(record.state).toMatchObject({ kept: 1, "key-19999": 19_999, "small-4": 1 })
      const next = freshId()
      await store.changeId(id, next, {
        ...move(),
        change: changing({}, { clear: { except: Object.keys(many).slice(0, 500) } }),
      })
      expect(Object.keys(((await store.load(next)) as SessionRecord).state).length).toBe(500)
    })

    test("one large value among many keys is sent once", async () => {
      const id = freshId()
      await store.create(id, newRecord())
      const set = Object.fromEntries(Array.from({ length: 32 }, (_, index) => [`key-${index}`, index]))
      await store.update(id, changing({ ...set, large: "x".repeat(1_000_000) }))
      expect(Object.keys(((await store.load(id)) as SessionRecord).state).length).toBe(33)
    })

    test("a sweep finds every expired row among many that live on, in one run", async () => {
      const sweeping = client.store({ table: "interleaved" })
      await sweeping.migrate()
      const [ttl, rows] = [1000 * HOUR, 6000]
      const later = Date.now() + ttl
      const values = Array.from({ length: rows }, (_, index) => {
        const deadline = index % 3 === 0 ? 1000 : later
        const numbered = isMysql ? `${index}, ` : ""
        return `(${numbered}'row-${index}', '{}', 1, 0, 0, ${later}, ${deadline}, ${1000 + index})`
      })
      await client.run(
        `INSERT INTO interleaved (${isMysql ? "row_id, " : ""}id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at) VALUES ${values.join(", ")}`,
      )
      expect(await sweeping.deleteExpired({ limit: 1500 })).toBe(1500)
      expect(await sweeping.deleteExpired({ limit: 1500 })).toBe(500)
      expect(await sweeping.deleteExpired({ limit: 1500 })).toBe(0)
      expect(await client.run("SELECT CAST(COUNT(*) AS CHAR(9)) AS count FROM interleaved")).toEqual([
        { count: expect.stringMatching(/^4000\s*$/) as string },
      ])
    })

    const unfit: Readonly<Record<string, readonly [object, readonly string[], RegExp]>> = {
      "whose character set is Latin 1": [{ charset: "latin1" }, [], /charset utf8mb4/],
      "whose character set lacks emojis": [{ charset: "UTF8_GENERAL_CI" }, [], /charset utf8mb4/],
      "that commits nothing by itself": [{}, ["SET autocommit = 0"], /autocommit on/],
    }
    for (const [what, [options, session, advice]] of Object.entries(unfit)) {
      test.runIf(isMysql)(`a connection ${what} is refused before anything is lost`, async () => {
        const bad = await open(facts, { options, session })
        for (const use of [
          () => bad.store().migrate(),
          () => bad.store().create(freshId(), newRecord()),
          () => bad.store().load("id"),
        ]) {
          const failure: unknown = await use().catch((error: unknown) => error)
          expect(failure).toBeInstanceOf(StoreError)
          expect((failure as Error).message).toMatch(advice)
        }
        await bad.close()
      })
    }

    test("an error shows no value, though it shows the statement", async () => {
      const bare = client.store({ table: "nowhere", prepare: false })
      const failure = (await bare
        .create(
          "an-id",
          newRecord({ userId: "alice@example.com", state: new Map([["password", '"hunter2"']]) }),
        )
        .catch((error: unknown) => error)) as StoreError
      expect(failure).toBeInstanceOf(StoreError)
      const { cause } = failure
      const shown = JSON.stringify({ ...(cause as object), message: (cause as Error).message })
      for (const secret of ["hunter2", "alice", "an-id"]) expect(shown).not.toContain(secret)
    })

    test("a duplicate is told as one, whatever the drivers make of it", async () => {
      const id = freshId()
      await store.create(id, newRecord())
      await expect(store.create(id, newRecord())).rejects.toThrow(DuplicateIdError)
      const other = freshId()
      await store.create(other, newRecord())
      await expect(store.changeId(other, id, move())).rejects.toThrow(DuplicateIdError)
    })
  })
}

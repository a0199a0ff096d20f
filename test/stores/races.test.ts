import { afterAll, beforeAll, expect, test } from "vitest"
import { DuplicateIdError } from "coatcheck"
import type { SqlStore } from "../../src/stores/shared-sql.ts"
import { changing, freshId, freshUser, HOUR, move, newRecord } from "../../src/testing/conformance/kit.ts"
import { describeOn, freshDatabase } from "../support/servers/databases.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** What the laws of the contract say of a few at once, with many, and under every isolation level. */

const CONNECTIONS = 20
const CREATORS = 200

const levels: Readonly<Record<string, string>> = {
  "READ COMMITTED": "read committed",
  "REPEATABLE READ": "repeatable read",
  SERIALIZABLE: "serializable",
}

for (const [level, value] of Object.entries(levels)) {
  const ofMysql = `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`
  describeRaces(
    "postgres",
    level,
    postgresDrivers["node-postgres"] as OpenClient,
    `SET default_transaction_isolation = '${value}'`,
  )
  describeRaces("mariadb", level, mysqlDrivers["mysql2"] as OpenClient, ofMysql)
  describeRaces("mysql", level, mysqlDrivers["mysql2"] as OpenClient, ofMysql)
}

function describeRaces(engine: Engine, level: string, open: OpenClient, session: string): void {
  describeOn(engine, `under ${level}`, () => {
    let client: Client
    let store: SqlStore
    let drop: () => Promise<void>

    beforeAll(async () => {
      const { drop: remove, ...facts } = await freshDatabase(engine)
      drop = remove
      client = await open(facts, { size: CONNECTIONS, session: [session] })
      store = client.store()
      await store.migrate()
    })
    afterAll(async () => {
      await client.close()
      await drop()
    })

    test("G6: of 200 creators on 20 connections one gets a new id, and the rest are refused", async () => {
      const id = freshId()
      const results = await createMany(id)
      expect(results.filter((result) => result === "created").length).toBe(1)
      expect(results.filter((result) => result instanceof DuplicateIdError).length).toBe(CREATORS - 1)
    })

    test("G6: of 200 creators on 20 connections one takes over an expired id", async () => {
      const id = freshId()
      await store.create(id, newRecord({ idleTtl: 1, state: new Map([["old", "1"]]) }))
      await new Promise((resolve) => setTimeout(resolve, 20))
      const results = await createMany(id)
      expect(results.filter((result) => result === "created").length).toBe(1)
      expect(results.filter((result) => result instanceof DuplicateIdError).length).toBe(CREATORS - 1)
      const record = await store.load(id)
      expect(record).toMatchObject({ version: 1 })
      expect(Object.keys((record as { state: object }).state)).toEqual(["new"])
    })

    test("G4: 200 updates of one session, each of a key of its own, all survive", async () => {
      const id = freshId()
      await store.create(id, newRecord())
      const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
      await Promise.all(keys.map((key) => store.update(id, changing({ [key]: key }))))
      const record = (await store.load(id)) as { state: object; version: number }
      expect(record.version).toBe(201)
      expect(Object.keys(record.state).toSorted()).toEqual(keys.toSorted())
    })

    test("G5: no rotation escapes a deletion by user, in 20 rounds of 10 sessions of which 5 rotate all the time", async () => {
      for (let count = 0; count < 20; count++) {
        const user = freshUser()
        const ids = Array.from({ length: 10 }, freshId)
        await Promise.all(ids.map((id) => store.create(id, newRecord({ userId: user }))))
        const turn = { isOver: false }
        const rotate = async (first: string): Promise<void> => {
          for (let id = first; !turn.isOver;) {
            const next = freshId()
            await store.changeId(id, next, move({ grace: HOUR }))
            id = next
          }
        }
        // Half of them: under REPEATABLE READ one that wins makes all that have looked before begin again.
        const rotations = ids.slice(5).map((id) => rotate(id).catch(() => "ended"))
        await new Promise((resolve) => setTimeout(resolve, 5 * Math.random()))
        expect(await store.deleteByUser(user, { tombstone: { ttl: HOUR } })).toBe(10)
        const left = await store.listByUser(user)
        turn.isOver = true
        await Promise.all(rotations)
        expect(left).toEqual([])
        expect(await store.listByUser(user)).toEqual([])
      }
    })

    test("of 20 rotations of one session at once one wins, in 20 rounds, and the others are told where it went", async () => {
      for (let count = 0; count < 20; count++) {
        const [user, id] = [freshUser(), freshId()]
        await store.create(id, newRecord({ userId: user }))
        const ids = Array.from({ length: CONNECTIONS }, freshId)
        const results = await Promise.allSettled(ids.map((next) => store.changeId(id, next, move())))
        const winners = ids.filter((_next, index) => results[index]?.status === "fulfilled")
        expect(winners.length).toBe(1)
        expect(await store.load(id)).toMatchObject({ movedTo: winners[0] })
        expect((await store.listByUser(user)).map((each) => each.id)).toEqual(winners)
        for (const result of results) {
          if (result.status === "rejected")
            expect(result.reason).toMatchObject({ gone: { movedTo: winners[0] } })
        }
      }
    })

    test("the one excepted survives a deletion by user, though it rotates all the time", async () => {
      for (let round = 0; round < 20; round++) {
        const user = freshUser()
        const [kept, ...others] = Array.from({ length: 5 }, freshId) as [string, ...string[]]
        await Promise.all([kept, ...others].map((id) => store.create(id, newRecord({ userId: user }))))
        const race = { id: kept, isOver: false }
        const rotate = async (): Promise<void> => {
          while (!race.isOver) {
            const next = freshId()
            await store.changeId(race.id, next, move())
            race.id = next
          }
        }
        const rotation = rotate()
        const except = race.id
        await new Promise((resolve) => setTimeout(resolve, 5 * Math.random()))
        expect(await store.deleteByUser(user, { except, tombstone: { ttl: HOUR } })).toBe(4)
        race.isOver = true
        await rotation
        expect((await store.listByUser(user)).map((each) => each.id)).toEqual([race.id])
      }
    })

    function createMany(id: string): Promise<unknown[]> {
      return Promise.all(
        Array.from({ length: CREATORS }, () =>
          store.create(id, newRecord({ state: new Map([["new", "1"]]) })).then(
            () => "created",
            (error: unknown) => error,
          ),
        ),
      )
    }
  })
}

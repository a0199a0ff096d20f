import { afterAll, beforeAll, expect, test } from "vitest"
import { createSessions, DuplicateIdError, type SessionRecord, UnknownIdError } from "coatcheck"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import type { Client } from "./redis-clients.ts"
import { describeOnRedis, openOn, type RedisEngine } from "./redis-engines.ts"

/** What the laws of the contract say of a few at once, with many, on several connections. */

const CREATORS = 200
const CONNECTIONS = 4

describeRaces("redis", "node-redis 6")
describeRaces("redis", "ioredis 5")
describeRaces("valkey", "node-redis 6")
describeRaces("cluster", "node-redis 6")
describeRaces("cluster", "ioredis 5")

function describeRaces(engine: RedisEngine, driver: string): void {
  describeOnRedis(engine, `races through ${driver}`, () => {
    const clients: Client[] = []
    let stores: readonly [SessionStore, SessionStore, ...SessionStore[]]
    let store: SessionStore

    beforeAll(async () => {
      for (let count = 0; count < CONNECTIONS; count++) clients.push(await openOn(engine, driver))
      stores = clients.map(({ client }) => redisStore(client)) as unknown as typeof stores
      store = stores[0]
    })
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()))
    })

    const each = (index: number): SessionStore => stores[index % CONNECTIONS] as SessionStore

    async function put(userId: string | null = null): Promise<string> {
      const id = freshId()
      await store.create(id, newRecord({ userId }))
      return id
    }

    test("G6: of 200 creators one gets a new id, and the rest are refused", async () => {
      const id = freshId()
      await expectOneCreator(id)
    })

    test("G6: of 200 creators one takes over an expired id", async () => {
      const id = freshId()
      await store.create(id, newRecord({ idleTtl: 1, state: new Map([["old", "1"]]) }))
      await new Promise((resolve) => setTimeout(resolve, 20))
      await expectOneCreator(id)
      const record = await store.load(id)
      expect(record).toMatchObject({ version: 1, state: { new: 1 } })
    })

    async function expectOneCreator(id: string): Promise<void> {
      const record = newRecord({ state: new Map([["new", "1"]]) })
      const results = await Promise.allSettled(
        Array.from({ length: CREATORS }, (_, index) => each(index).create(id, record)),
      )
      const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []))
      expect(errors.length).toBe(CREATORS - 1)
      for (const error of errors) expect(error).toBeInstanceOf(DuplicateIdError)
    }

    test("G4: 200 updates of one session, each of a key of its own, all survive", async () => {
      const id = await put()
      const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
      await Promise.all(keys.map((key, index) => each(index).update(id, changing({ [key]: key }))))
      const record = (await store.load(id)) as SessionRecord
      expect(record.version).toBe(201)
      expect(Object.keys(record.state).toSorted()).toEqual(keys.toSorted())
    })

    test("G4: 50 updates at once with rotations amid all survive, in 5 rounds", async () => {
      for (let round = 0; round < 5; round++) {
        const first = await put()
        const race = { isOver: false, rotations: 0 }
        const rotate = async (): Promise<string> => {
          let id = first
          while (!race.isOver) {
            const next = freshId()
            await each(0).changeId(id, next, { ...move({ grace: HOUR }), change: changing({ [next]: true }) })
            race.rotations += 1
            id = next
            // Whoever follows takes as long for each hop.
            await new Promise((resolve) => setTimeout(resolve, 2))
          }
          return id
        }
        const update = async (index: number): Promise<void> => {
          for (let id = first; ;) {
            try {
              await each(1 + index).update(id, changing({ [`key-${index}`]: index }))
              return
            } catch (error) {
              const gone = (error as UnknownIdError).gone
              if (!(error instanceof UnknownIdError) || gone === undefined || !("movedTo" in gone))
                throw error
              id = gone.movedTo
            }
          }
        }
        const rotating = rotate()
        await Promise.all(Array.from({ length: 50 }, (_, index) => update(index)))
        race.isOver = true
        const last = await rotating
        const { state, version } = (await store.load(last)) as SessionRecord
        expect(race.rotations).toBeGreaterThan(0)
        expect(Object.keys(state).length).toBe(50 + race.rotations)
        expect(version).toBe(1 + 50 + race.rotations)
      }
    })

    test("G4: every key and every count of requests at once, on a session that rotates with grace amid, is there", async () => {
      const sessions = stores.map((one) =>
        createSessions({
          store: one,
          keys: ["a key for tests, long enough: 32 bytes"],
          storeTimeout: "20s",
        }),
      )
      const session = sessions[0]!.open(undefined)
      session.set("count", 0)
      const cookies = [((await session.finalize()).setCookie as string).split(";")[0] as string]
      const REQUESTS = 40
      await Promise.all(
        Array.from({ length: REQUESTS }, async (_, index) => {
          const request = sessions[index % CONNECTIONS]!.open(cookies[0])
          if (index === 10 || index === 20) request.cycleId({ grace: "30s" })
          request.set(`key-${index}`, index)
          await request.transact((state) => state.set("count", (state.get("count") as number) + 1))
          const { setCookie } = await request.finalize()
          if (setCookie !== undefined) cookies.push(setCookie.split(";")[0] as string)
        }),
      )
      // Of the two rotations one has won, and its ticket is the newest.
      expect(cookies.length).toBeGreaterThan(1)
      const last = sessions[1]!.open(cookies.at(-1))
      expect(await last.get("count")).toBe(REQUESTS)
      expect((await last.keys()).length).toBe(1 + REQUESTS)
    })

    test("of 20 rotations of one session at once one wins, in 20 rounds, and the others are told where it went", async () => {
      for (let count = 0; count < 20; count++) {
        const user = freshUser()
        const id = await put(user)
        const ids = Array.from({ length: 20 }, freshId)
        const results = await Promise.allSettled(
          ids.map((next, index) => each(index).changeId(id, next, move())),
        )
        const winners = ids.filter((_next, index) => results[index]?.status === "fulfilled")
        expect(winners.length).toBe(1)
        expect(await store.load(id)).toMatchObject({ movedTo: winners[0] })
        expect((await store.listByUser(user)).map((one) => one.id)).toEqual(winners)
        for (const result of results) {
          if (result.status === "rejected")
            expect(result.reason).toMatchObject({
              code: "ERR_SESSION_UNKNOWN_ID",
              gone: { movedTo: winners[0] },
            })
        }
        for (const next of ids) {
          if (!winners.includes(next)) expect(await store.load(next)).toBeUndefined()
        }
      }
    })

    test.each([ended, {}])(
      "G5: no rotation escapes a deletion by user with %o, in 20 rounds of 10 sessions that rotate all the time",
      async (how) => {
        for (let count = 0; count < 20; count++) {
          const user = freshUser()
          const ids = await Promise.all(Array.from({ length: 10 }, () => put(user)))
          const turn = { isOver: false }
          const rotate = async (first: string, index: number): Promise<string[]> => {
            const hops = [first]
            try {
              for (let id = first; !turn.isOver;) {
                const next = freshId()
                hops.push(next)
                await each(index).changeId(id, next, move({ grace: HOUR }))
                id = next
              }
            } catch (error) {
              expect(error).toBeInstanceOf(UnknownIdError)
            }
            return hops
          }
          const rotations = ids.map(rotate)
          await new Promise((resolve) => setTimeout(resolve, 10 * Math.random()))
          expect(await each(count).deleteByUser(user, how)).toBe(10)
          const left = await store.listByUser(user)
          turn.isOver = true
          const hops = (await Promise.all(rotations)).flatMap((all) => all.slice(-3))
          expect(left).toEqual([])
          expect(await store.listByUser(user)).toEqual([])
          for (const id of hops) expect((await store.load(id)) ?? {}).not.toHaveProperty("state")
        }
      },
    )

    test("the one excepted survives a deletion by user, though it rotates all the time, in 20 rounds", async () => {
      for (let round = 0; round < 20; round++) {
        const user = freshUser()
        const [kept, ...others] = (await Promise.all(Array.from({ length: 5 }, () => put(user)))) as [string]
        const race = { id: kept, isOver: false }
        const rotate = async (): Promise<void> => {
          while (!race.isOver) {
            const next = freshId()
            await each(1).changeId(race.id, next, move())
            race.id = next
          }
        }
        const rotation = rotate()
        // An id that it has had some hops ago, and the newest.
        await new Promise((resolve) => setTimeout(resolve, 5 * Math.random()))
        const except = round % 2 === 0 ? kept : race.id
        await new Promise((resolve) => setTimeout(resolve, 5 * Math.random()))
        expect(await store.deleteByUser(user, { except, ...ended })).toBe(others.length)
        race.isOver = true
        await rotation
        expect((await store.listByUser(user)).map((one) => one.id)).toEqual([race.id])
      }
    })

    test("sign-ins and sign-outs of one session at once leave the index as the session says, in 20 rounds", async () => {
      for (let round = 0; round < 20; round++) {
        const users = [freshUser(), freshUser()] as const
        const id = await put(users[0])
        await Promise.all(
          [...users, null, ...users, null].map((userId, index) => {
            const user = { userId, label: null, absoluteTtl: index % 2 === 0 ? HOUR : null }
            return each(index).update(id, changing({}, { user }))
          }),
        )
        const { userId } = (await store.load(id)) as SessionRecord
        for (const user of users) {
          expect((await store.listByUser(user)).map((one) => one.id)).toEqual(user === userId ? [id] : [])
        }
      }
    })

    test("a list of sessions that rotate all the time names each of them once", async () => {
      const user = freshUser()
      const ids = await Promise.all(Array.from({ length: 5 }, () => put(user)))
      const race = { isOver: false }
      const rotations = ids.map(async (first, index) => {
        for (let id = first; !race.isOver;) {
          const next = freshId()
          await each(index).changeId(id, next, move())
          id = next
        }
      })
      const lengths: number[] = []
      for (let round = 0; round < 40; round++) lengths.push((await store.listByUser(user)).length)
      race.isOver = true
      await Promise.all(rotations)
      expect((await store.listByUser(user)).length).toBe(5)
      expect(new Set(lengths)).toEqual(new Set([5]))
    })
  })
}

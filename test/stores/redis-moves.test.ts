import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type SessionRecord, UnknownIdError } from "coatcheck"
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
import { Died, type Mortal, mortal } from "./redis-crashes.ts"
import { describeOnRedis, openOn, portsOf, teachScripts } from "./redis-engines.ts"

/**
 * A session that moves from one node of a cluster to another, in steps: reading, entering the new id into the user's index, laying the session
 * down under the new id, declaring it moved, finishing it there, and taking the old id out of the index. Whoever moves it may stop after any of them.
 */

const STEPS = ["nothing", "reading", "entering", "laying down", "declaring", "finishing"] as const
/** From here on it has moved. */
const DECLARED = STEPS.indexOf("declaring")
const after = STEPS.map((step, index) => ({ step, index }))

for (const driver of ["node-redis 6", "ioredis 5"]) {
  describeOnRedis("cluster", `moves through ${driver}`, () => {
    const clients: Client[] = []
    let store: SessionStore
    let mover: Mortal
    let moving: SessionStore

    beforeAll(async () => {
      await teachScripts(portsOf("cluster"))
      clients.push(await openOn("cluster", driver), await openOn("cluster", driver))
      store = redisStore(clients[0]!.client)
    })
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()))
    })

    function newMover(): void {
      mover = mortal(clients[1]!.client)
      moving = redisStore(mover.client)
    }

    /** A session, and its mover. */
    async function given(): Promise<{ user: string; id: string; next: string }> {
      newMover()
      const [user, id, next] = [freshUser(), freshId(), freshId()]
      await store.create(id, newRecord({ userId: user, state: new Map([["kept", "1"]]) }))
      return { user, id, next }
    }

    const options = { ...move({ grace: HOUR }), change: changing({ moved: 1 }) }

    /** Moves a session, and dies after so many steps. */
    async function die(steps: number, id: string, next: string): Promise<void> {
      mover.dieAfter(steps)
      const outcome = moving.changeId(id, next, options)
      // That the index holds one too many is no failure.
      if (STEPS[steps] === "finishing") await outcome
      else await expect(outcome).rejects.toThrow(Died)
    }

    async function isAlive(id: string): Promise<boolean> {
      const found = await store.load(id)
      return found !== undefined && "state" in found
    }

    test("it takes six commands", async () => {
      const { id, next } = await given()
      await moving.changeId(id, next, options)
      expect(mover.sent()).toBe(STEPS.length)
    })

    describe.each(after)("who moves it dies after $step", ({ index }) => {
      const hasMoved = index >= DECLARED
      const place = ({ id, next }: { id: string; next: string }): string => (hasMoved ? next : id)
      const state = hasMoved ? { kept: 1, moved: 1 } : { kept: 1 }
      const version = hasMoved ? 2 : 1

      test("it is where it was, or where it has moved, and nowhere else", async () => {
        const it = await given()
        await die(index, it.id, it.next)
        expect(await store.load(place(it))).toMatchObject({ state, version, userId: it.user })
        if (hasMoved)
          expect(await store.load(it.id)).toMatchObject({ movedTo: it.next, privilegeChanged: false })
        else expect(await store.load(it.next)).toBeUndefined()
        const elsewhere = hasMoved ? it.id : it.next
        for (const write of [
          () => store.update(elsewhere, changing({ lost: 1 })),
          () => store.updateTtl(elsewhere),
          () => store.changeId(elsewhere, freshId(), move()),
        ])
          await expect(write()).rejects.toThrow(UnknownIdError)
        expect(await store.load(place(it))).toMatchObject({ state, version })
      })

      /** What the first does who meets it, and what is there then. */
      const visits: Record<
        string,
        (it: { user: string; id: string; next: string }, place: string) => Promise<void>
      > = {
        update: async (_it, id) => {
          expect(await store.update(id, changing({ more: 1 }))).toMatchObject({ version: version + 1 })
          expect(await store.load(id)).toMatchObject({ state: { ...state, more: 1 } })
        },
        "update of a version": async (_it, id) => {
          await store.update(id, changing({ more: 1 }), { ifVersion: version })
          expect(await store.load(id)).toMatchObject({ state: { ...state, more: 1 } })
        },
        updateTtl: async (_it, id) => {
          expect(await store.updateTtl(id)).toMatchObject({ version })
          expect(await store.load(id)).toMatchObject({ state })
        },
        changeId: async ({ user }, id) => {
          const last = freshId()
          await store.changeId(id, last, { ...move(), change: changing({ more: 1 }) })
          expect(await store.load(last)).toMatchObject({ state: { ...state, more: 1 }, version: version + 1 })
          expect((await store.listByUser(user)).map((each) => each.id)).toEqual([last])
        },
        "a sign-in": async ({ user }, id) => {
          const other = freshUser()
          const change = changing({}, { user: { userId: other, label: null, absoluteTtl: null } })
          await store.update(id, change)
          expect(await store.listByUser(user)).toEqual([])
          expect((await store.listByUser(other)).map((each) => each.id)).toEqual([id])
        },
        delete: async ({ id: old, next, user }, id) => {
          await store.delete(id)
          expect([await isAlive(old), await isAlive(next)]).toEqual([false, false])
          expect(await store.listByUser(user)).toEqual([])
        },
        "delete by the old id": async ({ id: old, next, user }) => {
          await store.delete(old, ended)
          expect([await isAlive(old), await isAlive(next)]).toEqual([false, false])
          expect(await store.listByUser(user)).toEqual([])
        },
        listByUser: async ({ user }, id) => {
          expect(await store.listByUser(user)).toMatchObject([{ id }])
        },
        deleteByUser: async ({ user, id: old, next }) => {
          expect(await store.deleteByUser(user, ended)).toBe(1)
          expect([await isAlive(old), await isAlive(next)]).toEqual([false, false])
          expect(await store.listByUser(user)).toEqual([])
        },
        "deleteByUser without tombstones": async ({ user, id: old, next }) => {
          expect(await store.deleteByUser(user)).toBe(1)
          expect([await isAlive(old), await isAlive(next)]).toEqual([false, false])
        },
        "deleteByUser but for the old id": async ({ user, id: old }, id) => {
          expect(await store.deleteByUser(user, { ...ended, except: old })).toBe(0)
          expect(await store.load(id)).toMatchObject({ state })
          expect(await store.listByUser(user)).toMatchObject([{ id }])
        },
        "deleteByUser but for where it is": async ({ user }, id) => {
          expect(await store.deleteByUser(user, { ...ended, except: id })).toBe(0)
          expect(await store.listByUser(user)).toMatchObject([{ id }])
        },
      }
      test.each(Object.keys(visits))("the next one who comes: %s", async (visit) => {
        const it = await given()
        await die(index, it.id, it.next)
        await visits[visit]!(it, place(it))
      })
    })

    describe.each(after.slice(1))("who moves it is held up after $step", ({ index }) => {
      const hasMoved = index >= DECLARED

      async function hold(): Promise<{ user: string; id: string; next: string; outcome: Promise<unknown> }> {
        const it = await given()
        const held = mover.holdAfter(index)
        const outcome = moving.changeId(it.id, it.next, options).catch((error: unknown) => error)
        await held
        return { ...it, outcome }
      }

      const revocations: Record<string, (it: { user: string; id: string }) => Promise<unknown>> = {
        delete: ({ id }) => store.delete(id, ended),
        deleteByUser: ({ user }) => store.deleteByUser(user, ended),
        "deleteByUser without tombstones": ({ user }) => store.deleteByUser(user),
      }
      test.each(Object.keys(revocations))("G5: %s wins, and nothing brings it back", async (revocation) => {
        const it = await hold()
        await revocations[revocation]!(it)
        expect([await isAlive(it.id), await isAlive(it.next)]).toEqual([false, false])
        mover.resume()
        const outcome = await it.outcome
        if (!hasMoved) expect(outcome).toBeInstanceOf(UnknownIdError)
        expect([await isAlive(it.id), await isAlive(it.next)]).toEqual([false, false])
        await expect(store.update(it.next, changing({ late: 1 }))).rejects.toThrow(UnknownIdError)
        await expect(store.updateTtl(it.id)).rejects.toThrow(UnknownIdError)
        expect(await store.listByUser(it.user)).toEqual([])
      })

      test("G4: what is written meanwhile is there in the end", async () => {
        const it = await hold()
        const seen = await store.update(hasMoved ? it.next : it.id, changing({ meanwhile: 1 }))
        mover.resume()
        expect(await it.outcome).toMatchObject({ version: hasMoved ? 2 : seen.version + 1 })
        expect(await store.load(it.next)).toMatchObject({
          state: { kept: 1, moved: 1, meanwhile: 1 },
          version: 3,
        })
      })

      test("a touch meanwhile is not undone", async () => {
        const it = await hold()
        await new Promise((resolve) => setTimeout(resolve, 30))
        const place = hasMoved ? it.next : it.id
        await store.updateTtl(place)
        const touched = (await store.load(place)) as SessionRecord
        mover.resume()
        await it.outcome
        const moved = (await store.load(it.next)) as SessionRecord
        expect(moved.lastSeenAt.getTime()).toBeGreaterThanOrEqual(touched.lastSeenAt.getTime())
      })

      test("the sign-in of another user meanwhile is not undone", async () => {
        const it = await hold()
        const other = freshUser()
        const user = { userId: other, label: "other", absoluteTtl: HOUR }
        await store.update(hasMoved ? it.next : it.id, changing({}, { user }))
        mover.resume()
        await it.outcome
        expect(await store.load(it.next)).toMatchObject({ userId: other, label: "other" })
        expect(await store.listByUser(it.user)).toEqual([])
        expect(await store.listByUser(other)).toMatchObject([{ id: it.next }])
      })

      test("of another mover one wins, and the other is told where it went", async () => {
        const it = await hold()
        const third = freshId()
        const other = await store.changeId(it.id, third, move()).catch((error: unknown) => error)
        mover.resume()
        const outcome = await it.outcome
        const [winner, loser] = hasMoved ? [it.next, other] : [third, outcome]
        expect(loser).toBeInstanceOf(UnknownIdError)
        expect(loser).toMatchObject({ gone: { movedTo: winner } })
        expect((await store.listByUser(it.user)).map((each) => each.id)).toEqual([winner])
        expect(await isAlive(hasMoved ? third : it.next)).toBe(false)
      })
    })

    test("at no instant both ids work, nor does the session vanish", async () => {
      for (let round = 0; round < 5; round++) {
        const { user, id, next } = await given()
        const race = { isOver: false }
        const watch = async (): Promise<void> => {
          while (!race.isOver) {
            // The new one first: were it alive, the old one could not be.
            const isThere = await isAlive(next)
            const wasThere = await isAlive(id)
            expect(isThere && wasThere).toBe(false)
          }
        }
        const search = async (): Promise<void> => {
          while (!race.isOver) {
            // The old one first: were it gone, the new one must be there.
            const wasThere = await isAlive(id)
            if (!wasThere) expect(await isAlive(next)).toBe(true)
          }
        }
        const write = async (): Promise<void> => {
          while (!race.isOver) {
            const tries = [next, id].map(
              (each) => () =>
                store.updateTtl(each).then(
                  () => true,
                  () => false,
                ),
            )
            const isThere = await tries[0]!()
            const wasThere = await tries[1]!()
            expect(isThere && wasThere).toBe(false)
            // Or a touch would come between all the time.
            await new Promise((resolve) => setTimeout(resolve, 5))
          }
        }
        const watching = Promise.all([watch(), search(), write()]).finally(() => (race.isOver = true))
        try {
          mover.slowDown(3)
          await moving.changeId(id, next, options)
        } finally {
          race.isOver = true
        }
        await watching
        expect(await store.listByUser(user)).toMatchObject([{ id: next }])
      }
    })
  })
}

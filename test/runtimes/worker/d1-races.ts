import type { OpenStore, StoreCase } from "coatcheck/testing"
import { DuplicateIdError, type SessionRecord, type SessionStore, UnknownIdError } from "coatcheck"
import {
  changing,
  expectEqual,
  expectTrue,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
  outcomes,
} from "../../../src/testing/conformance/kit.ts"

/** What the laws of the contract say of a few at once, with many. */
export function d1Cases(open: OpenStore): StoreCase[] {
  return Object.entries(RACES).map(([name, race]) => ({
    name,
    run: async () => {
      const harness = await open()
      const other = (await harness.connect?.()) ?? harness.store
      await race([harness.store, other])
      await harness.close()
    },
  }))
}

type Stores = readonly [SessionStore, SessionStore]

const RACES: Readonly<Record<string, (stores: Stores) => Promise<void>>> = {
  "G6: of 200 creators one gets a new id, and the rest are refused": async (stores) => {
    const id = freshId()
    await expectOneCreator(stores, id)
  },

  "G6: of 200 creators one takes over an expired id": async (stores) => {
    const id = freshId()
    await stores[0].create(id, newRecord({ idleTtl: 1, state: new Map([["old", "1"]]) }))
    await sleep(20)
    await expectOneCreator(stores, id)
    const { state, version } = await recordOf(stores[1], id)
    expectEqual([Object.keys(state), version], [["new"], 1])
  },

  "G4: 200 updates of one session, each of a key of its own, all survive": async (stores) => {
    const id = freshId()
    await stores[0].create(id, newRecord())
    const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
    await Promise.all(
      keys.map((key, index) => stores[index % 2 ? 1 : 0].update(id, changing({ [key]: index }))),
    )
    const { state, version } = await recordOf(stores[0], id)
    expectEqual([version, Object.keys(state).toSorted()], [201, keys.toSorted()])
  },

  "G4: 50 counters that each write with the version they have read count up to 50": async ([one, two]) => {
    const id = freshId()
    await one.create(id, newRecord({ state: new Map([["count", "0"]]) }))
    const countUp = async (store: SessionStore): Promise<void> => {
      for (;;) {
        const { state, version } = await recordOf(store, id)
        const change = changing({ count: (state["count"] as number) + 1 })
        const isDone = await store.update(id, change, { ifVersion: version }).then(
          () => true,
          () => false,
        )
        if (isDone) return
      }
    }
    await Promise.all(Array.from({ length: 50 }, (_, index) => countUp(index % 2 ? one : two)))
    expectEqual((await recordOf(one, id)).state["count"], 50)
  },

  "G5: no rotation escapes a deletion by user, in 20 rounds of 10 sessions that rotate all the time": async ([
    one,
    two,
  ]) => {
    for (let round = 0; round < 20; round++) {
      const user = freshUser()
      const ids = Array.from({ length: 10 }, freshId)
      await Promise.all(ids.map((id) => one.create(id, newRecord({ userId: user }))))
      const race = rotating(one, ids, 2 * round)
      await race.isUnderWay
      expectEqual(await two.deleteByUser(user, { tombstone: { ttl: HOUR } }), 10, "how many were ended")
      expectEqual(await two.listByUser(user), [], "right after it resolved")
      for (const end of await race.stop()) {
        expectTrue(end === "stopped" || end instanceof UnknownIdError, "each rotation to be told")
      }
      expectEqual(await one.listByUser(user), [], "when all have come to an end")
    }
  },

  "of 20 rotations of one session at once one wins, in 20 rounds, and the others are told where it went":
    async ([one, two]) => {
      for (let round = 0; round < 20; round++) {
        const [user, id] = [freshUser(), freshId()]
        await one.create(id, newRecord({ userId: user }))
        const ids = Array.from({ length: 20 }, freshId)
        const results = await Promise.allSettled(
          ids.map((next, index) => (index % 2 ? one : two).changeId(id, next, move())),
        )
        const winners = ids.filter((_next, index) => results[index]?.status === "fulfilled")
        expectEqual(winners.length, 1, "winners")
        expectEqual(
          (await one.listByUser(user)).map((each) => each.id),
          winners,
        )
        for (const error of outcomes(results).rejected) {
          expectEqual((error as { gone?: { movedTo?: string } }).gone?.movedTo, winners[0], "where it went")
        }
      }
    },

  "the one excepted survives a deletion by user, though it rotates all the time": async ([one, two]) => {
    for (let round = 0; round < 20; round++) {
      const user = freshUser()
      const [kept, ...others] = Array.from({ length: 5 }, freshId) as [string, ...string[]]
      await Promise.all([kept, ...others].map((id) => one.create(id, newRecord({ userId: user }))))
      const race = rotating(one, [kept], round % 5)
      await race.isUnderWay
      const [except] = race.ids as [string]
      expectEqual(await two.deleteByUser(user, { except, tombstone: { ttl: HOUR } }), 4)
      expectEqual(await race.stop(), ["stopped"])
      expectEqual(
        (await two.listByUser(user)).map((each) => each.id),
        race.ids,
      )
    }
  },

  "several sweeps at once remove each of 3000 rows once, while sessions go on": async ([one, two]) => {
    const live = freshId()
    await one.create(live, newRecord())
    const expired = Array.from({ length: 3000 }, freshId)
    while (expired.length > 0) {
      await Promise.all(expired.splice(0, 100).map((id) => one.create(id, newRecord({ idleTtl: 1 }))))
    }
    await sleep(20)
    const turn = { isOver: false, count: 0 }
    const writing = (async () => {
      for (; !turn.isOver; turn.count++) await two.update(live, changing({ count: turn.count }))
    })()
    const sweep = async (store: SessionStore): Promise<number> => {
      let total = 0
      for (let count = -1; count !== 0; total += count) count = await store.deleteExpired({ limit: 500 })
      return total
    }
    const totals = await Promise.all([sweep(one), sweep(two), sweep(one)])
    turn.isOver = true
    await writing
    expectEqual(
      totals.reduce((sum, count) => sum + count),
      3000,
    )
    expectEqual((await recordOf(one, live)).state, { count: turn.count - 1 })
  },

  "a change of 20,000 keys is merged like any other, and while others write": async ([one, two]) => {
    const id = freshId()
    await one.create(
      id,
      newRecord({
        state: new Map([
          ["kept", "1"],
          ["gone", "1"],
        ]),
      }),
    )
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`key-${index}`, index]))
    const small = Array.from({ length: 5 }, (_, index) =>
      two.update(id, changing({ [`small-${index}`]: index + 0.1 })),
    )
    await Promise.all([one.update(id, changing(many, { remove: new Set(["gone"]) })), ...small])
    const { state, version } = await recordOf(one, id)
    expectEqual(version, 7)
    expectEqual(state, {
      ...many,
      kept: 1,
      ...Object.fromEntries(small.map((_, index) => [`small-${index}`, index + 0.1])),
    })
    const [next, except] = [freshId(), Object.keys(many).slice(0, 500)]
    await one.changeId(id, next, { ...move(), change: changing({}, { clear: { except } }) })
    expectEqual(Object.keys((await recordOf(two, next)).state).toSorted(), except.toSorted())
  },
}

/**
 * Rotates sessions again and again. No timer says when it is under way: workerd lets none fire while there is something to do.
 * @param count how many rotations that is
 */
function rotating(
  store: SessionStore,
  firstIds: readonly string[],
  count: number,
): { ids: string[]; isUnderWay: Promise<void>; stop: () => Promise<unknown[]> } {
  const ids = [...firstIds]
  const under = Promise.withResolvers<void>()
  const turn = { isOver: false, left: count }
  const rotate = async (index: number): Promise<"stopped"> => {
    while (!turn.isOver) {
      if (turn.left-- <= 0) under.resolve()
      const next = freshId()
      await store.changeId(ids[index] as string, next, move({ grace: HOUR }))
      ids[index] = next
    }
    return "stopped"
  }
  const rotations = ids.map((_id, index) => rotate(index).catch((error: unknown) => error))
  return {
    ids,
    isUnderWay: under.promise,
    stop: () => {
      turn.isOver = true
      return Promise.all(rotations)
    },
  }
}

async function expectOneCreator(stores: Stores, id: string): Promise<void> {
  const state = new Map([["new", "1"]])
  const { resolved, rejected } = outcomes(
    await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) => stores[index % 2 ? 1 : 0].create(id, newRecord({ state }))),
    ),
  )
  expectEqual(resolved, 1, "winners")
  expectTrue(
    rejected.every((error) => error instanceof DuplicateIdError),
    "the others to be told that the id is taken",
  )
}

async function recordOf(store: SessionStore, id: string): Promise<SessionRecord> {
  const found = await store.load(id)
  if (found === undefined || !("state" in found)) throw new Error("the session is gone")
  return found
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

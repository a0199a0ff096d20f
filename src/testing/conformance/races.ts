import { DuplicateIdError, UnknownIdError, VersionConflictError } from "../../errors.ts"
import type { SessionStore } from "../../store.ts"
import {
  changing,
  ended,
  expectEqual,
  expectTrue,
  freshId,
  freshUser,
  type Law,
  type LawContext,
  move,
  newRecord,
  outcomes,
  swept,
  texts,
} from "./kit.ts"

const ROUNDS = 20

/** The connections a race is run on: the second one in turn with the first, where there is one that the store is a match for. */
async function connections({ store, connect, isExact }: LawContext): Promise<SessionStore[]> {
  return connect === undefined || !isExact ? [store] : [store, await connect()]
}

/** Starts one task for each of `count` racers at once, on the connections in turn. */
async function race<T>(
  context: LawContext,
  count: number,
  task: (store: SessionStore, racer: number) => Promise<T>,
): Promise<PromiseSettledResult<T>[]> {
  const stores = await connections(context)
  return Promise.allSettled(
    Array.from({ length: count }, (_, racer) => task(stores[racer % stores.length] as SessionStore, racer)),
  )
}

/** Both orders of starting, many times. */
async function rounds(run: (swapped: boolean) => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) await run(round % 2 === 1)
}

async function settle(
  tasks: readonly (() => Promise<unknown>)[],
  swapped: boolean,
): Promise<PromiseSettledResult<unknown>[]> {
  const ordered = swapped ? tasks.toReversed() : tasks
  const results = await Promise.allSettled(ordered.map((task) => task()))
  return swapped ? results.toReversed() : results
}

function expectOnly(
  rejected: readonly unknown[],
  ...types: (abstract new (...input: never[]) => Error)[]
): void {
  for (const error of rejected) {
    expectTrue(
      types.some((type) => error instanceof type),
      `only ${types.map(({ name }) => name).join(" or ")}, not ${String(error)}`,
    )
  }
}

/** G4 to G6: what holds when requests race. */
export const raceLaws: readonly Law[] = [
  {
    name: "create: of many at once under one id, one wins",
    needs: "checksIds",
    run: async (context) => {
      for (let round = 0; round < 5; round++) {
        const id = freshId()
        const results = await race(context, 20, (store, racer) =>
          store.create(id, newRecord({ state: texts([["racer", racer]]) })),
        )
        const { resolved, rejected } = outcomes(results)
        expectEqual(resolved, 1, "winners")
        expectOnly(rejected, DuplicateIdError)
        const winner = results.findIndex(({ status }) => status === "fulfilled")
        expectEqual((await context.read(id)).state, { racer: winner })
      }
    },
  },
  {
    name: "create: of many at once under an expired id, one takes over",
    needs: "checksIds",
    run: async (context) => {
      const id = await context.put({ idleTtl: 1000 })
      await context.advance(1001)
      const results = await race(context, 20, (store, racer) =>
        store.create(id, newRecord({ state: texts([["racer", racer]]) })),
      )
      expectEqual(outcomes(results).resolved, 1, "winners")
    },
  },
  {
    name: "G4: concurrent updates of different keys all survive",
    needs: "merge",
    run: async (context) => {
      const id = await context.put({ state: texts([["first", true]]) })
      const results = await race(context, 50, (store, racer) =>
        store.update(id, changing({ [`key ${racer}`]: racer })),
      )
      expectEqual(outcomes(results).resolved, 50, "updates")
      const { state, version } = await context.read(id)
      expectEqual(Object.keys(state).length, 51, "keys")
      expectEqual(version, 51, "version")
    },
  },
  {
    name: "G4: concurrent updates of one key leave one of the values whole",
    needs: "merge",
    run: async (context) => {
      const id = await context.put()
      await race(context, 20, (store, racer) => store.update(id, changing({ key: { racer, twice: racer } })))
      const { racer, twice } = (await context.read(id)).state["key"] as { racer: number; twice: number }
      expectTrue(racer === twice, "one writer's value")
    },
  },
  {
    name: "G4: an update that sets and one that removes another key both survive",
    needs: "merge",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const id = await context.put({ state: texts([["old", 1]]) })
        await settle(
          [
            () => one.update(id, changing({ fresh: 1 })),
            () => two.update(id, { set: new Map(), remove: new Set(["old"]) }),
          ],
          swapped,
        )
        expectEqual((await context.read(id)).state, { fresh: 1 })
      })
    },
  },
  {
    name: "G4: of many writers with one version, one wins, and a retry for each counts them all",
    needs: "compareAndSet",
    run: async (context) => {
      const id = await context.put({ state: texts([["count", 0]]) })
      let conflicts = 0
      await race(context, 10, async (store) => {
        for (let attempt = 0; attempt < 1000; attempt++) {
          const found = await store.load(id)
          if (found === undefined || !("state" in found)) throw new Error("the record is gone")
          const count = (found.state["count"] as number) + 1
          try {
            return await store.update(id, changing({ count }), { ifVersion: found.version })
          } catch (error) {
            if (!(error instanceof VersionConflictError)) throw error
            conflicts += 1
          }
        }
        throw new Error("the version is never right")
      })
      const { state, version } = await context.read(id)
      expectEqual([state["count"], version], [10, 11])
      expectTrue(conflicts >= 0, "conflicts to be counted")
    },
  },
  {
    name: "G4: of two writers with the same version exactly one is refused",
    needs: "compareAndSet",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const id = await context.put()
        const results = await settle(
          [
            () => one.update(id, changing({ one: 1 }), { ifVersion: 1 }),
            () => two.update(id, changing({ two: 2 }), { ifVersion: 1 }),
          ],
          swapped,
        )
        expectEqual(outcomes(results).resolved, 1, "winners")
        expectOnly(outcomes(results).rejected, VersionConflictError)
      })
    },
  },
  {
    name: "changeId: of two rotations one wins, the other is told",
    needs: "atomicRotation",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const [id, first, second] = [await context.put({ state: texts([["a", 1]]) }), freshId(), freshId()]
        const results = await settle(
          [() => one.changeId(id, first, move()), () => two.changeId(id, second, move())],
          swapped,
        )
        expectEqual(outcomes(results).resolved, 1, "winners")
        expectOnly(outcomes(results).rejected, UnknownIdError)
        const winner = results[0]?.status === "fulfilled" ? first : second
        expectEqual((await context.read(winner)).state, { a: 1 })
        expectEqual(await context.store.load(winner === first ? second : first), undefined)
      })
    },
  },
  {
    name: "changeId: racing with an update, the change is in the moved record or was refused",
    needs: "atomicRotation",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const [id, next] = [await context.put(), freshId()]
        const [rotation, update] = await settle(
          [() => one.changeId(id, next, move()), () => two.update(id, changing({ late: 1 }))],
          swapped,
        )
        expectEqual(rotation?.status, "fulfilled")
        const { state } = await context.read(next)
        expectEqual(state, update?.status === "fulfilled" ? { late: 1 } : {})
        if (update?.status === "rejected") expectOnly([update.reason], UnknownIdError)
      })
    },
  },
  {
    name: "G5: deleteByUser racing with a rotation never lets it escape",
    needs: "userIndex",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const user = freshUser()
        const [id, next] = [await context.put({ userId: user }), freshId()]
        await settle(
          [() => one.changeId(id, next, move({ grace: context.grace })), () => two.deleteByUser(user, ended)],
          swapped,
        )
        expectEqual(await context.store.listByUser(user), [])
        for (const candidate of [id, next]) {
          const found = await context.store.load(candidate)
          expectTrue(found === undefined || !("state" in found), "no live record")
        }
      })
    },
  },
  {
    name: "G5: deleteByUser racing with chains of rotations never lets one escape",
    needs: "userIndex",
    run: async (context) => {
      const [one, two] = await connectionPair(context)
      const user = freshUser()
      const chains = await Promise.all(Array.from({ length: 10 }, () => context.put({ userId: user })))
      const rotate = async (first: string): Promise<void> => {
        let id = first
        for (let hop = 0; hop < 10; hop++) {
          const next = freshId()
          await one.changeId(id, next, move({ grace: context.grace }))
          id = next
        }
      }
      const rotations = Promise.allSettled(chains.map(rotate))
      await two.deleteByUser(user, ended)
      expectEqual(await context.store.listByUser(user), [], "right after it resolved")
      await rotations
      expectEqual(await context.store.listByUser(user), [], "when all have come to an end")
    },
  },
  ...(["update", "updateTtl", "changeId"] as const).map((operation): Law => ({
    name: `G5: delete racing with ${operation} leaves the session dead`,
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const [id, next] = [await context.put(), freshId()]
        const attempts = {
          update: () => one.update(id, changing({ late: 1 })),
          updateTtl: () => one.updateTtl(id),
          changeId: () => one.changeId(id, next, move()),
        }
        const results = await settle([attempts[operation], () => two.delete(id, ended)], swapped)
        expectEqual(results[1]?.status, "fulfilled", "delete")
        for (const candidate of [id, next]) {
          const found = await context.store.load(candidate)
          expectTrue(found === undefined || !("state" in found), "no live record")
        }
      })
    },
  })),
  {
    name: "G5: of two deletions at once one ends the session, and the other is told so",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const id = await context.put()
        const results = await settle([() => one.delete(id, ended), () => two.delete(id, ended)], swapped)
        expectEqual(outcomes(results).resolved, 1, "winners")
        expectOnly(outcomes(results).rejected, UnknownIdError)
      })
    },
  },
  {
    name: "G6: create racing with changeId to the same id, one wins",
    needs: "atomicRotation",
    run: async (context) => {
      await rounds(async (swapped) => {
        const [one, two] = await connectionPair(context)
        const [id, next] = [await context.put({ state: texts([["moved", 1]]) }), freshId()]
        const results = await settle(
          [
            () => one.changeId(id, next, move()),
            () => two.create(next, newRecord({ state: texts([["created", 1]]) })),
          ],
          swapped,
        )
        expectEqual(outcomes(results).resolved, 1, "winners")
        expectOnly(outcomes(results).rejected, DuplicateIdError)
        const isMoved = results[0]?.status === "fulfilled"
        expectEqual((await context.read(next)).state, isMoved ? { moved: 1 } : { created: 1 })
        if (!isMoved) expectEqual((await context.read(id)).state, { moved: 1 }, "the record that stayed")
      })
    },
  },
  {
    name: "deleteExpired: several at once count each record once",
    run: async (context) => {
      for (let round = 0; round < 100; round++) if ((await context.store.deleteExpired()) === 0) break
      for (let index = 0; index < 30; index++) await context.put({ idleTtl: 1000 })
      await context.advance(1001)
      const results = await race(context, 6, (store) => store.deleteExpired({ limit: 10 }))
      let total = 0
      for (const result of results) total += result.status === "fulfilled" ? result.value : 0
      for (let turn = 0; turn < 10; turn++) total += await context.store.deleteExpired()
      expectEqual(total, swept(context, 30), "removed in all")
    },
  },
  {
    name: "a second connection sees what the first has written, at once",
    uses: "connect",
    run: async (context) => {
      const { store: one, connect } = context
      if (connect === undefined) throw new Error("there is no second connection")
      const two = await connect()
      const id = await context.put({ state: texts([["a", 1]]) })
      await one.update(id, changing({ b: 2 }))
      const found = await two.load(id)
      expectEqual(found !== undefined && "state" in found ? found.state : found, { a: 1, b: 2 })
      await two.delete(id, ended)
      expectEqual(await one.load(id), { ended: true })
    },
  },
]

async function connectionPair(context: LawContext): Promise<[SessionStore, SessionStore]> {
  const [one = context.store, two = one] = await connections(context)
  return [one, two]
}

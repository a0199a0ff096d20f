import { DuplicateIdError, UnknownIdError, VersionConflictError } from "../../errors.ts"
import {
  asGone,
  changing,
  ended,
  expectEqual,
  expectRejects,
  expectTrue,
  freshId,
  HOUR,
  type Law,
  type LawContext,
  move,
  texts,
} from "./kit.ts"

/** `changeId`, the tombstones it leaves, and how `delete` follows them. */
export const rotationLaws: readonly Law[] = [
  {
    name: "changeId: the record moves as it is, and the old id says where to",
    run: async ({ store, put, read }) => {
      const [id, next] = [await put({ state: texts([["a", 1]]), userId: "ann", label: "x" }), freshId()]
      const before = await read(id)
      const written = await store.changeId(id, next, move())
      const after = await read(next)
      expectEqual([after.state, after.userId, after.label], [{ a: 1 }, "ann", "x"])
      expectEqual([after.createdAt, after.signedInAt], [before.createdAt, before.signedInAt])
      expectEqual([written.version, after.version], [2, 2], "version")
      expectEqual(await store.load(id), { movedTo: next, graceExpiresIn: 0, privilegeChanged: false })
    },
  },
  {
    name: "changeId: a change is applied in the same step",
    run: async ({ store, put, read }) => {
      const [id, next] = [
        await put({
          state: texts([
            ["a", 1],
            ["b", 2],
          ]),
        }),
        freshId(),
      ]
      await store.changeId(id, next, { change: changing({ c: 3 }, { remove: new Set(["a"]) }), ...move() })
      expectEqual((await read(next)).state, { b: 2, c: 3 })
    },
  },
  {
    name: "changeId: a change may clear, with exceptions",
    run: async ({ store, put, read }) => {
      const [id, next] = [
        await put({
          state: texts([
            ["a", 1],
            ["b", 2],
          ]),
        }),
        freshId(),
      ]
      await store.changeId(id, next, { change: changing({}, { clear: { except: ["b"] } }), ...move() })
      expectEqual((await read(next)).state, { b: 2 })
    },
  },
  {
    name: "changeId: binds the user of a sign-in, and restarts the absolute end",
    run: async ({ store, put, read, advance }) => {
      const [id, next] = [await put({ idleTtl: HOUR, absoluteTtl: HOUR }), freshId()]
      await advance(1000)
      const user = { userId: "ann", label: "Firefox", absoluteTtl: 2 * HOUR }
      await store.changeId(id, next, { change: changing({}, { user }), ...move({ privilegeChanged: true }) })
      const record = await read(next)
      expectEqual([record.userId, record.label], ["ann", "Firefox"])
      expectTrue(record.absoluteExpiresIn > HOUR, "a new absolute end")
      expectTrue((record.signedInAt ?? 0) > record.createdAt, "signedInAt to be now")
    },
  },
  {
    name: "changeId: an unknown id is refused, and nothing is created",
    run: async ({ store }) => {
      const next = freshId()
      const error = await expectRejects(store.changeId(freshId(), next, move()), UnknownIdError)
      expectEqual(error.gone, undefined)
      expectEqual(await store.load(next), undefined)
    },
  },
  {
    name: "changeId: an ended session is refused",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id, ended)
      const error = await expectRejects(store.changeId(id, freshId(), move()), UnknownIdError)
      expectEqual(error.gone, { ended: true })
    },
  },
  {
    name: "changeId: an expired record is refused, and leaves no tombstone",
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      await expectRejects(store.changeId(id, freshId(), move()), UnknownIdError)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "changeId: the second of two rotations is told where the first has gone",
    run: async ({ store, put, grace }) => {
      const [id, first, second] = [await put(), freshId(), freshId()]
      await store.changeId(id, first, move({ grace }))
      const error = await expectRejects(store.changeId(id, second, move()), UnknownIdError)
      expectEqual((error.gone as { movedTo: string }).movedTo, first)
      expectEqual(await store.load(second), undefined)
    },
  },
  {
    name: "changeId: a new id that is live is refused, and nothing has changed",
    needs: "checksIds",
    run: async ({ store, put, read }) => {
      const [id, other] = [await put({ state: texts([["a", 1]]) }), await put({ state: texts([["b", 2]]) })]
      const error = await expectRejects(
        store.changeId(id, other, { change: changing({ c: 3 }), ...move() }),
        DuplicateIdError,
      )
      expectEqual(error.id, other, "the error's id")
      expectEqual([(await read(id)).state, (await read(id)).version], [{ a: 1 }, 1])
      expectEqual((await read(other)).state, { b: 2 })
    },
  },
  {
    name: "changeId: a new id that is a tombstone is refused",
    needs: "checksIds",
    run: async ({ store, put, read }) => {
      const [id, other] = [await put(), await put()]
      await store.delete(other, ended)
      await expectRejects(store.changeId(id, other, move()), DuplicateIdError)
      await read(id)
    },
  },
  {
    name: "changeId: to its own id is refused",
    run: async ({ store, put, read }) => {
      const id = await put()
      await expectRejects(store.changeId(id, id, move()), DuplicateIdError)
      await read(id)
    },
  },
  {
    name: "changeId: a new id that has expired is taken over",
    run: async ({ store, put, read, advance }) => {
      const other = await put({ idleTtl: 1000, state: texts([["b", 2]]) })
      await advance(1001)
      const id = await put({ state: texts([["a", 1]]) })
      await store.changeId(id, other, move())
      expectEqual((await read(other)).state, { a: 1 })
    },
  },
  {
    name: "changeId: with a stale version it is refused, and nothing has changed",
    needs: "compareAndSet",
    run: async ({ store, put, read }) => {
      const [id, next] = [await put(), freshId()]
      await store.update(id, changing({ a: 1 }))
      await expectRejects(store.changeId(id, next, { ifVersion: 1, ...move() }), VersionConflictError)
      expectEqual((await read(id)).state, { a: 1 })
      expectEqual(await store.load(next), undefined)
    },
  },
  {
    name: "changeId: with the record's version it is carried out",
    needs: "compareAndSet",
    run: async ({ store, put, read }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, { ifVersion: 1, ...move() })
      expectEqual((await read(next)).version, 2)
    },
  },
  {
    name: "update and updateTtl: on an id that has moved are refused, and say where to",
    run: async ({ store, put, read, grace }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, move({ grace, privilegeChanged: true }))
      for (const attempt of [() => store.update(id, changing({ a: 1 })), () => store.updateTtl(id)]) {
        const { gone } = await expectRejects(attempt(), UnknownIdError)
        const { movedTo, privilegeChanged } = gone as { movedTo: string; privilegeChanged: boolean }
        expectEqual([movedTo, privilegeChanged], [next, true])
      }
      expectEqual((await read(next)).state, {})
    },
  },
  ...[false, true].flatMap((privilegeChanged) =>
    [0, 1000].map((grace): Law => ({
      name: `load: a tombstone of a move ${grace > 0 ? "with" : "without"} grace, ${privilegeChanged ? "a" : "no"} privilege change`,
      needs: grace > 0 ? "atomicRotation" : undefined,
      run: async ({ store, put }) => {
        const [id, next] = [await put(), freshId()]
        await store.changeId(id, next, move({ grace, privilegeChanged }))
        const gone = asGone(await store.load(id)) as {
          movedTo: string
          graceExpiresIn: number
          privilegeChanged: boolean
        }
        expectEqual([gone.movedTo, gone.privilegeChanged], [next, privilegeChanged])
        expectTrue(
          grace === 0 ? gone.graceExpiresIn === 0 : gone.graceExpiresIn > 0,
          "the grace that was given",
        )
        expectTrue(gone.graceExpiresIn <= grace, "no more grace than was given")
      },
    })),
  ),
  {
    name: "delete: on an id that has moved, ends the session it moved to",
    run: async ({ store, put }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, move())
      await store.delete(id, ended)
      expectEqual(await store.load(next), { ended: true })
      expectEqual(
        (asGone(await store.load(id)) as { movedTo: string }).movedTo,
        next,
        "the tombstone on the way",
      )
    },
  },
  {
    name: "delete: follows a chain of moves, in or out of grace",
    run: async ({ store, put, grace }) => {
      const ids = await chain({ store, put }, [{ grace }, {}, { grace }, {}, {}])
      await store.delete(ids[0] as string, ended)
      expectEqual(await store.load(ids.at(-1) as string), { ended: true })
    },
  },
  {
    name: "delete: follows a chain longer than any grace",
    run: async ({ store, put }) => {
      const ids = await chain(
        { store, put },
        Array.from({ length: 20 }, () => ({})),
      )
      await store.delete(ids[0] as string, ended)
      expectEqual(await store.load(ids.at(-1) as string), { ended: true })
    },
  },
  {
    name: "delete: does not follow a move that changed the privilege",
    run: async ({ store, put, read }) => {
      const ids = await chain({ store, put }, [{}, { privilegeChanged: true }, {}])
      const error = await expectRejects(store.delete(ids[0] as string, ended), UnknownIdError)
      expectEqual((error.gone as { movedTo: string }).movedTo, ids[2], "what it stopped at")
      await read(ids[3] as string)
    },
  },
  {
    name: "delete: behind the privilege change it follows again",
    run: async ({ store, put }) => {
      const ids = await chain({ store, put }, [{ privilegeChanged: true }, {}])
      await store.delete(ids[1] as string, ended)
      expectEqual(await store.load(ids[2] as string), { ended: true })
    },
  },
  {
    name: "delete: at the end of moves that has ended already, says so",
    run: async ({ store, put }) => {
      const ids = await chain({ store, put }, [{}, {}])
      await store.delete(ids[2] as string, ended)
      const error = await expectRejects(store.delete(ids[0] as string, ended), UnknownIdError)
      expectEqual(error.gone, { ended: true })
    },
  },
  {
    name: "delete: at the end of moves that has expired, finds nothing",
    run: async ({ store, put, advance }) => {
      const [id, next] = [await put({ idleTtl: 1000 }), freshId()]
      await store.changeId(id, next, move())
      await advance(1001)
      const error = await expectRejects(store.delete(id, ended), UnknownIdError)
      expectEqual(error.gone, undefined)
    },
  },
  {
    name: "delete: without a tombstone follows no move",
    run: async ({ store, put, read, grace }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, move({ grace }))
      await expectRejects(store.delete(id), UnknownIdError)
      await read(next)
    },
  },
]

async function chain(
  { store, put }: Pick<LawContext, "store" | "put">,
  hops: readonly { grace?: number; privilegeChanged?: boolean }[],
): Promise<string[]> {
  const ids = [await put()]
  for (const hop of hops) {
    const next = freshId()
    await store.changeId(ids.at(-1) as string, next, move(hop))
    ids.push(next)
  }
  return ids
}

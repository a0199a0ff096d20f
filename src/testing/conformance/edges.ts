import { DuplicateIdError, UnknownIdError, VersionConflictError } from "../../errors.ts"
import {
  changing,
  ended,
  expectEqual,
  expectRejects,
  expectTrue,
  freshId,
  freshUser,
  HOUR,
  type Law,
  type LawContext,
  move,
  newRecord,
  swept,
} from "./kit.ts"

/** What each operation does to a record, and how it must refuse one that has expired. */
const OPERATIONS: Readonly<Record<string, (context: LawContext, id: string) => Promise<unknown>>> = {
  update: ({ store }, id) => store.update(id, changing({ a: 1 })),
  updateTtl: ({ store }, id) => store.updateTtl(id),
  changeId: ({ store }, id) => store.changeId(id, freshId(), move()),
  delete: ({ store }, id) => store.delete(id, ended),
  "delete without a tombstone": ({ store }, id) => store.delete(id),
}

/** G8, for what does not only read: a deadline is the first millisecond at which a record is no more. */
export const edgeLaws: readonly Law[] = [
  ...Object.entries(OPERATIONS).map(([name, operate]): Law => ({
    name: `${name}: a record can be had until the millisecond before its deadline, and not at it`,
    precise: true,
    run: async (context) => {
      const [late, inTime] = [await context.put({ idleTtl: 1000 }), await context.put({ idleTtl: 1001 })]
      await context.advance(1000)
      const error = await expectRejects(operate(context, late), UnknownIdError)
      expectEqual(error.gone, undefined, "what is left")
      expectEqual(await context.store.load(late), undefined)
      await operate(context, inTime)
    },
  })),
  {
    name: "create: an id is free at the deadline of what had it, and not before",
    needs: "checksIds",
    precise: true,
    run: async ({ store, put, advance }) => {
      const [record, tombstone] = [await put({ idleTtl: 1000 }), await put()]
      await store.delete(tombstone, { tombstone: { ttl: 1000 } })
      await advance(999)
      for (const id of [record, tombstone])
        await expectRejects(store.create(id, newRecord()), DuplicateIdError)
      await advance(1)
      for (const id of [record, tombstone]) await store.create(id, newRecord())
    },
  },
  {
    name: "listByUser and deleteByUser: know a session until the millisecond before its deadline",
    needs: "userIndex",
    precise: true,
    run: async ({ store, put, advance }) => {
      const userId = freshUser()
      await put({ userId, idleTtl: 1000 })
      const id = await put({ userId, idleTtl: 1001 })
      await advance(1000)
      expectEqual(
        (await store.listByUser(userId)).map((each) => each.id),
        [id],
      )
      expectEqual(await store.deleteByUser(userId), 1)
    },
  },
  {
    name: "deleteExpired: takes a record at its deadline, and not a millisecond before",
    precise: true,
    run: async (context) => {
      const { store, put, advance } = context
      const id = await put({ idleTtl: 1000 })
      await advance(999)
      expectEqual(await store.deleteExpired(), 0, "before the deadline")
      await store.update(id, changing({}, { expiry: { idleTtl: 1, fixedTtl: null, cookieKind: null } }))
      await advance(1)
      expectEqual(await store.deleteExpired(), swept(context, 1), "at the deadline")
      expectEqual(await store.deleteExpired(), 0, "the second time")
    },
  },
  {
    name: "create: the id of a session that moved is refused, though what it moved to has expired",
    needs: "checksIds",
    run: async ({ store, put, advance }) => {
      const [id, next] = [await put({ idleTtl: 1000 }), freshId()]
      await store.changeId(id, next, move())
      await advance(1001)
      await expectRejects(store.create(id, newRecord()), DuplicateIdError)
      await store.create(next, newRecord())
    },
  },
  {
    name: "changeId: refused for its version, it does not touch the record",
    needs: "compareAndSet",
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      const { lastSeenAt } = await read(id)
      await advance(50)
      await expectRejects(store.changeId(id, freshId(), { ifVersion: 2, ...move() }), VersionConflictError)
      expectEqual((await read(id)).lastSeenAt, lastSeenAt)
    },
  },
  {
    name: "changeId: lastSeenAt never goes back",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const [id, next] = [await put(), freshId()]
      const { lastSeenAt } = await read(id)
      await advance(-500)
      await store.changeId(id, next, move())
      expectEqual((await read(next)).lastSeenAt, lastSeenAt)
    },
  },
  {
    name: "changeId: a change of expiry holds from then on",
    precise: true,
    run: async ({ store, put, read }) => {
      const [id, next] = [await put(), freshId()]
      const expiry = { idleTtl: 2000, fixedTtl: 5000, cookieKind: "browser-session" } as const
      expectEqual(
        (await store.changeId(id, next, { change: changing({}, { expiry }), ...move() })).expiresIn,
        2000,
      )
      const { idleTtl, fixedExpiresIn, cookieKind } = await read(next)
      expectEqual([idleTtl, fixedExpiresIn, cookieKind], [2000, 5000, "browser-session"])
    },
  },
  {
    name: "update: binding a user and setting an expiry at once counts both, and says when it ends",
    precise: true,
    run: async ({ store, put, read }) => {
      const id = await put({ absoluteTtl: HOUR })
      const user = { userId: freshUser(), label: null, absoluteTtl: 3 * HOUR }
      const expiry = { idleTtl: null, fixedTtl: 2 * HOUR, cookieKind: null }
      expectEqual((await store.update(id, changing({}, { user, expiry }))).expiresIn, 2 * HOUR)
      expectEqual(
        (await store.update(id, changing({}, { user: { ...user, absoluteTtl: HOUR } }))).expiresIn,
        HOUR,
      )
      expectEqual((await read(id)).absoluteExpiresIn, HOUR)
    },
  },
  {
    name: "update: signing in again, as the same user or as another, is a new sign-in",
    run: async ({ store, put, read, advance }) => {
      const [ann, bob] = [freshUser(), freshUser()]
      const id = await put({ userId: ann })
      for (const userId of [ann, bob]) {
        const before = (await read(id)).signedInAt
        await advance(50)
        await store.update(id, changing({}, { user: { userId, label: null, absoluteTtl: null } }))
        const after = (await read(id)).signedInAt
        expectTrue(before !== null && after !== null && after > before, "signedInAt to move on")
      }
    },
  },
  {
    name: "deleteByUser: keeps its tombstones as long as it is told",
    needs: "userIndex",
    precise: true,
    run: async ({ store, put, advance }) => {
      const userId = freshUser()
      const id = await put({ userId })
      await store.deleteByUser(userId, { tombstone: { ttl: 1000 } })
      await advance(999)
      expectEqual(await store.load(id), { ended: true })
      await advance(1)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "deleteByUser: spares the one that is excepted when there is no other",
    needs: "userIndex",
    run: async ({ store, put, read }) => {
      const userId = freshUser()
      const id = await put({ userId })
      expectEqual(await store.deleteByUser(userId, { except: id, ...ended }), 0)
      expectEqual((await read(id)).version, 1)
    },
  },
]

import { UnknownIdError } from "../../errors.ts"
import {
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
  newRecord,
  swept,
} from "./kit.ts"

const DEFAULT = { idleTtl: HOUR, fixedTtl: null, cookieKind: null } as const

async function expectAlive({ store }: LawContext, id: string): Promise<void> {
  const found = await store.load(id)
  expectTrue(found !== undefined && "state" in found, "a live record")
}

/** G8: the store's clock rules. */
export const lifetimeLaws: readonly Law[] = [
  ...(["idleTtl", "fixedTtl", "absoluteTtl"] as const).map((limit): Law => ({
    name: `load: a record lives until ${limit} is over, and not a millisecond longer`,
    precise: true,
    run: async (context) => {
      const id = await context.put({ idleTtl: HOUR, absoluteTtl: HOUR, [limit]: 1000 })
      await context.advance(999)
      await expectAlive(context, id)
      expectEqual((await context.read(id)).expiresIn, 1)
      await context.advance(1)
      expectEqual(await context.store.load(id), undefined)
    },
  })),
  {
    name: "load: an expired record does not exist, though nobody swept it",
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "updateTtl: extends by the whole idle ttl",
    run: async (context) => {
      const id = await context.put({ idleTtl: 2500 })
      for (let turn = 0; turn < 2; turn++) {
        await context.advance(1500)
        const { expiresIn } = await context.store.updateTtl(id)
        expectTrue(expiresIn > 1500 && expiresIn <= 2500, "the idle ttl to begin again")
      }
      await expectAlive(context, id)
    },
  },
  {
    name: "update: extends by the whole idle ttl",
    run: async (context) => {
      const id = await context.put({ idleTtl: 2500 })
      for (let turn = 0; turn < 2; turn++) {
        await context.advance(1500)
        const { expiresIn } = await context.store.update(id, changing({ turn }))
        expectTrue(expiresIn > 1500 && expiresIn <= 2500, "the idle ttl to begin again")
      }
      await expectAlive(context, id)
    },
  },
  {
    name: "changeId: extends by the whole idle ttl",
    run: async (context) => {
      const [id, next] = [await context.put({ idleTtl: 2500 }), freshId()]
      await context.advance(1500)
      const { expiresIn } = await context.store.changeId(id, next, move())
      expectTrue(expiresIn > 1500 && expiresIn <= 2500, "the idle ttl to begin again")
      await context.advance(1500)
      await expectAlive(context, next)
    },
  },
  {
    name: "updateTtl and update: never pass the absolute end",
    precise: true,
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000, absoluteTtl: 1500 })
      await advance(900)
      expectEqual((await store.updateTtl(id)).expiresIn, 600)
      expectEqual((await store.update(id, changing({ a: 1 }))).expiresIn, 600)
      await advance(600)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "updateTtl and update: never pass the fixed end",
    precise: true,
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000, fixedTtl: 1500 })
      await advance(900)
      expectEqual((await store.updateTtl(id)).expiresIn, 600)
      expectEqual((await store.update(id, changing({ a: 1 }))).expiresIn, 600)
      await advance(600)
      await expectRejects(store.updateTtl(id), UnknownIdError)
    },
  },
  {
    name: "create: without an idle ttl only the fixed and the absolute end count",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const fixed = await put({ idleTtl: null, fixedTtl: 2 * HOUR, absoluteTtl: 3 * HOUR })
      const absolute = await put({ idleTtl: null, fixedTtl: null, absoluteTtl: 3 * HOUR })
      expectEqual([(await read(fixed)).idleTtl, (await read(fixed)).expiresIn], [null, 2 * HOUR])
      expectEqual((await store.updateTtl(absolute)).expiresIn, 3 * HOUR)
      await advance(2 * HOUR)
      expectEqual(await store.load(fixed), undefined)
      expectEqual((await read(absolute)).expiresIn, HOUR)
    },
  },
  {
    name: "update: a custom expiry survives blind updates and touches",
    run: async ({ store, put, read, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await store.update(
        id,
        changing({}, { expiry: { idleTtl: 5000, fixedTtl: null, cookieKind: "browser-session" } }),
      )
      await advance(2000)
      await store.update(id, changing({ a: 1 }))
      await advance(2000)
      await store.updateTtl(id)
      await advance(2000)
      const record = await read(id)
      expectEqual([record.idleTtl, record.cookieKind, record.state], [5000, "browser-session", { a: 1 }])
    },
  },
  {
    name: "update: a fixed end survives blind updates, and counts down",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      await store.update(id, changing({}, { expiry: { idleTtl: null, fixedTtl: 5000, cookieKind: null } }))
      await advance(2000)
      await store.update(id, changing({ a: 1 }))
      const record = await read(id)
      expectEqual([record.idleTtl, record.fixedExpiresIn, record.expiresIn], [null, 3000, 3000])
    },
  },
  {
    name: "update: a custom expiry can be taken back",
    precise: true,
    run: async ({ store, put, read }) => {
      const id = await put({ idleTtl: null, fixedTtl: 1000, cookieKind: "persistent" })
      expectEqual((await store.update(id, changing({}, { expiry: DEFAULT }))).expiresIn, HOUR)
      const record = await read(id)
      expectEqual([record.idleTtl, record.fixedExpiresIn, record.cookieKind], [HOUR, null, null])
    },
  },
  {
    name: "update: a shorter expiry holds at once",
    precise: true,
    run: async ({ store, put, advance }) => {
      const id = await put()
      const expiry = { idleTtl: 1000, fixedTtl: null, cookieKind: null }
      expectEqual((await store.update(id, changing({}, { expiry }))).expiresIn, 1000)
      await advance(1000)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "changeId: a custom expiry moves along",
    run: async ({ store, put, read }) => {
      const [id, next] = [await put({ idleTtl: 5000, cookieKind: "browser-session" }), freshId()]
      await store.changeId(id, next, move())
      const record = await read(next)
      expectEqual([record.idleTtl, record.cookieKind], [5000, "browser-session"])
    },
  },
  {
    name: "changeId: the absolute end moves along",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const [id, next] = [await put({ absoluteTtl: 2 * HOUR }), freshId()]
      await advance(HOUR / 2)
      await store.changeId(id, next, move())
      expectEqual((await read(next)).absoluteExpiresIn, 1.5 * HOUR)
    },
  },
  {
    name: "lastSeenAt never goes back",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      await advance(1000)
      await store.updateTtl(id)
      const { lastSeenAt } = await read(id)
      await advance(-500)
      await store.updateTtl(id)
      await store.update(id, changing({ a: 1 }))
      expectEqual((await read(id)).lastSeenAt, lastSeenAt)
    },
  },
  {
    name: "delete: a tombstone is kept until its ttl is over",
    precise: true,
    run: async ({ store, put, advance }) => {
      const id = await put()
      await store.delete(id, { tombstone: { ttl: 1000 } })
      await advance(999)
      expectEqual(await store.load(id), { ended: true })
      await advance(1)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "changeId: a tombstone is kept until its ttl is over",
    precise: true,
    run: async ({ store, put, advance }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, move({ ttl: 1000 }))
      await advance(999)
      expectEqual(await store.load(id), { movedTo: next, graceExpiresIn: 0, privilegeChanged: false })
      await advance(1)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "changeId: a tombstone is kept until its ttl is over, and its grace counts down to nothing",
    needs: "atomicRotation",
    precise: true,
    run: async ({ store, put, advance }) => {
      const [id, next] = [await put(), freshId()]
      await store.changeId(id, next, move({ ttl: 1000, grace: 300 }))
      const moved = { movedTo: next, privilegeChanged: false }
      expectEqual(await store.load(id), { ...moved, graceExpiresIn: 300 })
      await advance(299)
      expectEqual(await store.load(id), { ...moved, graceExpiresIn: 1 })
      await advance(1)
      expectEqual(await store.load(id), { ...moved, graceExpiresIn: 0 })
      await advance(699)
      expectEqual(await store.load(id), { ...moved, graceExpiresIn: 0 })
      await advance(1)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "a tombstone outlives the record it speaks for, and does not lengthen it",
    run: async ({ store, put, advance }) => {
      const [id, next] = [await put({ idleTtl: 1000 }), freshId()]
      await store.changeId(id, next, move({ ttl: HOUR }))
      await advance(1001)
      expectEqual(await store.load(next), undefined)
      expectEqual(await store.load(id), { movedTo: next, graceExpiresIn: 0, privilegeChanged: false })
    },
  },
  {
    name: "deleteExpired: removes what has expired, and nothing else",
    run: async (context) => {
      const { store, put, advance } = context
      await drain(context)
      const live = await put()
      await put({ idleTtl: 1000 })
      await put({ fixedTtl: 1000 })
      const dead = await put()
      await store.delete(dead, { tombstone: { ttl: 1000 } })
      const kept = await put()
      await store.delete(kept, ended)
      await advance(1001)
      const removed = await store.deleteExpired()
      expectEqual(removed, swept(context, 3), "removed")
      await expectAlive(context, live)
      expectEqual(await store.load(kept), { ended: true })
      expectEqual(await store.deleteExpired(), 0, "the second time")
    },
  },
  {
    name: "deleteExpired: removes at most the limit, and the rest the next times",
    run: async (context) => {
      const { store, put, advance } = context
      await drain(context)
      for (let index = 0; index < 7; index++) await put({ idleTtl: 1000 })
      await advance(1001)
      const counts = [
        await store.deleteExpired({ limit: 3 }),
        await store.deleteExpired({ limit: 3 }),
        await store.deleteExpired({ limit: 3 }),
        await store.deleteExpired({ limit: 3 }),
      ]
      expectEqual(
        counts,
        [3, 3, 1, 0].map((count) => swept(context, count)),
        "removed",
      )
    },
  },
  {
    name: "deleteExpired: a record that was extended since is kept, and removed when its time has come",
    run: async (context) => {
      const { store, put, advance } = context
      await drain(context)
      const id = await put({ idleTtl: 2500 })
      await advance(1500)
      await store.updateTtl(id)
      await advance(1500)
      expectEqual(await store.deleteExpired(), 0)
      await expectAlive(context, id)
      await advance(2501)
      const removed = await store.deleteExpired()
      expectEqual(removed, swept(context, 1), "removed")
      expectEqual(await store.load(id), undefined)
      expectEqual(await store.deleteExpired(), 0)
    },
  },
  {
    name: "deleteExpired: finds the expired ones behind many that were extended",
    run: async (context) => {
      const { store, put, advance } = context
      await drain(context)
      const extended: string[] = []
      for (let index = 0; index < 10; index++) extended.push(await put({ idleTtl: 6000 }))
      await advance(1)
      await put({ idleTtl: 6000 })
      await advance(3500)
      for (const id of extended) await store.updateTtl(id)
      await advance(3000)
      const counts = [await store.deleteExpired({ limit: 2 }), await store.deleteExpired({ limit: 2 })]
      expectEqual(counts, [swept(context, 1), 0], "removed")
      for (const id of extended) await expectAlive(context, id)
    },
  },
  {
    name: "create: takes over an expired id before the sweeper comes, which then leaves it",
    run: async (context) => {
      const { store, put, advance } = context
      await drain(context)
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      await store.create(id, newRecord())
      expectEqual(await store.deleteExpired(), 0)
      await expectAlive(context, id)
    },
  },
]

/** A store may hold what earlier tests left. */
async function drain({ store }: LawContext): Promise<void> {
  for (let round = 0; round < 100; round++) if ((await store.deleteExpired()) === 0) return
}

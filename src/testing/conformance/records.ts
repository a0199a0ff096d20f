import { DuplicateIdError, RecordCorruptError, UnknownIdError, VersionConflictError } from "../../errors.ts"
import {
  changing,
  ended,
  expectEqual,
  expectRejects,
  expectTrue,
  freshId,
  HOUR,
  type Law,
  move,
  newRecord,
  removing,
  texts,
} from "./kit.ts"

/** What each operation does to one record. */
export const recordLaws: readonly Law[] = [
  {
    name: "load: an id that never was is undefined",
    run: async ({ store }) => expectEqual(await store.load(freshId()), undefined),
  },
  {
    name: "create: a record comes back with all that was given",
    run: async ({ put, read }) => {
      const id = await put({
        state: texts([["a", 1]]),
        userId: "ann",
        label: "Firefox – Büro",
        idleTtl: HOUR,
        fixedTtl: 2 * HOUR,
        cookieKind: "browser-session",
        absoluteTtl: 3 * HOUR,
      })
      const record = await read(id)
      expectEqual(record.state, { a: 1 }, "state")
      expectEqual(record.version, 1, "version")
      expectEqual(record.userId, "ann", "userId")
      expectEqual(record.label, "Firefox – Büro", "label")
      expectEqual(record.idleTtl, HOUR, "idleTtl")
      expectEqual(record.cookieKind, "browser-session", "cookieKind")
      expectTrue(record.createdAt instanceof Date && record.lastSeenAt instanceof Date, "dates")
      expectEqual(record.signedInAt, record.createdAt, "signedInAt")
      expectEqual(record.lastSeenAt, record.createdAt, "lastSeenAt")
      expectTrue(near(record.fixedExpiresIn, 2 * HOUR), "fixedExpiresIn to be two hours")
      expectTrue(near(record.expiresIn, HOUR), "expiresIn to be an hour")
      expectTrue(near(record.absoluteExpiresIn, 3 * HOUR), "absoluteExpiresIn to be three hours")
    },
  },
  {
    name: "create: what is not given is null",
    run: async ({ put, read }) => {
      const record = await read(await put())
      expectEqual(
        [record.userId, record.label, record.signedInAt, record.fixedExpiresIn, record.cookieKind],
        [null, null, null, null, null],
      )
    },
  },
  {
    name: "create: a label of 256 characters is kept",
    run: async ({ put, read }) => {
      const label = "🧥".repeat(128)
      expectEqual((await read(await put({ userId: "ann", label }))).label, label)
    },
  },
  {
    name: "create: a live id is refused, and its record stays",
    needs: "checksIds",
    run: async ({ store, put, read }) => {
      const id = await put({ state: texts([["a", 1]]) })
      const error = await expectRejects(
        store.create(id, newRecord({ state: texts([["b", 2]]) })),
        DuplicateIdError,
      )
      expectEqual(error.id, id, "the error's id")
      expectEqual((await read(id)).state, { a: 1 })
    },
  },
  {
    name: "create: the id of an ended session is refused",
    needs: "checksIds",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id, ended)
      await expectRejects(store.create(id, newRecord()), DuplicateIdError)
    },
  },
  {
    name: "create: the id of a session that moved is refused",
    needs: "checksIds",
    run: async ({ store, put }) => {
      const id = await put()
      await store.changeId(id, freshId(), move())
      await expectRejects(store.create(id, newRecord()), DuplicateIdError)
    },
  },
  {
    name: "create: an expired record is replaced as a whole",
    run: async ({ store, put, read, advance }) => {
      const id = await put({
        state: texts([["a", 1]]),
        userId: "ann",
        label: "x",
        idleTtl: 1000,
        fixedTtl: 1000,
      })
      await store.update(id, changing({ b: 2 }))
      await advance(1001)
      await store.create(id, newRecord({ state: texts([["c", 3]]) }))
      const record = await read(id)
      expectEqual(record.state, { c: 3 })
      expectEqual(
        [record.version, record.userId, record.label, record.signedInAt, record.fixedExpiresIn],
        [1, null, null, null, null],
      )
    },
  },
  {
    name: "create: an expired tombstone is replaced",
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      await store.delete(id, { tombstone: { ttl: 1000 } })
      await advance(1001)
      await store.create(id, newRecord({ state: texts([["a", 1]]) }))
      expectEqual((await read(id)).state, { a: 1 })
    },
  },
  {
    name: "create: an expired tombstone of a move is replaced, and leads nowhere any more",
    run: async ({ store, put, read, advance }) => {
      const [id, target] = [await put(), freshId()]
      await store.changeId(id, target, move({ ttl: 1000 }))
      await advance(1001)
      await store.create(id, newRecord({ state: texts([["a", 1]]) }))
      await store.delete(id, ended)
      expectEqual((await read(target)).state, {})
      expectEqual(await store.load(id), { ended: true })
    },
  },
  {
    name: "load: does not touch the record",
    run: async ({ read, put, advance }) => {
      const id = await put()
      const before = await read(id)
      await advance(50)
      const after = await read(id)
      expectEqual([after.version, after.lastSeenAt], [before.version, before.lastSeenAt])
      expectTrue(after.expiresIn < before.expiresIn, "the time left to run")
    },
  },
  {
    name: "update: sets new keys, replaces old ones and leaves the others",
    run: async ({ store, put, read }) => {
      const id = await put({
        state: texts([
          ["a", 1],
          ["b", 2],
        ]),
      })
      await store.update(id, changing({ b: 3, c: 4 }))
      expectEqual((await read(id)).state, { a: 1, b: 3, c: 4 })
    },
  },
  {
    name: "update: removes keys, and one that is not there is no error",
    run: async ({ store, put, read }) => {
      const id = await put({
        state: texts([
          ["a", 1],
          ["b", 2],
        ]),
      })
      await store.update(id, removing("a", "none"))
      expectEqual((await read(id)).state, { b: 2 })
    },
  },
  {
    name: "update: clear drops every key before others are set",
    run: async ({ store, put, read }) => {
      const id = await put({
        state: texts([
          ["a", 1],
          ["b", 2],
        ]),
      })
      await store.update(id, changing({ b: 3 }, { clear: true }))
      expectEqual((await read(id)).state, { b: 3 })
    },
  },
  {
    name: "update: clear alone leaves an empty state",
    run: async ({ store, put, read }) => {
      const id = await put({ state: texts([["a", 1]]) })
      await store.update(id, changing({}, { clear: true }))
      expectEqual((await read(id)).state, {})
    },
  },
  {
    name: "update: clear with exceptions keeps those that are there, and then removes and sets",
    run: async ({ store, put, read }) => {
      const id = await put({
        state: texts([
          ["a", 1],
          ["b", 2],
          ["c", 3],
          ["__proto__", 4],
        ]),
      })
      const change = changing(
        { d: 5 },
        { clear: { except: ["a", "b", "none", "constructor"] }, remove: new Set(["b"]) },
      )
      await store.update(id, change)
      expectEqual((await read(id)).state, { a: 1, d: 5 })
    },
  },
  {
    name: "update: an empty change touches and counts, and keeps the state",
    run: async ({ store, put, read, advance }) => {
      const id = await put({ state: texts([["a", 1]]) })
      const before = await read(id)
      await advance(50)
      const written = await store.update(id, changing())
      const after = await read(id)
      expectEqual(after.state, { a: 1 })
      expectEqual([written.version, after.version], [2, 2])
      expectTrue(after.lastSeenAt > before.lastSeenAt, "lastSeenAt to move on")
    },
  },
  {
    name: "update: counts the version by one each time, and says so",
    run: async ({ store, put, read }) => {
      const id = await put()
      for (let version = 2; version < 6; version++) {
        expectEqual((await store.update(id, changing({ version }))).version, version)
        expectEqual((await read(id)).version, version)
      }
    },
  },
  {
    name: "update: createdAt stays",
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      const { createdAt } = await read(id)
      await advance(50)
      await store.update(id, changing({ a: 1 }))
      expectEqual((await read(id)).createdAt, createdAt)
    },
  },
  {
    name: "update: an unknown id is refused without a trace, and nothing is created",
    run: async ({ store }) => {
      const id = freshId()
      const error = await expectRejects(store.update(id, changing({ a: 1 })), UnknownIdError)
      expectEqual([error.id, error.gone], [id, undefined])
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "update: an ended session is refused, and stays ended",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id, ended)
      const error = await expectRejects(store.update(id, changing({ a: 1 })), UnknownIdError)
      expectEqual(error.gone, { ended: true })
      expectEqual(await store.load(id), { ended: true })
    },
  },
  {
    name: "update: an expired record is refused, and stays expired",
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      const error = await expectRejects(store.update(id, changing({ a: 1 })), UnknownIdError)
      expectEqual(error.gone, undefined)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "update: with the record's version it is carried out",
    needs: "compareAndSet",
    run: async ({ store, put, read }) => {
      const id = await put()
      await store.update(id, changing({ a: 1 }), { ifVersion: 1 })
      await store.update(id, changing({ b: 2 }), { ifVersion: 2 })
      expectEqual((await read(id)).state, { a: 1, b: 2 })
    },
  },
  {
    name: "update: with a stale version it is refused, and nothing has changed",
    needs: "compareAndSet",
    run: async ({ store, put, read, advance }) => {
      const id = await put()
      await store.update(id, changing({ a: 1 }))
      const before = await read(id)
      await advance(50)
      const error = await expectRejects(
        store.update(id, changing({ a: 2 }, { user: { userId: "x", label: null, absoluteTtl: 1 } }), {
          ifVersion: 1,
        }),
        VersionConflictError,
      )
      expectEqual(error.id, id, "the error's id")
      const after = await read(id)
      expectEqual(
        [after.state, after.version, after.lastSeenAt, after.userId],
        [before.state, before.version, before.lastSeenAt, null],
      )
    },
  },
  {
    name: "update: with a version from the future it is refused",
    needs: "compareAndSet",
    run: async ({ store, put }) => {
      const id = await put()
      await expectRejects(store.update(id, changing({ a: 1 }), { ifVersion: 2 }), VersionConflictError)
    },
  },
  {
    name: "update: with a version, an unknown id is unknown and no conflict",
    needs: "compareAndSet",
    run: async ({ store }) => {
      await expectRejects(store.update(freshId(), changing({ a: 1 }), { ifVersion: 1 }), UnknownIdError)
    },
  },
  {
    name: "updateTtl: moves lastSeenAt on, and leaves state and version",
    run: async ({ store, put, read, advance }) => {
      const id = await put({ state: texts([["a", 1]]), userId: "ann", label: "x" })
      const before = await read(id)
      await advance(50)
      const written = await store.updateTtl(id)
      const after = await read(id)
      expectEqual(written.version, 1, "version")
      expectTrue(near(written.expiresIn, HOUR), "expiresIn to be the whole idle ttl")
      expectEqual([after.state, after.version, after.userId, after.label], [before.state, 1, "ann", "x"])
      expectTrue(after.lastSeenAt > before.lastSeenAt, "lastSeenAt to move on")
    },
  },
  {
    name: "updateTtl: does not disturb a change that is based on the version",
    needs: "compareAndSet",
    run: async ({ store, put }) => {
      const id = await put()
      await store.updateTtl(id)
      expectEqual((await store.update(id, changing({ a: 1 }), { ifVersion: 1 })).version, 2)
    },
  },
  {
    name: "updateTtl: an unknown id is refused",
    run: async ({ store }) => {
      const error = await expectRejects(store.updateTtl(freshId()), UnknownIdError)
      expectEqual(error.gone, undefined)
    },
  },
  {
    name: "updateTtl: an ended session is refused, and stays ended",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id, ended)
      const error = await expectRejects(store.updateTtl(id), UnknownIdError)
      expectEqual(error.gone, { ended: true })
    },
  },
  {
    name: "updateTtl: an expired record is refused, and stays expired",
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      await expectRejects(store.updateTtl(id), UnknownIdError)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "load: a corrupt record is a RecordCorruptError that names the store",
    uses: "corrupt",
    run: async ({ store, put, corrupt }) => {
      const id = await put({ state: texts([["a", 1]]) })
      await corrupt?.(id)
      const error = await expectRejects(store.load(id), RecordCorruptError)
      expectEqual([error.id, error.store], [id, store.name])
      expectTrue(!error.message.includes(id), "no id in the message")
    },
  },
  {
    name: "update: a merge into a corrupt record is a RecordCorruptError; a change that clears it mends it",
    uses: "corrupt",
    run: async ({ store, put, read, corrupt }) => {
      const id = await put({ state: texts([["a", 1]]) })
      await corrupt?.(id)
      await expectRejects(store.update(id, changing({ b: 2 })), RecordCorruptError)
      await store.update(id, changing({ b: 2 }, { clear: true }))
      expectEqual((await read(id)).state, { b: 2 })
    },
  },
  {
    name: "delete: a corrupt record can be ended",
    uses: "corrupt",
    run: async ({ store, put, corrupt }) => {
      const id = await put()
      await corrupt?.(id)
      await store.delete(id, ended)
      expectEqual(await store.load(id), { ended: true })
    },
  },
  {
    name: "name and capabilities are facts",
    run: async ({ store }) => {
      expectTrue(typeof store.name === "string" && store.name !== "", "a name")
      const { merge, compareAndSet, promptRevocation, userIndex, atomicRotation, clock } = store.capabilities
      const flags = [merge, compareAndSet, promptRevocation, userIndex, atomicRotation]
      expectTrue(
        flags.every((flag) => typeof flag === "boolean"),
        "flags",
      )
      expectTrue(clock === "store" || clock === "app", "a clock")
    },
  },
]

/** Whether a time left is what was asked for, give or take the time a test takes. */
function near(actual: number | null, expected: number): boolean {
  return actual !== null && Number.isInteger(actual) && actual <= expected && actual > expected - 60_000
}

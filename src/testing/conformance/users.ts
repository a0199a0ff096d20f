import { UnknownIdError } from "../../errors.ts"
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
  move,
} from "./kit.ts"

/** How a session ends, and the index of a user's sessions. */
export const endingLaws: readonly Law[] = [
  {
    name: "delete: a record is gone without a trace",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "delete: with a tombstone leaves word of it",
    run: async ({ store, put }) => {
      const id = await put()
      await store.delete(id, ended)
      expectEqual(await store.load(id), { ended: true })
    },
  },
  {
    name: "delete: an unknown id is refused without a trace",
    run: async ({ store }) => {
      const id = freshId()
      const error = await expectRejects(store.delete(id, ended), UnknownIdError)
      expectEqual(error.gone, undefined)
      expectEqual(await store.load(id), undefined)
      await expectRejects(store.delete(id), UnknownIdError)
    },
  },
  {
    name: "delete: the second time is refused, and says what it found",
    run: async ({ store, put }) => {
      const [word, none] = [await put(), await put()]
      await store.delete(word, ended)
      await store.delete(none)
      expectEqual((await expectRejects(store.delete(word, ended), UnknownIdError)).gone, { ended: true })
      expectEqual((await expectRejects(store.delete(word), UnknownIdError)).gone, { ended: true })
      expectEqual((await expectRejects(store.delete(none), UnknownIdError)).gone, undefined)
    },
  },
  {
    name: "delete: an expired record is unknown",
    run: async ({ store, put, advance }) => {
      const id = await put({ idleTtl: 1000 })
      await advance(1001)
      await expectRejects(store.delete(id, ended), UnknownIdError)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "delete: leaves other records alone",
    run: async ({ store, put, read }) => {
      const [one, two] = [await put({ userId: "ann" }), await put({ userId: "ann" })]
      await store.delete(one, ended)
      await read(two)
    },
  },
  {
    name: "listByUser: nobody's sessions are none",
    needs: "userIndex",
    run: async ({ store }) => expectEqual(await store.listByUser(freshUser()), []),
  },
  {
    name: "listByUser: tells what there is to tell of each session, the last seen first",
    needs: "userIndex",
    run: async ({ store, put, read, advance }) => {
      const user = freshUser()
      const one = await put({ userId: user, label: "one" })
      await advance(20)
      const two = await put({ userId: user })
      await advance(20)
      const three = await put({ userId: user })
      await advance(20)
      await store.updateTtl(one)
      const list = await store.listByUser(user)
      expectEqual(
        list.map(({ id }) => id),
        [one, three, two],
      )
      const record = await read(one)
      const [first] = list
      expectEqual(
        [first?.label, first?.createdAt, first?.signedInAt, first?.lastSeenAt],
        ["one", record.createdAt, record.signedInAt, record.lastSeenAt],
      )
      expectEqual(list[1]?.label, null)
      const left = Number(first?.expiresAt) - Number(first?.lastSeenAt)
      expectTrue(left === HOUR, "expiresAt to be an idle ttl after the last use")
    },
  },
  {
    name: "listByUser: never lists what has expired or ended",
    needs: "userIndex",
    run: async ({ store, put, advance }) => {
      const user = freshUser()
      await put({ userId: user, idleTtl: 1000 })
      const dead = await put({ userId: user })
      await store.delete(dead, ended)
      const gone = await put({ userId: user })
      await store.delete(gone)
      const live = await put({ userId: user })
      await advance(1001)
      expectEqual(
        (await store.listByUser(user)).map(({ id }) => id),
        [live],
      )
    },
  },
  {
    name: "listByUser: users whose names are alike are not mixed up",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser()
      const names = [
        user,
        `${user} `,
        user.toUpperCase(),
        `${user}%`,
        `${user}_`,
        `${user}é`,
        `${user}e\u0301`,
        `${user}🧥`,
      ]
      for (const name of names) await put({ userId: name })
      for (const name of names) expectEqual((await store.listByUser(name)).length, 1, JSON.stringify(name))
    },
  },
  {
    name: "listByUser: a user's name of 256 characters is as good as any",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser().padEnd(254, "x")
      const [one] = [await put({ userId: `${user}a1` }), await put({ userId: `${user}b1` })]
      expectEqual(
        (await store.listByUser(`${user}a1`)).map(({ id }) => id),
        [one],
      )
    },
  },
  {
    name: "update: binding, rebinding and unbinding a user moves the session in the index",
    needs: "userIndex",
    run: async ({ store, put, read, advance }) => {
      const [ann, bob] = [freshUser(), freshUser()]
      const id = await put()
      await advance(10)
      await store.update(id, changing({}, { user: { userId: ann, label: "x", absoluteTtl: null } }))
      expectEqual(
        (await store.listByUser(ann)).map((summary) => summary.id),
        [id],
      )
      expectTrue(
        Number((await read(id)).signedInAt) > Number((await read(id)).createdAt),
        "signedInAt to be now",
      )
      await store.update(id, changing({}, { user: { userId: bob, label: null, absoluteTtl: null } }))
      expectEqual([await store.listByUser(ann), (await store.listByUser(bob)).length], [[], 1])
      await store.update(id, changing({}, { user: { userId: null, label: null, absoluteTtl: null } }))
      expectEqual(await store.listByUser(bob), [])
      const record = await read(id)
      expectEqual([record.userId, record.label, record.signedInAt], [null, null, null])
    },
  },
  {
    name: "update: a change that says nothing of the user leaves the binding and the sign-in time",
    needs: "userIndex",
    run: async ({ store, put, read, advance }) => {
      const user = freshUser()
      const id = await put({ userId: user, label: "x" })
      const { signedInAt } = await read(id)
      await advance(10)
      await store.update(id, changing({ a: 1 }))
      const record = await read(id)
      expectEqual([record.userId, record.label, record.signedInAt], [user, "x", signedInAt])
      expectEqual((await store.listByUser(user)).length, 1)
    },
  },
  {
    name: "update: unbinding keeps the absolute end, binding may restart it",
    precise: true,
    run: async ({ store, put, read, advance }) => {
      const id = await put({ userId: "ann", absoluteTtl: 2 * HOUR })
      await advance(HOUR / 2)
      await store.update(id, changing({}, { user: { userId: null, label: null, absoluteTtl: null } }))
      expectEqual((await read(id)).absoluteExpiresIn, 1.5 * HOUR)
      await store.update(id, changing({}, { user: { userId: "bob", label: null, absoluteTtl: 3 * HOUR } }))
      expectEqual((await read(id)).absoluteExpiresIn, 3 * HOUR)
    },
  },
  {
    name: "changeId: the index follows to the new id, and forgets the old one",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser()
      const [id, next] = [await put({ userId: user }), freshId()]
      await store.changeId(id, next, move())
      expectEqual(
        (await store.listByUser(user)).map((summary) => summary.id),
        [next],
      )
    },
  },
  {
    name: "create: taking over an expired id takes it out of the old user's list",
    needs: "userIndex",
    run: async ({ store, put, advance }) => {
      const [ann, bob] = [freshUser(), freshUser()]
      const id = await put({ userId: ann, idleTtl: 1000 })
      await advance(1001)
      await store.create(id, {
        state: new Map(),
        userId: bob,
        label: null,
        idleTtl: HOUR,
        fixedTtl: null,
        cookieKind: null,
        absoluteTtl: HOUR,
      })
      expectEqual([await store.listByUser(ann), (await store.listByUser(bob)).length], [[], 1])
    },
  },
  {
    name: "deleteByUser: ends every session of the user, and says how many",
    needs: "userIndex",
    run: async ({ store, put, read }) => {
      const [ann, bob] = [freshUser(), freshUser()]
      const ids = [await put({ userId: ann }), await put({ userId: ann }), await put({ userId: ann })]
      const other = await put({ userId: bob })
      expectEqual(await store.deleteByUser(ann, ended), 3)
      for (const id of ids) expectEqual(await store.load(id), { ended: true })
      expectEqual(await store.listByUser(ann), [])
      await read(other)
      expectEqual(await store.deleteByUser(ann, ended), 0, "the second time")
    },
  },
  {
    name: "deleteByUser: without a tombstone leaves no trace",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser()
      const id = await put({ userId: user })
      expectEqual(await store.deleteByUser(user), 1)
      expectEqual(await store.load(id), undefined)
    },
  },
  {
    name: "deleteByUser: spares the one that is excepted",
    needs: "userIndex",
    run: async ({ store, put, read }) => {
      const user = freshUser()
      const [one, two] = [await put({ userId: user }), await put({ userId: user })]
      expectEqual(await store.deleteByUser(user, { except: one, ...ended }), 1)
      await read(one)
      expectEqual(await store.load(two), { ended: true })
      expectEqual(
        (await store.listByUser(user)).map(({ id }) => id),
        [one],
      )
    },
  },
  {
    name: "deleteByUser: spares the one that is excepted under the id that it has moved to",
    needs: "userIndex",
    run: async ({ store, put, read, grace }) => {
      const user = freshUser()
      const [id, middle, last] = [await put({ userId: user }), freshId(), freshId()]
      await store.changeId(id, middle, move({ grace }))
      await store.changeId(middle, last, move())
      const other = await put({ userId: user })
      expectEqual(await store.deleteByUser(user, { except: id, ...ended }), 1)
      await read(last)
      expectEqual(await store.load(other), { ended: true })
    },
  },
  {
    name: "deleteByUser: does not spare what a change of privilege has made of the one that is excepted",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser()
      const [id, next] = [await put({ userId: user }), freshId()]
      await store.changeId(id, next, move({ privilegeChanged: true }))
      expectEqual(await store.deleteByUser(user, { except: id, ...ended }), 1)
      expectEqual(await store.load(next), { ended: true })
    },
  },
  {
    name: "deleteByUser: does not count what has expired or ended before",
    needs: "userIndex",
    run: async ({ store, put, advance }) => {
      const user = freshUser()
      await put({ userId: user, idleTtl: 1000 })
      const dead = await put({ userId: user })
      await store.delete(dead, ended)
      await advance(1001)
      await put({ userId: user })
      expectEqual(await store.deleteByUser(user, ended), 1)
    },
  },
  {
    name: "deleteByUser: ends a session that has moved, under its new id",
    needs: "userIndex",
    run: async ({ store, put, grace }) => {
      const user = freshUser()
      const [id, next] = [await put({ userId: user }), freshId()]
      await store.changeId(id, next, move({ grace }))
      expectEqual(await store.deleteByUser(user, ended), 1)
      expectEqual(await store.load(next), { ended: true })
    },
  },
  {
    name: "deleteByUser: a session that was signed out is nobody's",
    needs: "userIndex",
    run: async ({ store, put, read }) => {
      const user = freshUser()
      const [id, next] = [await put({ userId: user }), freshId()]
      const change = changing({}, { clear: true, user: { userId: null, label: null, absoluteTtl: null } })
      await store.changeId(id, next, { change, ...move({ privilegeChanged: true }) })
      expectEqual(await store.deleteByUser(user, ended), 0)
      await read(next)
    },
  },
  {
    name: "deleteByUser: what it ended, no update, touch or rotation brings back",
    needs: "userIndex",
    run: async ({ store, put }) => {
      const user = freshUser()
      const id = await put({ userId: user })
      await store.deleteByUser(user, ended)
      await expectRejects(store.update(id, changing({ a: 1 })), UnknownIdError)
      await expectRejects(store.updateTtl(id), UnknownIdError)
      await expectRejects(store.changeId(id, freshId(), move()), UnknownIdError)
      expectEqual([await store.load(id), await store.listByUser(user)], [{ ended: true }, []])
    },
  },
]

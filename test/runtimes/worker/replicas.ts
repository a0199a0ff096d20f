import { createSessions, type FollowingStore, type SessionStore, UnknownIdError } from "coatcheck"
import { type D1Binding, d1Store } from "coatcheck/d1"
import type { StoreCase } from "coatcheck/testing"
import {
  changing,
  ended,
  expectEqual,
  expectRejects,
  expectTrue,
  freshId,
  freshUser,
  newRecord,
} from "../../../src/testing/conformance/kit.ts"
import { type Lagging, lagging } from "./lagging.ts"

interface Situation extends Lagging {
  readonly store: SessionStore
  /** What a request sees that carries this bookmark. */
  readonly request: (bookmark?: string) => FollowingStore
}

/** What holds while a replica lags behind. */
export function replicaCases(primary: D1Binding, replica: D1Binding): StoreCase[] {
  return Object.entries(CASES).map(([name, run]) => ({
    name,
    run: async () => {
      const table = `sessions_${crypto.randomUUID().replaceAll("-", "")}`
      for (const each of [primary, replica]) await d1Store(each, { table }).migrate()
      const behind = lagging(primary, replica, table)
      const store = d1Store(behind.binding, { table, replicas: true })
      const follow = store.follow?.bind(store) as (bookmark: string | undefined) => FollowingStore
      await run({ ...behind, store, request: (bookmark) => follow(bookmark) })
    },
  }))
}

const CASES: Readonly<Record<string, (situation: Situation) => Promise<void>>> = {
  "whoever has just signed in is found, though the replica has not heard of it": async (it) => {
    const [id, user] = [freshId(), freshUser()]
    const login = it.request()
    await login.create(id, newRecord({ userId: user }))
    const found = await it.request(login.bookmark).load(id)
    expectTrue(found !== undefined && "state" in found, "the session")
    expectEqual(it.answered, { primary: 2, replica: 0 })
  },

  "once the replica has caught up, it answers": async (it) => {
    const id = freshId()
    const login = it.request()
    await login.create(id, newRecord({ state: new Map([["a", "1"]]) }))
    await it.catchUp()
    const next = it.request(login.bookmark)
    const found = await next.load(id)
    expectEqual(found !== undefined && "state" in found && found.state, { a: 1 })
    expectEqual(it.answered, { primary: 1, replica: 1 })
    expectEqual(next.bookmark, login.bookmark)
  },

  "a request reads what it has written": async (it) => {
    const id = freshId()
    const login = it.request()
    await login.create(id, newRecord())
    await it.catchUp()
    const next = it.request(login.bookmark)
    await next.load(id)
    await next.update(id, changing({ a: 1 }))
    const found = await next.load(id)
    expectEqual(found !== undefined && "state" in found && found.state, { a: 1 })
  },

  "G5: what was revoked elsewhere can be read for as long as the replica lags behind, and not be written":
    async (it) => {
      const [id, user] = [freshId(), freshUser()]
      const login = it.request()
      await login.create(id, newRecord({ userId: user }))
      await it.catchUp()
      expectEqual(await it.store.deleteByUser(user, ended), 1)
      const late = it.request(login.bookmark)
      expectTrue("state" in ((await late.load(id)) ?? {}), "the replica to be behind")
      expectEqual((await expectRejects(late.update(id, changing({ a: 1 })), UnknownIdError)).gone, {
        ended: true,
      })
      expectEqual(await late.load(id), { ended: true }, "after its own write")
      expectEqual(await it.request(login.bookmark).load(id, { fresh: true }), { ended: true }, "fresh")
      await it.catchUp()
      expectEqual(
        await it.request(login.bookmark).load(id),
        { ended: true },
        "when the replica has caught up",
      )
    },

  "a bookmark that the replica never comes to is answered by the primary": async (it) => {
    const id = freshId()
    await it.store.create(id, newRecord())
    const found = await it.request("at-99999999").load(id)
    expectTrue(found !== undefined && "state" in found, "the session")
  },

  "in a browser: signed in, read, changed, signed out, with the bookmark in the sealed cookie": async (
    it,
  ) => {
    const sessions = createSessions<{ cart: string }>({
      store: it.store,
      keys: ["a key for tests, long enough: 32 bytes"],
    })
    let cookie: string | undefined
    const visit = async <T>(use: (session: ReturnType<typeof sessions.open>) => T): Promise<Awaited<T>> => {
      const session = sessions.open(cookie)
      const result = await use(session)
      cookie = (await session.finalize()).setCookie?.split(";")[0] ?? cookie
      return result
    }
    const user = freshUser()
    await visit((session) => session.signIn(user))
    expectEqual(await visit((session) => session.userId()), user, "right after the sign-in")
    expectEqual(it.answered.replica, 0, "answers of a replica that lags behind")
    await it.catchUp()
    expectEqual(await visit((session) => session.userId()), user, "from the replica")
    expectTrue(it.answered.replica > 0, "the replica to be asked")
    await visit((session) => session.set("cart", "bowler"))
    expectEqual(await visit((session) => session.get("cart")), "bowler", "right after the change")
    await visit((session) => session.signOut())
    expectEqual(await visit((session) => session.userId()), null, "right after the sign-out")
  },
}

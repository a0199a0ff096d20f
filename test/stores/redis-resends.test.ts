import { afterAll, beforeAll, describe, expect, test } from "vitest"
import {
  createSessions,
  DuplicateIdError,
  type SessionRecord,
  type Sessions,
  UnknownIdError,
} from "coatcheck"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import * as scripts from "../../src/stores/redis-scripts.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import { type Proxy, startProxy } from "../support/servers/proxy.ts"
import { type SentinelGroup, startSentinel } from "../support/servers/sentinel.ts"
import { expectStoreError } from "./faults.ts"
import { type Client, clusterDrivers, redisDrivers, sentinelDrivers } from "./redis-clients.ts"
import { describeOnRedis, openOn, portsOf, teachScripts } from "./redis-engines.ts"

/**
 * A connection that ends after the engine has carried something out, and before its answer has come. Some drivers send again what they have
 * no answer to, and so the store must know what it has seen; with the others it is a typed error, and nothing is sent twice.
 */

const { UPDATE, CREATE, MOVE, END, END_BY_USER, TOUCH, LOAD, LIST } = scripts
const { JOIN, PREPARE_MOVE, COMMIT_MOVE, FINISH_MOVE, LEAVE, ENTRIES, LOOK } = scripts
type Script = scripts.Script

const LOST =
  /: the connection was lost, so it is not known whether this was carried out; the next request connects anew\.$/
/** So many writes of others in between must not matter. */
const OTHERS = 10
const inTurn = { concurrent: false }

describeOnRedis(
  "redis",
  "an answer that is lost",
  () => {
    // The answer to be lost must not be that the script is not known.
    beforeAll(() => teachScripts(portsOf("redis")))

    for (const [driver, open] of Object.entries(redisDrivers)) {
      describeLostAnswers(driver, /ioredis/.test(driver), false, async () => {
        const [port] = portsOf("redis") as [number]
        const proxy = await startProxy(port)
        const own = { socket: { host: "127.0.0.1", port: proxy.port, reconnectStrategy: 20 } }
        const options = /ioredis/.test(driver) ? {} : { own }
        const [client, direct] = [await open({ port: proxy.port }, options), await openOn("redis")]
        return { proxy, client, direct }
      })
    }
  },
  { concurrent: true },
)

describeOnRedis(
  "cluster",
  "an answer that is lost",
  () => {
    beforeAll(() => teachScripts(portsOf("cluster")))

    for (const [driver, open] of Object.entries(clusterDrivers)) {
      describeLostAnswers(driver, /ioredis/.test(driver), true, async () => {
        const ports = portsOf("cluster")
        const proxy = await startProxy(...ports)
        // Or a client of ioredis gives up after sixteen times.
        const own = /ioredis/.test(driver) ? { maxRedirections: 200 } : {}
        const client = await open([...proxy.by.values()], { by: proxy.by, own })
        return { proxy, client, direct: await openOn("cluster") }
      })
    }
  },
  { concurrent: true },
)

describeOnRedis(
  "redis",
  "a sentinel, and an answer that is lost",
  () => {
    let group: SentinelGroup
    beforeAll(async () => {
      group = (await startSentinel())!
      await teachScripts([group.nodes[0].port])
    })
    afterAll(() => group.stop())

    for (const [driver, open] of Object.entries(sentinelDrivers)) {
      // Its sentinel client tries again whatever has failed while the connection ended.
      describeLostAnswers(driver, true, false, async () => {
        const { port } = group.nodes[0]
        const proxy = await startProxy(port)
        const client = await open(group.sentinel.port, group.name, { by: proxy.by })
        const direct = await (redisDrivers["node-redis 6"] as (typeof redisDrivers)[string])({ port })
        return { proxy, client, direct }
      })
    }
  },
  { concurrent: true },
)

interface Setup {
  readonly proxy: Proxy
  readonly client: Client
  /** A client without the proxy. */
  readonly direct: Client
}

function describeLostAnswers(
  driver: string,
  resends: boolean,
  spread: boolean,
  open: () => Promise<Setup>,
): void {
  describe(`through ${driver}`, { concurrent: true }, () => {
    let setup: Setup
    let store: SessionStore
    let other: SessionStore
    let sessions: Sessions

    beforeAll(async () => {
      setup = await open()
      store = redisStore(setup.client.client)
      other = redisStore(setup.direct.client)
      sessions = createSessions({
        store,
        keys: ["a key for tests, long enough: 32 bytes"],
        storeTimeout: "10s",
      })
    })
    afterAll(async () => {
      await Promise.all([setup.client.close(), setup.direct.close()])
      await setup.proxy.stop()
    })

    /** Runs a task that loses the answer to a script, and does something else before it can connect again. */
    async function losing<T>(
      script: Script,
      task: () => Promise<T>,
      meanwhile: () => Promise<unknown> = async () => undefined,
    ): Promise<T | Error> {
      // In the middle of the answer, and before its beginning.
      const lost = setup.proxy.loseReply(await script.digest, Math.floor(Math.random() * 3))
      const outcome = task().catch((error: Error) => error)
      await lost
      await meanwhile()
      setup.proxy.admit()
      return outcome
    }

    /** @returns what a client that sends again gives; undefined from one that has failed as it should. */
    function settled<T>(outcome: T | Error): T | undefined {
      if (resends) {
        if (outcome instanceof Error) throw outcome
        return outcome
      }
      expectStoreError(outcome, LOST)
      return undefined
    }

    async function put(userId: string | null = null): Promise<string> {
      const id = freshId()
      await other.create(id, newRecord({ userId }))
      return id
    }

    async function read(id: string): Promise<SessionRecord> {
      return (await other.load(id)) as SessionRecord
    }

    test.each([{ ifVersion: 1 }, {}])(
      "update %o is carried out once, whoever writes in between",
      inTurn,
      async (options) => {
        const id = await put()
        const outcome = await losing(
          UPDATE,
          () => store.update(id, changing({ mine: 1 }), options),
          async () => {
            for (let count = 0; count < OTHERS; count++)
              await other.update(id, changing({ other: count, mine: 2 }))
          },
        )
        if (resends) expect(settled(outcome)).toMatchObject({ version: 2 })
        else settled(outcome)
        expect(await read(id)).toMatchObject({ version: 2 + OTHERS, state: { mine: 2, other: OTHERS - 1 } })
      },
    )

    test("transact counts once, whoever counts in between", inTurn, async () => {
      const session = sessions.open(undefined)
      session.set("count", 0)
      const { setCookie } = await session.finalize()
      const cookie = setCookie?.split(";")[0] as string
      const id = session.id as string
      const [mine] = [sessions.open(cookie)]
      const outcome = await losing(
        UPDATE,
        () => mine.transact((state) => state.set("count", (state.get("count") as number) + 1)),
        async () => {
          for (let count = 0; count < OTHERS; count++) {
            const { state, version } = await read(id)
            const next = (state["count"] as number) + 1
            await other.update(id, changing({ count: next }), { ifVersion: version })
          }
        },
      )
      settled(outcome)
      expect((await read(id)).state["count"]).toBe(1 + OTHERS)
    })

    test("updateTtl", inTurn, async () => {
      const id = await put()
      settled(await losing(TOUCH, () => store.updateTtl(id)))
      expect(await read(id)).toMatchObject({ version: 1 })
    })

    test("load", inTurn, async () => {
      const id = await put()
      // While the engine's clock is known, the client asks for the bare key.
      await new Promise((resolve) => setTimeout(resolve, 1_010))
      settled(await losing(LOAD, () => store.load(id)))
    })

    const steps = spread ? { JOIN, CREATE } : { CREATE }
    test.each(Object.entries(steps))(
      "create makes one session: the answer to %s",
      inTurn,
      async (step, script) => {
        const [id, user] = [freshId(), freshUser()]
        const record = newRecord({ userId: user, state: new Map([["made", "1"]]) })
        const outcome = await losing(
          script,
          () => store.create(id, record),
          async () => {
            if (step === "CREATE") await other.update(id, changing({ other: 1 }))
          },
        )
        settled(outcome)
        const listed = await other.listByUser(user)
        if (step === "JOIN" && !resends) expect(listed).toEqual([])
        else {
          expect(listed.map((each) => each.id)).toEqual([id])
          const state = step === "CREATE" ? { made: 1, other: 1 } : { made: 1 }
          expect((await read(id)).state).toEqual(state)
        }
      },
    )

    test("create: one that was ended in between stays so", inTurn, async () => {
      const id = freshId()
      const outcome = await losing(
        CREATE,
        () => store.create(id, newRecord()),
        () => other.delete(id, ended),
      )
      if (resends) expect(outcome).toBeInstanceOf(DuplicateIdError)
      else settled(outcome)
      expect(await other.load(id)).toEqual({ ended: true })
    })

    const hops = spread ? { LOAD, JOIN, PREPARE_MOVE, COMMIT_MOVE, FINISH_MOVE } : { MOVE }
    test.each(Object.entries(hops))("changeId moves once: the answer to %s", inTurn, async (step, script) => {
      const user = freshUser()
      const [id, next] = [await put(user), freshId()]
      const options = { ...move({ grace: HOUR }), change: changing({ moved: 1 }) }
      const outcome = await losing(
        script,
        () => store.changeId(id, next, options),
        async () => {
          const last = await other.load(id)
          // As another request in its grace does.
          if (last !== undefined && "movedTo" in last) await other.update(next, changing({ other: 1 }))
        },
      )
      const isDone = ["MOVE", "COMMIT_MOVE", "FINISH_MOVE"].includes(step)
      if (settled(outcome) !== undefined) expect(outcome).toMatchObject({ version: 2 })
      if (isDone || resends) {
        expect(await other.load(id)).toMatchObject({ movedTo: next })
        const state = isDone ? { moved: 1, other: 1 } : { moved: 1 }
        expect(await read(next)).toMatchObject({ version: isDone ? 3 : 2, state })
      } else {
        expect(await read(id)).toMatchObject({ version: 1, state: {} })
        expect(await other.load(next)).toBeUndefined()
      }
      expect((await other.listByUser(user)).length).toBe(1)
    })

    test.each(Object.entries(hops))(
      "changeId brings nothing back that was revoked meanwhile: the answer to %s",
      inTurn,
      async (_step, script) => {
        const user = freshUser()
        const [id, next] = [await put(user), freshId()]
        const outcome = await losing(
          script,
          () => store.changeId(id, next, move({ grace: HOUR })),
          async () => expect(await other.deleteByUser(user, ended)).toBe(1),
        )
        if (outcome instanceof UnknownIdError) expect(resends).toBe(true)
        else if (!spread || outcome instanceof Error) settled(outcome)
        expect(await other.load(id)).not.toHaveProperty("state")
        expect((await other.load(next)) ?? {}).not.toHaveProperty("state")
        expect(await other.listByUser(user)).toEqual([])
      },
    )

    const ends = spread ? { END, LEAVE } : { END }
    test.each(Object.entries(ends))(
      "delete ends the session: the answer to %s",
      inTurn,
      async (step, script) => {
        const id = await put(freshUser())
        const outcome = await losing(script, () => store.delete(id, ended))
        // That the index holds one too many is no failure.
        if (step === "LEAVE") expect(outcome).toBeUndefined()
        else settled(outcome)
        expect(await other.load(id)).toEqual({ ended: true })
      },
    )

    test("delete without a tombstone: a client that sends again finds nothing any more", inTurn, async () => {
      const id = await put()
      const outcome = await losing(END, () => store.delete(id))
      if (resends) expect(outcome).toBeInstanceOf(UnknownIdError)
      else settled(outcome)
      expect(await other.load(id)).toBeUndefined()
    })

    const revocations = spread ? { ENTRIES, END } : { END_BY_USER }
    test.each(Object.entries(revocations))(
      "deleteByUser ends all: the answer to %s",
      inTurn,
      async (step, script) => {
        const user = freshUser()
        const ids = await Promise.all([put(user), put(user), put(user)])
        const outcome = await losing(script, () => store.deleteByUser(user, ended))
        if (settled(outcome) === undefined && step === "ENTRIES") return
        if (!resends) await other.deleteByUser(user, ended)
        expect(await other.listByUser(user)).toEqual([])
        for (const id of ids) expect(await other.load(id)).toEqual({ ended: true })
      },
    )

    const lists = spread ? { ENTRIES, LOOK } : { LIST }
    test.each(Object.entries(lists))("listByUser: the answer to %s", inTurn, async (_step, script) => {
      const user = freshUser()
      const id = await put(user)
      const list = settled(await losing(script, () => store.listByUser(user)))
      if (list !== undefined) expect(list.map((each) => each.id)).toEqual([id])
    })
  })
}

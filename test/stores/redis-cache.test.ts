import { randomBytes } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import { createClient } from "redis"
import { afterEach, describe, expect, inject, test } from "vitest"
import { createSessions, type Session, type Sessions } from "coatcheck"
import { cachedStore, type Invalidation, memoryCache } from "coatcheck/cached"
import { memoryStore } from "coatcheck/memory"
import { redisCache, type RedisCacheClient, redisInvalidation } from "coatcheck/redis"
import { type SpyStore, spyStore } from "coatcheck/testing"
import { eventually } from "../support/servers/redis.ts"
import { redisDrivers } from "./redis-clients.ts"

const server = inject("servers").redis
const port = server?.port ?? 0
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

interface Visits {
  visits: number
}

const keys = [randomBytes(32)]

function appOn(
  authority: SpyStore,
  cache: Parameters<typeof cachedStore>[0],
  invalidation?: Invalidation,
): Sessions<Visits> {
  const store = cachedStore(cache, authority, { staleness: "1m", invalidation })
  closing.push(() => store.close())
  return createSessions<Visits>({ store, keys })
}

/** A session with a visit, of a user. */
async function visitor(app: Sessions<Visits>, user: string): Promise<{ cookie: string; id: string }> {
  const session = app.open(undefined)
  session.signIn(user)
  session.set("visits", 1)
  const { setCookie } = await session.finalize()
  return { cookie: (setCookie as string).split(";")[0] as string, id: session.id as string }
}

async function visits(session: Session<Visits>): Promise<number | undefined> {
  return await session.get("visits")
}

describe.skipIf(server === null)("Redis in front of a slower store", () => {
  for (const [driver, open] of Object.entries(redisDrivers)) {
    test(`redisCache through ${driver}: another server reads what one has cached, and not what one has changed`, async () => {
      const { client, close } = await open({ port })
      closing.push(close)
      const prefix = `cache-${randomBytes(4).toString("hex")}:`
      const cache = redisCache(client as RedisCacheClient, { prefix })
      const authority = spyStore(memoryStore())
      const [one, other] = [appOn(authority, cache), appOn(authority, cache)]
      const { cookie } = await visitor(one, "alice")
      expect(await visits(one.open(cookie))).toBe(1)
      const asked = authority.log.length
      await eventually(async () => (await cache.get(one.open(cookie).id as string)) !== undefined)
      expect(await visits(other.open(cookie))).toBe(1)
      expect(authority.log).toHaveLength(asked)

      const session = other.open(cookie)
      session.set("visits", 2)
      await session.finalize()
      expect(await visits(one.open(cookie))).toBe(2)
    })
  }
})

type OpenInvalidation = () => Promise<Invalidation>

const channel = `invalidation-${randomBytes(4).toString("hex")}`

const invalidations: Record<string, OpenInvalidation> = {
  "node-redis": async () => {
    const publisher = createClient({ socket: { host: "127.0.0.1", port } })
    const subscriber = publisher.duplicate()
    for (const client of [publisher, subscriber]) {
      client.on("error", () => undefined)
      await client.connect()
      closing.push(() => client.destroy())
    }
    return redisInvalidation(publisher, subscriber, { channel })
  },
  ioredis: async () => {
    const publisher = new Redis({ port })
    const subscriber = publisher.duplicate()
    closing.push(
      () => publisher.disconnect(),
      () => subscriber.disconnect(),
    )
    return redisInvalidation(publisher, subscriber, { channel })
  },
}

describe.skipIf(server === null)("invalidation over Redis", () => {
  for (const [driver, open] of Object.entries(invalidations)) {
    test(`through ${driver}: a revocation reaches every server long before what it has cached is too old`, async () => {
      const authority = spyStore(memoryStore())
      const one = appOn(authority, memoryCache(), await open())
      const other = appOn(authority, memoryCache(), await open())
      const [alice, bob] = [await visitor(one, "alice"), await visitor(one, "bob")]
      // Each server has both in its cache.
      for (const app of [one, other])
        for (const { cookie } of [alice, bob]) expect(await visits(app.open(cookie))).toBe(1)
      await sleep(100)
      const asked = authority.log.length
      expect(await visits(other.open(alice.cookie))).toBe(1)
      expect(authority.log).toHaveLength(asked)

      await one.revoke(alice.id)
      await eventually(async () => (await visits(other.open(alice.cookie))) === undefined)
      expect(await visits(other.open(bob.cookie))).toBe(1)
      await one.revokeByUser("bob")
      await eventually(async () => (await visits(other.open(bob.cookie))) === undefined)
    })
  }

  test("what others say on the channel does no harm", async () => {
    const authority = spyStore(memoryStore())
    const app = appOn(authority, memoryCache(), await (invalidations["ioredis"] as OpenInvalidation)())
    const { cookie } = await visitor(app, "alice")
    expect(await visits(app.open(cookie))).toBe(1)
    await sleep(100)
    const talker = new Redis({ port })
    closing.push(() => talker.disconnect())
    for (const text of ["", "hello", "[1, null, {}]", '{"id": "x"}']) await talker.publish(channel, text)
    await sleep(100)
    expect(await visits(app.open(cookie))).toBe(1)
  })
})

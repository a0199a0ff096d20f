import { createClient } from "redis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import {
  changing,
  ended,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
} from "../../src/testing/conformance/kit.ts"
import { command, type RedisCluster, startCluster } from "../support/servers/redis.ts"
import { type Client, clusterDrivers } from "./redis-clients.ts"
import { describeOnRedis, freshPrefix, type Opened, openStore, portsOf } from "./redis-engines.ts"

/** What went wrong once. */

describeOnRedis("redis", "corners", () => {
  let opened: Opened
  let store: SessionStore
  beforeAll(async () => {
    opened = await openStore("redis")
    store = opened.store
  })
  afterAll(() => opened.client.close())

  test("a list of more sessions than one script looks at names each live one once, whatever signs in and ends meanwhile", async () => {
    const user = freshUser()
    const ids = Array.from({ length: 1200 }, () => freshId())
    await Promise.all(ids.map((id) => store.create(id, newRecord({ userId: user }))))
    const listing = store.listByUser(user)
    const meanwhile = Array.from({ length: 8 }, () => store.create(freshId(), newRecord({ userId: user })))
    const dying = ids.slice(0, 4)
    await Promise.all([...meanwhile, ...dying.map((id) => store.delete(id, ended))])
    const listed = (await listing).map((session) => session.id)
    expect(new Set(listed).size).toBe(listed.length)
    expect(ids.slice(4).filter((id) => !listed.includes(id))).toEqual([])
    expect(await store.deleteByUser(user)).toBe(1200 - 4 + 8)
    expect(await store.listByUser(user)).toEqual([])
  })

  test("a cache inside the client of node-redis is not asked for sessions: what was revoked is dead at once", async () => {
    const [port] = portsOf("redis")
    const client = createClient({
      RESP: 3,
      socket: { host: "127.0.0.1", port: port as number },
      clientSideCache: { ttl: 0, maxEntries: 0 },
    })
    client.on("error", () => undefined)
    await client.connect()
    try {
      const cached = redisStore(client, { prefix: opened.prefix })
      for (let round = 0; round < 200; round++) {
        const id = freshId()
        await cached.create(id, newRecord())
        for (let read = 0; read < 2; read++) expect(await cached.load(id)).toMatchObject({ version: 1 })
        await store.delete(id, ended)
        expect(await cached.load(id)).toEqual({ ended: true })
      }
      expect(client.clientSideCache?.stats().loadSuccessCount).toBe(0)
    } finally {
      client.destroy()
    }
  })
})

describeOnRedis("cluster", "corners", () => {
  let cluster: RedisCluster
  let ports: readonly number[]
  let client: Client
  beforeAll(async () => {
    cluster = (await startCluster(2))!
    ports = cluster.nodes.map((node) => node.port)
    client = await clusterDrivers["node-redis 6"]!(ports)
  })
  afterAll(async () => {
    await client.close()
    await cluster.stop()
  })

  /** Puts a key's slot on its way to the other node, though nothing is sent. @returns what takes that back. */
  async function migrating(key: string): Promise<() => Promise<void>> {
    const slot = String(await command(ports[0] as number, ["CLUSTER", "KEYSLOT", key]))
    const [from, to] = (Number(slot) < 8192 ? ports : ports.toReversed()) as [number, number]
    const [fromName, toName] = await Promise.all(
      [from, to].map(async (port) => String(await command(port, ["CLUSTER", "MYID"]))),
    )
    await command(to, ["CLUSTER", "SETSLOT", slot, "IMPORTING", fromName as string])
    await command(from, ["CLUSTER", "SETSLOT", slot, "MIGRATING", toName as string])
    return async () => {
      for (const port of [to, from]) await command(port, ["CLUSTER", "SETSLOT", slot, "STABLE"])
    }
  }

  test("a session whose slot is on its way can be ended, revoked and moved, and leaves word of it", async () => {
    const prefix = freshPrefix()
    const store = redisStore(client.client, { prefix })
    const user = freshUser()
    const [deleted, revoked, moved, next] = [freshId(), freshId(), freshId(), freshId()]
    for (const id of [deleted, revoked, moved]) await store.create(id, newRecord({ userId: user }))
    for (const id of [deleted, revoked, moved]) {
      const stay = await migrating(prefix + id)
      if (id === deleted) await store.delete(id, ended)
      else if (id === moved) await store.changeId(id, next, move({ grace: HOUR, privilegeChanged: true }))
      else expect(await store.deleteByUser(user, { ...ended, except: moved })).toBe(1)
      expect(await store.load(id)).toMatchObject(id === moved ? { movedTo: next } : { ended: true })
      await stay()
    }
    expect((await store.listByUser(user)).map((session) => session.id)).toEqual([next])
  })

  test("a move is finished though the new slot has set out just before", async () => {
    const prefix = freshPrefix()
    const [id, next] = [freshId(), freshId()]
    let stay: (() => Promise<void>) | undefined
    let calls = 0
    const { client: inner } = client
    const watched = new Proxy(inner, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target)
        if (name !== "evalSha") return typeof member === "function" ? member.bind(target) : member
        return async (...input: unknown[]) => {
          // The fourth step: read, prepare, commit, finish.
          if (++calls === 4) stay = await migrating(prefix + next)
          return await (member as (...args: unknown[]) => unknown).apply(target, input)
        }
      },
    })
    const store = redisStore(inner, { prefix })
    await store.create(id, newRecord())
    await redisStore(watched, { prefix }).changeId(id, next, move())
    expect(stay).toBeDefined()
    await stay?.()
    expect(await store.load(next)).toMatchObject({ version: 2 })
  })

  test("a session that one binds to a user while another unbinds it is in the list if it is the user's", async () => {
    const store = redisStore(client.client, { prefix: freshPrefix() })
    const nobody = { userId: null, label: null, absoluteTtl: null }
    await Promise.all(
      Array.from({ length: 60 }, async () => {
        const [id, user] = [freshId(), freshUser()]
        await store.create(id, newRecord({ userId: user }))
        const somebody = { userId: user, label: null, absoluteTtl: HOUR }
        await Promise.all([
          store.update(id, changing({}, { user: nobody })),
          store.update(id, changing({}, { user: somebody })),
        ])
        const found = (await store.load(id)) as { userId: string | null }
        const listed = (await store.listByUser(user)).map((session) => session.id)
        expect(listed).toEqual(found.userId === null ? [] : [id])
      }),
    )
  })
})

import { randomBytes } from "node:crypto"
import { expect, inject, test } from "vitest"
import { redisStore } from "coatcheck/redis"
import { command } from "../support/servers/redis.ts"
import { redisDrivers } from "./redis-clients.ts"

const server = inject("servers").redis

/** An engine that evicts keys by their last use takes the set of a user's sessions before the sessions, which are used with each request. */
test.skipIf(server === null)(
  "a session whose entry the engine has evicted is entered again by its next write or touch",
  async () => {
    const port = server!.port
    const { client, close } = await redisDrivers["ioredis 5"]!({ port })
    const prefix = `evicted-${randomBytes(4).toString("hex")}:`
    const store = redisStore(client, { prefix })
    const user = 'somebody with a "name" of many letters, so that it does not fit into what is read at first'
    try {
      for (const write of ["touch", "update"] as const) {
        const id = randomBytes(32).toString("base64url")
        const facts = { label: null, idleTtl: 60_000, fixedTtl: null, cookieKind: null, absoluteTtl: 90_000 }
        await store.create(id, { ...facts, state: new Map(), userId: user })
        const index = `${prefix}user:${JSON.stringify(user)}`
        expect(await command(port, ["DEL", index])).toBe(1)
        if (write === "touch") await store.updateTtl(id)
        else await store.update(id, { set: new Map([["a", "1"]]), remove: new Set() })
        expect((await store.listByUser(user)).map((session) => session.id)).toEqual([id])
        expect(Number(await command(port, ["PTTL", index]))).toBeGreaterThan(60_000)
        expect(await store.deleteByUser(user)).toBe(1)
      }
    } finally {
      await close()
    }
  },
)

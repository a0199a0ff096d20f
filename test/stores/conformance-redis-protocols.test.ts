import { openBytes, type OpenClient, redisDrivers } from "./redis-clients.ts"
import { describeRedisLaws, portsOf } from "./redis-conformance.ts"

/** What a client may be told besides: the other protocol, a prefix of its own, bytes in the place of strings. */

describeLaws("node-redis 6 with RESP2", (server) => redisDrivers["node-redis 6"]!(server, { resp: 2 }))
describeLaws("node-redis 5 with RESP3", (server) => redisDrivers["node-redis 5"]!(server, { resp: 3 }))
describeLaws("ioredis 6 with RESP3", (server) => redisDrivers["ioredis 6"]!(server, { resp: 3 }))
describeLaws("node-redis 6 that hands out bytes", openBytes)

for (const driver of ["node-redis 6", "ioredis 5"]) {
  const open: OpenClient = (server) => redisDrivers[driver]!(server, { own: { keyPrefix: `${driver}:` } })
  describeLaws(`${driver} with a prefix of its own`, open, `${driver}:`)
}

function describeLaws(title: string, open: OpenClient, added = ""): void {
  const openOne = ([port]: readonly number[]): ReturnType<OpenClient> => open({ port: port! })
  describeRedisLaws(`Redis: redisStore through ${title}`, portsOf("redis"), openOne, "tickets:", {
    added,
    quick: true,
  })
}

import { redisDrivers } from "./redis-clients.ts"
import { describeRedisLaws, portsOf } from "./redis-conformance.ts"

for (const driver of ["node-redis 6", "ioredis 5"]) {
  describeRedisLaws(`Valkey: redisStore through ${driver}`, portsOf("valkey"), ([port]) =>
    redisDrivers[driver]!({ port: port! }),
  )
}

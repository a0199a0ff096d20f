import { redisDrivers } from "./redis-clients.ts"
import { describeRedisLaws, portsOf } from "./redis-conformance.ts"

for (const [driver, open] of Object.entries(redisDrivers)) {
  describeRedisLaws(`Redis: redisStore through ${driver}`, portsOf("redis"), ([port]) =>
    open({ port: port! }),
  )
}

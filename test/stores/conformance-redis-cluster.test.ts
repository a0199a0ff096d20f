import { inject } from "vitest"
import { clusterDrivers } from "./redis-clients.ts"
import { describeRedisLaws } from "./redis-conformance.ts"

for (const [driver, open] of Object.entries(clusterDrivers)) {
  describeRedisLaws(`Redis Cluster: redisStore through ${driver}`, inject("cluster"), open)
}
describeRedisLaws(
  "Redis Cluster: redisStore with a hash tag",
  inject("cluster"),
  clusterDrivers["ioredis 5"]!,
  "{session}:",
)

import { createSessions } from "coatcheck"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import type { DatabaseFacts } from "./clients.ts"

/** One of the processes of `processes.test.ts`: requests that write a key of their own each and count one up, some of them at once. */

interface Task {
  readonly place: Place
  readonly key: string
  readonly cookie: string
  /** What this process's keys begin with. */
  readonly name: string
  readonly requests: number
}

export type Place = SqlPlace | RedisPlace

interface SqlPlace {
  readonly driver: string
  readonly database: DatabaseFacts
}

interface RedisPlace {
  readonly driver: string
  /** Of a server, or of a cluster's nodes. */
  readonly ports: readonly number[]
  readonly prefix: string
}

const AT_ONCE = 5

const { place, key, cookie, name, requests } = JSON.parse(process.argv[2] ?? "") as Task
const opened = await openPlace(place)
const sessions = createSessions({
  keys: [key],
  store: opened.store,
  storeTimeout: "20s",
  transactTimeout: "60s",
  onLostWrite: "throw",
})

let done = 0
const race = { isEnded: false }
const rest = Array.from({ length: requests }, (_, index) => index)
while (rest.length > 0 && !race.isEnded) await Promise.all(rest.splice(0, AT_ONCE).map(requestUnlessEnded))
process.stdout.write(String(done))
await opened.close()

async function requestUnlessEnded(index: number): Promise<void> {
  try {
    await request(index)
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_SESSION_ENDED") throw error
    race.isEnded = true
  }
}

async function request(index: number): Promise<void> {
  const session = sessions.open(cookie)
  session.set(`${name}-${index}`, true)
  await session.transact((state) => state.set("count", (state.get("count") as number) + 1))
  await session.finalize()
  done += 1
}

async function openPlace({
  driver,
  ...where
}: Place): Promise<{ store: SessionStore; close: () => Promise<void> }> {
  // Each process loads the drivers of its own kind of place alone, for that takes longer than its requests.
  if ("database" in where) {
    const { mysqlDrivers, postgresDrivers } = await import("./clients.ts")
    const open = { ...postgresDrivers, ...mysqlDrivers }[driver]
    if (open === undefined) throw new Error(`There is no driver ${driver}.`)
    const client = await open(where.database, { size: AT_ONCE })
    return { store: client.store(), close: () => client.close() }
  }
  const { ports, prefix } = where
  const { clusterDrivers, redisDrivers } = await import("./redis-clients.ts")
  const opening =
    ports.length > 1 ? clusterDrivers[driver]?.(ports) : redisDrivers[driver]?.({ port: ports[0] as number })
  if (opening === undefined) throw new Error(`There is no driver ${driver}.`)
  const { client, close } = await opening
  return { store: redisStore(client, { prefix }), close }
}

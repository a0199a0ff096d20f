/**
 * What a cache in front of PostgreSQL is worth, and how long it hides a revocation. Two servers, each with a memory of its own before one database,
 * are sent requests at a steady pace; which session a request belongs to follows Zipf's law, so a few visitors are busy and most are not. Takes a
 * minute. `--away 0` puts the database beside the servers; otherwise each of its answers takes so many milliseconds longer.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { createSessions, type Sessions, type SessionStore } from "coatcheck"
import { type CachedStore, cachedStore, type Duration, memoryCache } from "coatcheck/cached"
import { postgresStore } from "coatcheck/postgres"
import { redisInvalidation } from "coatcheck/redis"
import { Redis } from "ioredis"
import pg from "pg"
import { startPostgres } from "../../test/support/servers/postgres.ts"
import { startRedis } from "../../test/support/servers/redis.ts"
import { STATE } from "./sample.ts"

const { values } = parseArgs({ options: { away: { type: "string", default: "5" } } })
const AWAY = Number(values.away)
const VISITORS = 1000
const SERVERS = 2
const REQUESTS_PER_SECOND = 500
const WRITING_SHARE = 0.1
/** Milliseconds of each case, of which the first part is not counted. */
const [WARM_UP, MEASURED] = [1500, 4000]
const REVOKED = 40
const KEYS = ["a key for the measurement, long enough"]

interface Case {
  readonly name: string
  readonly staleness?: Duration
  /** Whether a visitor is always sent to the same server. */
  readonly sticky?: boolean
  /** Whether every request extends its session. */
  readonly extends?: boolean
  readonly told?: boolean
}

const CASES: readonly Case[] = [
  { name: "no cache" },
  { name: "1 s", staleness: "1s" },
  { name: "5 s", staleness: "5s" },
  { name: "5 s, same server for each visitor", staleness: "5s", sticky: true },
  { name: "5 s, servers tell each other over Redis", staleness: "5s", told: true },
  { name: "5 s, every request extends", staleness: "5s", extends: true },
]
const REVOCATIONS: readonly Case[] = [
  { name: "1 s", staleness: "1s" },
  { name: "5 s", staleness: "5s" },
  { name: "5 s, servers tell each other over Redis", staleness: "5s", told: true },
]

const server = await startPostgres()
const broker = await startRedis()
if (server === undefined || broker === undefined) throw new Error("PostgreSQL or Redis is not installed.")
const { host, port, user, password, database, version } = server
const pool = new pg.Pool({ host, port, user, password, database, max: 10 })
pool.on("error", () => undefined)
const brokers: Redis[] = []
try {
  await postgresStore(pool).migrate()
  print(
    `Node ${process.version}, PostgreSQL ${version}, ${AWAY} ms away. ${SERVERS} servers, ${VISITORS} visitors, `,
  )
  print(`${REQUESTS_PER_SECOND} requests a second, one in ${1 / WRITING_SHARE} writes.\n\n`)
  line("staleness", "hits", "loads", "median", "99th")
  for (const each of CASES) await measureLoad(each)
  print("\nfrom the end of revoke on one server to the last read on the other, in ms\n\n")
  line("staleness", "", "median", "90th", "longest")
  for (const each of REVOCATIONS) await measureRevocation(each)
} finally {
  for (const client of brokers) client.disconnect()
  await pool.end()
  await server.stop()
  await broker.stop()
}

interface Stage {
  readonly servers: readonly Sessions[]
  readonly caches: readonly CachedStore[]
  /** How often the database was asked for a session. */
  loads(): number
}

function stageOf({ staleness, extends: always = false, told = false }: Case): Stage {
  let loads = 0
  const store = postgresStore(pool)
  const authority: SessionStore = new Proxy(store, {
    get(target, name: keyof SessionStore) {
      const member = target[name]
      if (typeof member !== "function") return member
      return async (...args: never[]) => {
        if (name === "load") loads += 1
        if (AWAY > 0) await sleep(AWAY)
        return (member as (...input: never[]) => unknown).apply(target, args)
      }
    },
  })
  const caches: CachedStore[] = []
  const servers = Array.from({ length: SERVERS }, () => {
    const invalidation = told ? redisInvalidation(connect(), connect()) : undefined
    const cached =
      staleness === undefined ? undefined : cachedStore(memoryCache(), authority, { staleness, invalidation })
    if (cached !== undefined) caches.push(cached)
    const ttlExtensionThreshold = always ? 1 : undefined
    return createSessions({ store: cached ?? authority, keys: KEYS, ttlExtensionThreshold })
  })
  return { servers, caches, loads: () => loads }
}

function connect(): Redis {
  const client = new Redis({ port: broker?.port ?? 0 })
  client.on("error", () => undefined)
  brokers.push(client)
  return client
}

async function visitors(sessions: Sessions, count: number): Promise<{ cookie: string; id: string }[]> {
  const made: { cookie: string; id: string }[] = []
  while (made.length < count) {
    const batch = Array.from({ length: Math.min(50, count - made.length) }, async () => {
      const session = sessions.open(null)
      for (const [key, value] of Object.entries(STATE)) session.set(key, value)
      const { setCookie = "" } = await session.finalize()
      return { cookie: setCookie.split(";")[0] as string, id: session.id as string }
    })
    made.push(...(await Promise.all(batch)))
  }
  return made
}

async function measureLoad(each: Case): Promise<void> {
  const stage = stageOf(each)
  const all = await visitors(stage.servers[0] as Sessions, VISITORS)
  const pick = zipf(VISITORS)
  const times: number[] = []
  const pending = new Set<Promise<void>>()
  let [number, before, loadsBefore] = [0, hitsOf(stage), 0]

  const request = async (): Promise<void> => {
    const who = pick()
    const at = each.sticky === true ? who % SERVERS : number++ % SERVERS
    const session = (stage.servers[at] as Sessions).open(all[who]?.cookie)
    const start = performance.now()
    await session.get("theme")
    times.push(performance.now() - start)
    if (Math.random() < WRITING_SHARE) session.set("visits", number)
    await session.finalize()
  }

  const start = performance.now()
  let [sent, isWarm] = [0, false]
  while (performance.now() - start < WARM_UP + MEASURED) {
    const elapsed = performance.now() - start
    if (!isWarm && elapsed > WARM_UP) {
      isWarm = true
      times.length = 0
      before = hitsOf(stage)
      loadsBefore = stage.loads()
    }
    for (; sent < (elapsed / 1000) * REQUESTS_PER_SECOND; sent++) {
      const task = request()
      pending.add(task)
      void task.finally(() => pending.delete(task))
    }
    await sleep(1)
  }
  await Promise.all(pending)
  const after = hitsOf(stage)
  const [hits, misses] = [after.hits - before.hits, after.misses - before.misses]
  line(
    each.name,
    hits + misses === 0 ? "–" : `${((100 * hits) / (hits + misses)).toFixed(0)} %`,
    ((stage.loads() - loadsBefore) / (MEASURED / 1000)).toFixed(0),
    quantile(times, 0.5).toFixed(2),
    quantile(times, 0.99).toFixed(1),
  )
}

function hitsOf({ caches }: Stage): { hits: number; misses: number } {
  const stats = caches.map((cache) => cache.stats())
  return {
    hits: stats.reduce((sum, { hits }) => sum + hits, 0),
    misses: stats.reduce((sum, { misses }) => sum + misses, 0),
  }
}

/** How long a session that was revoked here can be read there, where its visitor goes on asking all the time. */
async function measureRevocation(each: Case): Promise<void> {
  const [here, there] = stageOf(each).servers as [Sessions, Sessions]
  const delays = await Promise.all(
    (await visitors(here, REVOKED)).map(async ({ cookie, id }) => {
      let [revokedAt, lastSeenAt] = [Infinity, 0]
      const watch = async (): Promise<void> => {
        for (;;) {
          const session = there.open(cookie)
          const value = await session.get("theme")
          await session.finalize()
          if (value === undefined) return
          lastSeenAt = performance.now()
          await sleep(5)
        }
      }
      const watching = watch()
      // At any time in the life of what is cached.
      await sleep(Math.random() * 5000)
      await here.revoke(id)
      revokedAt = performance.now()
      await watching
      return Math.max(0, lastSeenAt - revokedAt)
    }),
  )
  line(each.name, "", ...[0.5, 0.9, 1].map((share) => quantile(delays, share).toFixed(0)))
}

/** A number from 0, the smaller the likelier: the second is half as likely as the first, the third a third. */
function zipf(count: number): () => number {
  const sums: number[] = []
  let total = 0
  for (let rank = 1; rank <= count; rank++) sums.push((total += 1 / rank))
  return () => {
    const point = Math.random() * total
    return sums.findIndex((sum) => sum > point)
  }
}

function quantile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) * share)] as number
}

function line(name: string, ...cells: readonly string[]): void {
  print(`  ${name.padEnd(40)}${cells.map((cell) => cell.padStart(9)).join("")}\n`)
}

function print(text: string): void {
  process.stdout.write(text)
}

import { RedisStore as PeerStore } from "connect-redis"
import { redisStore } from "coatcheck/redis"
import { type Contender, found, ours, peer } from "./contender.ts"
import { measure, type Trial } from "./measure.ts"
import {
  type Commands,
  commandsOfIoredis,
  commandsOfNodeRedis,
  type NodeRedis,
  openIoredis,
  openNodeRedis,
  type Script,
  scriptOf,
} from "./redis-commands.ts"
import { fillLayouts, LAYOUTS, layoutTrials, openLayouts } from "./redis-layouts.ts"
import { memoryTable } from "./redis-memory.ts"
import { comparisonTable, operationTable } from "./report.ts"
import { IDLE_TTL, Population, STATE } from "./sample.ts"
import { type AnyServer, clockFor, print, settings } from "./settings.ts"
import { fill, type Stage } from "./stage.ts"
import { Guests, operationTrials } from "./trials.ts"

const SECONDS = IDLE_TTL / 1000

/** The least that a script must do which writes only where something stands. */
const GET_AND_SET: Script = scriptOf(`
if not redis.call('GET', KEYS[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1`)

/** Word of a move lives longer than a round. */
const REMOVE_TOMBSTONES = `
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000, 'TYPE', 'string')
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if redis.call('GETRANGE', key, 0, 0) == 'M' then redis.call('DEL', key) end
  end
until cursor == '0'`

const DRIVERS = ["node-redis", "ioredis"] as const

interface RedisStage extends Stage {
  /** All but one of the two that share bare keys. */
  readonly fillers: readonly Contender[]
  readonly nodeRedis: NodeRedis
  readonly commands: Readonly<Record<(typeof DRIVERS)[number], Commands>>
}

/** The tables for Redis or Valkey. */
export async function benchmarkRedis(engine: string, server: AnyServer): Promise<void> {
  const stage = await openRedis(server.port)
  try {
    const { rounds, roundMs } = settings
    const clock = clockFor(server)
    const population = new Population(settings.sessions)
    await fill(stage.fillers, population)
    await fillFields(stage, population)
    const guests = new Guests()
    const beforeRound = async (): Promise<void> => {
      guests.renew()
      await stage.clear()
    }
    const stores = stage.contenders.filter(({ who }) => who === "ours")
    const [operations, requests, commands] = [
      operationTrials(stage, population, guests),
      requestTrials(stage, population),
      commandTrials(stage, population),
    ].map((trials) => underTraffic(trials, stores, population)) as [Trial[], Trial[], Trial[]]
    for (const concurrency of [1, 32]) {
      const conditions = { concurrency, rounds, roundMs, beforeRound, clock }
      const results = await measure([...operations, ...requests, ...commands], conditions)
      const title = titleOf(engine, concurrency)
      print(`\n${title}\n${operationTable(results, stage.contenders)}`)
      print(`\n${title}, a request as a whole\n${comparisonTable(results, requests, ["ours", "peer"])}`)
      print(`\n${title}, other commands\n${comparisonTable(results, commands, ["other", "ours"])}`)
    }

    const store = redisStore(stage.nodeRedis, { prefix: "node-redis:" })
    const layouts = await openLayouts(stage.commands["node-redis"], store)
    await fillLayouts(layouts, population)
    const trials = underTraffic(layoutTrials(layouts, population), [ours("", store)], population)
    for (const concurrency of [1, 32]) {
      const results = await measure(trials, { concurrency, rounds, roundMs, beforeRound, clock })
      print(`\n${titleOf(engine, concurrency)}, layouts\n${comparisonTable(results, trials, LAYOUTS)}`)
    }
    print(`\n${engine}, bytes of memory for each session\n${await memoryTable(stage.nodeRedis)}`)
  } finally {
    await stage.close()
  }
}

function titleOf(engine: string, concurrency: number): string {
  return `${engine}, ${concurrency === 1 ? "one" : concurrency} at a time`
}

async function openRedis(port: number): Promise<RedisStage> {
  const nodeRedis = await openNodeRedis(port)
  const ioredis = openIoredis(port)
  const commands = { "node-redis": commandsOfNodeRedis(nodeRedis), ioredis: commandsOfIoredis(ioredis) }
  await nodeRedis.scriptLoad(GET_AND_SET.text)
  // Sessions of their own for each, for what ioredis writes has a name, which makes a session longer.
  const [first, second] = [
    ours("node-redis", redisStore(nodeRedis, { prefix: "node-redis:" })),
    ours("ioredis", redisStore(ioredis, { prefix: "ioredis:" })),
  ]
  const [bareFirst, bareSecond] = [
    bare("node-redis", commands["node-redis"]),
    bare("ioredis", commands.ioredis),
  ]
  const theirs = peer("node-redis", new PeerStore({ client: nodeRedis }))
  return {
    nodeRedis,
    commands,
    contenders: [first, bareFirst, second, bareSecond, theirs],
    fillers: [first, second, bareFirst, theirs],
    clear: async () => void (await nodeRedis.eval(REMOVE_TOMBSTONES)),
    close: async () => {
      await Promise.all([nodeRedis.close(), ioredis.quit()])
    },
  }
}

/**
 * The plainest commands for the purpose, without the promise that SQL's bare statements keep: nothing asks whether the session still lives, so an
 * update writes the whole state, as it is at hand, and creates what is gone. A user's sessions stand in a sorted set, from which nobody removes
 * them. Two commands that belong together are sent together.
 */
function bare(driver: string, commands: Commands): Contender {
  const key = (id: string): string => `bare:${id}`
  const expiring = String(SECONDS)
  return {
    who: "bare",
    driver,
    create: (id, userId) =>
      Promise.all([
        commands.send("SET", key(id), JSON.stringify(STATE), "EX", expiring, "NX"),
        commands.send("ZADD", `bare-user:${userId}`, String(Date.now()), id),
      ]),
    load: async (id) => JSON.parse(found(await commands.get(key(id)))) as object,
    update: (id, visits) => commands.set(key(id), JSON.stringify({ ...STATE, visits }), SECONDS),
    updateTtl: (id) => commands.expire(key(id), SECONDS),
    changeId: (oldId, newId) =>
      Promise.all([commands.send("RENAME", key(oldId), key(newId)), commands.expire(key(newId), SECONDS)]),
    delete: (id) => commands.send("DEL", key(id)),
    listByUser: async (userId) =>
      (await commands.send("ZRANGE", `bare-user:${userId}`, "0", "-1")) as string[],
  }
}

/** Loads go on all the time, so that our store knows the engine's clock: it asks for it once a second, not once for each slice of a measurement. */
function underTraffic(
  trials: readonly Trial[],
  stores: readonly Contender[],
  population: Population,
): Trial[] {
  const prepare = (): Promise<unknown> => Promise.all(stores.map((store) => store.load(population.anyId())))
  return trials.map((trial) => ({
    ...trial,
    subjects: trial.subjects.map((subject) => ({ ...subject, prepare })),
  }))
}

/** The same state as a hash with a field for each key. */
async function fillFields({ commands }: RedisStage, population: Population): Promise<void> {
  const fields = Object.entries(STATE).flatMap(([key, value]) => [key, JSON.stringify(value)])
  const { send } = commands["node-redis"]
  await Promise.all(population.ids.map((id) => send("HSET", `fields:${id}`, ...fields)))
}

/**
 * `express-session` reads a session for each request, and writes or touches it as a whole. Ours is extended by one reading request in
 * many; a request that changes without reading does not load.
 */
function requestTrials({ contenders }: Stage, population: Population): Trial[] {
  const theirs = contenders.find(({ who }) => who === "peer") as Contender
  let visits = 0
  const reads = async (by: Contender): Promise<void> => {
    await by.load(population.anyId())
  }
  const readsAndExtends = async (by: Contender): Promise<void> => {
    const id = population.anyId()
    await by.load(id)
    await by.updateTtl(id)
  }
  const readsAndWrites = async (by: Contender): Promise<void> => {
    const id = population.anyId()
    await by.load(id)
    await by.update(id, ++visits)
  }
  const writes = async (by: Contender): Promise<void> => {
    await by.update(population.anyId(), ++visits)
  }
  const kinds = [
    ["reads", reads, readsAndExtends],
    ["reads, and is extended", readsAndExtends, readsAndExtends],
    ["reads and writes", readsAndWrites, readsAndWrites],
    ["writes only", writes, readsAndWrites],
  ] as const
  return kinds.flatMap(([name, our, their]) =>
    contenders
      .filter(({ who }) => who === "ours")
      .map((store) => ({
        name: `${name}, ${store.driver}`,
        subjects: [
          { name: "ours", run: () => our(store) },
          { name: "peer", run: () => their(theirs) },
        ],
      })),
  )
}

/** Our operations beside commands other than those of the bare contender. */
function commandTrials({ contenders, commands }: RedisStage, population: Population): Trial[] {
  let visits = 0
  return DRIVERS.flatMap((driver) => {
    const { hashGetAll, script } = commands[driver]
    const store = contenders.find((each) => each.who === "ours" && each.driver === driver) as Contender
    const getAll = async (): Promise<object> => {
      const fields = await hashGetAll(`fields:${population.anyId()}`)
      const state: Record<string, unknown> = {}
      for (const [field, text] of Object.entries(fields)) state[field] = JSON.parse(text)
      return state
    }
    const getAndSet = async (): Promise<void> => {
      const values = [JSON.stringify({ ...STATE, visits: ++visits }), String(SECONDS)]
      await script(GET_AND_SET, [`bare:${population.anyId()}`], values)
    }
    return [
      {
        name: `load / HGETALL, ${driver}`,
        subjects: [
          { name: "HGETALL", run: getAll },
          { name: "ours", run: () => store.load(population.anyId()) },
        ],
      },
      {
        name: `update / script of GET and SET, ${driver}`,
        subjects: [
          { name: "script", run: getAndSet },
          { name: "ours", run: () => store.update(population.anyId(), ++visits) },
        ],
      },
    ]
  })
}

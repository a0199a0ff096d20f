import type { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { redisStore } from "coatcheck/redis"
import type { SessionStore } from "../../src/store.ts"
import { changing, ended, freshId, freshUser, move, newRecord } from "../../src/testing/conformance/kit.ts"
import { type RedisCluster, startCluster, startRedis, startValkey } from "../support/servers/redis.ts"
import type { DatabaseServer } from "../support/servers/server.ts"
import { expectStoreError } from "./faults.ts"
import { type Client, clusterDrivers, redisDrivers } from "./redis-clients.ts"
import { brokenLaws } from "./redis-conformance.ts"
import { describeOnRedis, keysWith } from "./redis-engines.ts"
import { type Monitor, openAdmin, openMonitor, type Seen } from "./redis-monitor.ts"

/** What the store asks of the engine: which commands, on which keys, and that none is left there for ever. */

/** What an engine's user must be allowed to do, as the documentation lists it. */
const COMMANDS = "eval evalsha get getrange set setrange del pexpireat pttl time zadd zrange zrem".split(" ")
/** In a cluster, where sessions are spread. */
const MORE = ["pexpire", "zscore"]
/** What a client of ioredis or node-redis needs besides. */
const CONNECTING: Readonly<Record<string, readonly string[]>> = {
  "node-redis 6": [],
  "node-redis 5": [],
  "ioredis 5": ["info"],
  "ioredis 6": ["info"],
}
const CONNECTING_TO_CLUSTER: Readonly<Record<string, readonly string[]>> = {
  "node-redis 6": ["cluster|slots"],
  "node-redis 5": ["cluster|slots"],
  "ioredis 5": ["info", "cluster|slots", "cluster|info"],
  "ioredis 6": ["info", "cluster|slots", "cluster|info"],
}
const HANDSHAKE = new Set(["hello", "auth", "client", "cluster", "info", "select"])
const PREFIX = "session:"
const inTurn = { concurrent: false }
const ADVICE =
  /: the engine's user may not do this; give it the commands and keys that the store's documentation lists\.$/

describeOnRedis(
  "redis",
  "a user with the fewest rights",
  () => {
    let server: DatabaseServer<"redis">
    beforeAll(async () => {
      server = (await startRedis())!
    })
    afterAll(() => server.stop())

    describeRights(
      () => [server.port],
      COMMANDS,
      CONNECTING,
      (driver, ports, credentials) => redisDrivers[driver]!({ port: ports[0]!, ...credentials }),
    )
  },
  { concurrent: true },
)

describeOnRedis(
  "valkey",
  "a user with the fewest rights",
  () => {
    let server: DatabaseServer<"valkey">
    beforeAll(async () => {
      server = (await startValkey())!
    })
    afterAll(() => server.stop())

    describeRights(
      () => [server.port],
      COMMANDS,
      CONNECTING,
      (driver, ports, credentials) => redisDrivers[driver]!({ port: ports[0]!, ...credentials }),
    )
  },
  { concurrent: true },
)

describeOnRedis(
  "cluster",
  "a user with the fewest rights",
  () => {
    let cluster: RedisCluster
    beforeAll(async () => {
      cluster = (await startCluster())!
    })
    afterAll(() => cluster.stop())

    describeRights(
      () => cluster.nodes.map((node) => node.port),
      [...COMMANDS, ...MORE],
      CONNECTING_TO_CLUSTER,
      (driver, ports, credentials) => clusterDrivers[driver]!(ports, credentials),
    )
  },
  { concurrent: true },
)

interface Credentials {
  readonly username: string
  readonly password: string
}

function describeRights(
  portsOf: () => readonly number[],
  commands: readonly string[],
  connecting: Readonly<Record<string, readonly string[]>>,
  open: (driver: string, ports: readonly number[], credentials: Credentials) => Promise<Client>,
): void {
  let ports: readonly number[]
  let admins: readonly Redis[]
  const opened: Client[] = []

  beforeAll(async () => {
    ports = portsOf()
    admins = await Promise.all(ports.map(openAdmin))
  })
  afterAll(async () => {
    await Promise.all(opened.map((client) => client.close()))
    for (const admin of admins) admin.disconnect()
  })

  /** Makes a user who may do this, and opens a client as that user. */
  async function openAs(
    driver: string,
    username: string,
    rights: readonly string[],
    keys = `${PREFIX}*`,
  ): Promise<Client> {
    const allowed = [...rights, ...connecting[driver]!].map((each) => `+${each}`)
    for (const admin of admins) {
      await admin.call("acl", "setuser", username, "reset", "on", ">secret", `~${keys}`, ...allowed)
    }
    const client = await open(driver, ports, { username, password: "secret" })
    opened.push(client)
    return client
  }

  test(
    "every law holds; no other command is used, none is younger than Redis 6.2, and every key expires",
    inTurn,
    async () => {
      const drivers = ["node-redis 6", "ioredis 5"] as const
      const clients = await Promise.all(
        drivers.map((driver) => openAs(driver, driver.replace(" ", "-"), commands)),
      )
      const monitors = await Promise.all(ports.map(openMonitor))
      const seen = await duringAll(monitors, async () => {
        for (const admin of admins) await admin.script("FLUSH")
        const { count, broken } = await brokenLaws(clients as [Client, Client], ports, PREFIX, {
          quick: true,
        })
        expect(broken).toEqual([])
        expect(count).toBeGreaterThan(180)
      })
      for (const monitor of monitors) monitor.close()

      const used = seen.filter((each) => each.isInner || !HANDSHAKE.has(each.name))
      const names = [...new Set(used.map((each) => each.name))].filter(
        (name) => !["acl", "script"].includes(name),
      )
      expect(names.toSorted()).toEqual(commands.toSorted())
      const ages = new Map<string, Ages>()
      for (const name of names) ages.set(name, await agesOf(admins[0]!, name))
      for (const { name, args } of used) expectOldEnough(ages.get(name), args)

      const left = await keysWith(ports, PREFIX)
      expect(left.size).toBeGreaterThan(100)
      expect([...left].filter(([, ttl]) => ttl <= 0)).toEqual([])
    },
  )

  test.each(commands)("without %s something is refused", inTurn, async (command) => {
    const rights = commands.filter((each) => each !== command)
    const { client } = await openAs("ioredis 5", `without-${command}`, rights)
    // Or `EVAL` would not be needed.
    for (const admin of admins) await Promise.all([admin.script("FLUSH"), admin.call("acl", "log", "reset")])
    for (const error of await exercise(redisStore(client), admins)) expectStoreError(error, ADVICE)
    const logs = await Promise.all(admins.map((admin) => admin.call("acl", "log")))
    expect(JSON.stringify(logs)).toContain(JSON.stringify(["object", command]).slice(1, -1))
  })

  test("a user of other keys is refused", inTurn, async () => {
    const { client } = await openAs("node-redis 6", "elsewhere", commands, "other:*")
    const errors = await exercise(redisStore(client), [])
    expect(errors.length).toBe(13)
    for (const error of errors) expectStoreError(error, ADVICE)
  })
}

/** Does everything that a store can do, and says what has failed. */
async function exercise(store: SessionStore, admins: readonly Redis[]): Promise<unknown[]> {
  const [id, next, plain, gone, other] = [freshId(), freshId(), freshId(), freshId(), freshId()]
  const user = freshUser()
  const record = newRecord({ userId: user })
  const tasks: (() => Promise<unknown>)[] = [
    () => store.create(id, record),
    () => store.create(gone, record),
    () => store.load(id),
    () => store.update(id, changing({ a: 1 })),
    () => store.updateTtl(id),
    () => store.changeId(id, next, move()),
    () => store.listByUser(user),
    () => store.delete(next, ended),
    () => store.create(plain, newRecord()),
    () => store.delete(plain),
    // A session that has gone without the store, as one that was evicted, and long ago.
    async () => {
      for (const admin of admins) {
        await admin.del(`${PREFIX}${gone}`).catch(() => undefined)
        await admin.zadd(`${PREFIX}user:"${user}"`, "XX", 0, gone).catch(() => undefined)
      }
      await store.listByUser(user)
    },
    () => store.create(other, record),
    () => store.deleteByUser(user, ended),
  ]
  const errors: unknown[] = []
  for (const task of tasks) await task().catch((error: unknown) => errors.push(error))
  // What was not there to begin with is no failure.
  return errors.filter((error) => (error as { code?: unknown }).code !== "ERR_SESSION_UNKNOWN_ID")
}

async function duringAll(monitors: readonly Monitor[], task: () => Promise<unknown>): Promise<Seen[]> {
  const [first, ...rest] = monitors
  const seen: Seen[] = []
  const inner =
    rest.length === 0 ? task : async (): Promise<void> => void seen.push(...(await duringAll(rest, task)))
  if (first !== undefined) seen.push(...(await first.during(inner)))
  return seen
}

/** Since which version a command is there, and each of its options. */
interface Ages {
  readonly since: string
  readonly options: ReadonlyMap<string, string>
}

async function agesOf(admin: Redis, name: string): Promise<Ages> {
  const [, facts] = (await admin.call("command", "docs", name)) as [string, unknown[]]
  const options = new Map<string, string>()
  collect(member(facts, "arguments"), options)
  return { since: String(member(facts, "since")), options }
}

function collect(args: unknown, options: Map<string, string>): void {
  for (const each of (args ?? []) as unknown[][]) {
    const [token, since] = [member(each, "token"), member(each, "since")]
    if (typeof token === "string" && typeof since === "string") options.set(token.toLowerCase(), since)
    collect(member(each, "arguments"), options)
  }
}

/** In an answer of names and values in turn. */
function member(cells: unknown[], name: string): unknown {
  const index = cells.indexOf(name)
  return index === -1 ? undefined : cells[index + 1]
}

function expectOldEnough(ages: Ages | undefined, args: readonly string[]): void {
  if (ages === undefined) return
  const versions = [ages.since, ...args.map((arg) => ages.options.get(arg.toLowerCase()) ?? "1.0.0")]
  for (const version of versions) {
    const [major, minor] = version.split(".").map(Number) as [number, number]
    expect(major * 100 + minor).toBeLessThanOrEqual(602)
  }
}

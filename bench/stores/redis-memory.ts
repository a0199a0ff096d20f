import { RedisStore as PeerStore } from "connect-redis"
import { redisStore } from "coatcheck/redis"
import { newRecord, peer } from "./contender.ts"
import { commandsOfNodeRedis, type NodeRedis } from "./redis-commands.ts"
import { openLayouts } from "./redis-layouts.ts"
import { table } from "./report.ts"
import { newId, type State } from "./sample.ts"

const SESSIONS = 10_000
const SIZES = [200, 1000]

/** Stores one session. */
type Create = (id: string, state: State, user: string) => Promise<unknown>

/**
 * Bytes for each of ten thousand sessions: of the key as `MEMORY USAGE` has it, and of the whole, by how much `used_memory_dataset` and `used_memory`
 * grow: the first leaves the engine's tables of keys and expiries out. Users are in the index where there are any. Empties the server.
 */
export async function memoryTable(client: NodeRedis): Promise<string> {
  const lines: string[][] = []
  for (const [name, { prefix, create, perUser }] of Object.entries(await waysOf(client))) {
    const line: string[] = []
    for (const size of SIZES) {
      await client.flushAll("SYNC")
      const before = await memoryOf(client)
      const ids = Array.from({ length: SESSIONS }, newId)
      for (const [index, id] of ids.entries()) {
        await create(id, stateOf(size), `user-${Math.floor(index / perUser)}`)
      }
      const after = await memoryOf(client)
      const key = await client.memoryUsage(prefix + ids[0], { SAMPLES: 0 })
      line.push(String(key))
      line.push(perSession(after.dataset - before.dataset), perSession(after.all - before.all))
    }
    lines.push([name, "", ...line])
  }
  await client.flushAll("SYNC")
  const titles = SIZES.flatMap((size) => [`${size}: key`, "dataset", "all"])
  return table(["", "", ...titles], lines)
}

async function waysOf(
  client: NodeRedis,
): Promise<Readonly<Record<string, { prefix: string; create: Create; perUser: number }>>> {
  const store = redisStore(client)
  const peerStore = new PeerStore({ client })
  const layouts = await openLayouts(commandsOfNodeRedis(client), store)
  const unbound: Create = (id, state) => store.create(id, newRecord(state, null))
  const bound: Create = (id, state, user) => store.create(id, newRecord(state, user))
  const theirs: Create = (id, state) => peer("", peerStore, state).update(id, 1)
  const theirsBound: Create = (id, state, user) => peer("", peerStore, state).create(id, user)
  return {
    ours: { prefix: "session:", create: unbound, perUser: 1 },
    "connect-redis": { prefix: "sess:", create: theirs, perUser: 1 },
    "layout hash": { prefix: "hash:", create: (id, state) => layouts.hash.create(id, state), perUser: 1 },
    "layout whole": { prefix: "whole:", create: (id, state) => layouts.whole.create(id, state), perUser: 1 },
    "ours, a user each": { prefix: "session:", create: bound, perUser: 1 },
    "ours, a user for three": { prefix: "session:", create: bound, perUser: 3 },
    "connect-redis, a user each": { prefix: "sess:", create: theirsBound, perUser: 1 },
  }
}

/** So many bytes of JSON in five keys: of the smaller state all are short enough for a hash's compact form. */
function stateOf(size: number): State {
  const state = {
    theme: "dark",
    visits: 1,
    flash: "x".repeat(56),
    returnTo: "/account/orders?page=2",
    cart: "",
  }
  return { ...state, cart: "x".repeat(size - JSON.stringify(state).length) }
}

async function memoryOf(client: NodeRedis): Promise<{ dataset: number; all: number }> {
  const facts = await client.info("memory")
  const number = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(facts)?.[1])
  return { dataset: number("used_memory_dataset"), all: number("used_memory") }
}

function perSession(bytes: number): string {
  return (bytes / SESSIONS).toFixed(0)
}

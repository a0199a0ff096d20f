import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, inject, test } from "vitest"
import { redisStore } from "coatcheck/redis"
import { type StoreCase, storeConformance, type StoreHarness } from "coatcheck/testing"
import { command } from "../support/servers/redis.ts"
import type { Client } from "./redis-clients.ts"

interface LawsOptions {
  /** What the client itself puts before each key. */
  readonly added?: string
  /** Leaves out the laws that wait for seconds. */
  readonly quick?: boolean
}

const AT_ONCE = 40
const SLOW = /^deleteExpired:|extends by the whole idle ttl|a custom expiry survives/

/** Runs the store's laws with two clients. `ports` are those of a server, or of a cluster's nodes. */
export function describeRedisLaws(
  title: string,
  ports: readonly number[] | null,
  open: (ports: readonly number[]) => Promise<Client>,
  prefix = "session:",
  { added = "", quick = false }: LawsOptions = {},
): void {
  const isMissing = ports === null
  describe.skipIf(isMissing)(
    `${title}${isMissing ? " (its program is missing here)" : ""}`,
    { concurrent: true },
    () => {
      let clients: [Client, Client]

      beforeAll(async () => {
        clients = [await open(ports as readonly number[]), await open(ports as readonly number[])]
      })
      afterAll(async () => {
        await Promise.all(clients.map((client) => client.close()))
      })

      const harness = (): StoreHarness => harnessOf(clients, ports as readonly number[], prefix, added)
      for (const law of lawsOf(harness, quick)) test.concurrent(law.name, law.run)
    },
  )
}

/** Runs all laws within one test, and says which are broken. */
export async function brokenLaws(
  clients: readonly [Client, Client],
  ports: readonly number[],
  prefix: string,
  { quick = false }: LawsOptions = {},
): Promise<{ count: number; broken: string[] }> {
  const laws = lawsOf(() => harnessOf(clients, ports, prefix), quick)
  const suspects: StoreCase[] = []
  const rest = [...laws]
  const work = async (): Promise<void> => {
    for (let law = rest.shift(); law !== undefined; law = rest.shift()) {
      const suspect = law
      await law.run().catch(() => suspects.push(suspect))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  // Laws about time want a machine that keeps up, as this one may not while it does all of it at once. Each of them is judged alone.
  const broken: string[] = []
  for (const { name, run } of suspects) {
    await run().catch((error: unknown) => broken.push(`${name}: ${String(error)}`))
  }
  return { count: laws.length, broken }
}

function lawsOf(harness: () => StoreHarness, quick: boolean): StoreCase[] {
  return storeConformance(harness, { precise: false }).filter((law) => !quick || !SLOW.test(law.name))
}

function harnessOf(
  [first, second]: readonly [Client, Client],
  ports: readonly number[],
  prefix: string,
  added = "",
): StoreHarness {
  return {
    store: redisStore(first.client, { prefix }),
    precise: false,
    expiresByItself: true,
    advance: (milliseconds) => sleep(milliseconds),
    connect: async () => redisStore(second.client, { prefix }),
    corrupt: (id) => corrupt(ports, added + prefix + id),
    close: () => undefined,
  }
}

/** Puts what is no state behind the head of a record, on whichever node has it. */
async function corrupt(ports: readonly number[], key: string): Promise<void> {
  const script = `
    local record = redis.call('GET', KEYS[1])
    local _, stop = string.find(record, '^[^\\n]*\\n[^\\n]*\\n[^\\n]*\\n')
    return redis.call('SET', KEYS[1], string.sub(record, 1, stop) .. '[1]', 'KEEPTTL')`
  const results = await Promise.allSettled(ports.map((port) => command(port, ["EVAL", script, "1", key])))
  if (results.every((result) => result.status === "rejected")) throw new Error("No node has the record.")
}

export function portsOf(engine: "redis" | "valkey"): number[] | null {
  const server = inject("servers")[engine]
  return server === null ? null : [server.port]
}

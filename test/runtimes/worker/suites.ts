import type { StoreCapabilities } from "coatcheck"
import { type D1Binding, type D1Queryable, type D1Session, d1Store } from "coatcheck/d1"
import { kvStore } from "coatcheck/kv"
import { memoryStore } from "coatcheck/memory"
import { fakeClock, type StoreCase, storeConformance, type StoreHarness } from "coatcheck/testing"
import type { Bindings, TestedNamespace } from "./bindings.ts"
import { cryptoCases } from "./crypto.ts"
import { d1Cases } from "./d1-races.ts"
import { replicaCases } from "./replicas.ts"

/** What runs inside the Worker, by name. Cases of `concurrent` suites share nothing, and wait for time to pass together. */
export const suites: Readonly<Record<string, Suite>> = {
  "the memory store keeps the store contract": {
    cases: () => storeConformance(openMemory, { extras: [] }),
  },
  "d1Store keeps the store contract": {
    cases: ({ DB }) => storeConformance(() => openD1(DB), { precise: false }),
    isConcurrent: true,
  },
  "d1Store keeps the store contract to the millisecond": {
    cases: ({ DB }) =>
      storeConformance(() => openD1WithClock(DB, (onClock, table) => d1Store(onClock, { table }))),
  },
  "d1Store with replicas keeps the store contract, as one request sees it": {
    cases: ({ DB }) =>
      storeConformance(() => openD1WithClock(DB, following), { capabilities: { promptRevocation: false } }),
  },
  "d1Store with a replica that lags behind": { cases: ({ DB, REPLICA }) => replicaCases(DB, REPLICA) },
  "d1Store under many requests at once": { cases: ({ DB }) => d1Cases(() => openD1(DB)) },
  "kvStore keeps what it claims of the store contract": {
    cases: ({ KV }) => storeConformance(() => openKv(KV), { capabilities: OF_KV, checksIds: false }),
  },
  "the cryptography of a Worker": { cases: () => cryptoCases },
}

export interface Suite {
  readonly cases: (bindings: Bindings) => readonly StoreCase[]
  readonly isConcurrent?: boolean
}

function openMemory(): StoreHarness {
  const clock = fakeClock()
  return { store: memoryStore({ clock }), precise: true, advance: clock.advance, close: () => undefined }
}

/** On D1's own clock, with a table of its own: a sweep would count what other laws have left. */
async function openD1(binding: D1Binding): Promise<StoreHarness> {
  const table = freshTable()
  const store = d1Store(binding, { table })
  await store.migrate()
  return {
    store,
    precise: false,
    advance: sleep,
    connect: async () => d1Store(binding, { table }),
    corrupt: (id) => corrupt(binding, table, id, "[1]"),
    close: () => undefined,
  }
}

const NOW = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"

/** On a clock that stands still: a table of one row in the place of SQLite's own. */
async function openD1WithClock(
  binding: D1Binding,
  storeOf: (onClock: D1Binding, table: string) => StoreHarness["store"],
): Promise<StoreHarness> {
  const table = freshTable()
  const clock = `clock_of_${table}`
  const onClock = changed(binding, (sql) => {
    const asked = sql.replaceAll(NOW, `(SELECT now FROM ${clock})`)
    if (asked.includes("unixepoch")) throw new Error("the store has another way to ask for the time")
    return asked
  })
  await d1Store(binding, { table }).migrate()
  await run(binding, `CREATE TABLE ${clock} (now INTEGER NOT NULL) STRICT`)
  await run(binding, `INSERT INTO ${clock} VALUES (?)`, 1_790_000_000_000)
  return {
    store: storeOf(onClock, table),
    precise: true,
    advance: (milliseconds) => run(binding, `UPDATE ${clock} SET now = now + ?`, milliseconds),
    connect: async () => storeOf(onClock, table),
    corrupt: (id) => corrupt(binding, table, id, "[broken"),
    close: () => undefined,
  }
}

/** What one request sees that carries no bookmark. */
function following(binding: D1Binding, table: string): StoreHarness["store"] {
  const store = d1Store(binding, { table, replicas: true })
  return store.follow?.(undefined) as StoreHarness["store"]
}

function changed(binding: D1Binding, change: (sql: string) => string): D1Binding {
  const wrap = (target: D1Queryable): D1Queryable => ({
    prepare: (sql) => target.prepare(change(sql)),
    batch: (statements) => target.batch(statements),
  })
  return {
    ...wrap(binding),
    withSession(constraint) {
      const session = binding.withSession?.(constraint) as D1Session
      return { ...wrap(session), getBookmark: () => session.getBookmark() }
    },
  }
}

const OF_KV: StoreCapabilities = {
  merge: false,
  compareAndSet: false,
  promptRevocation: false,
  userIndex: false,
  atomicRotation: false,
  clock: "app",
}

function openKv(binding: TestedNamespace): StoreHarness {
  const clock = fakeClock()
  const prefix = `${crypto.randomUUID()}:`
  const connect = (): StoreHarness["store"] => kvStore(binding, { prefix, clock })
  return {
    store: connect(),
    precise: true,
    expiresByItself: true,
    advance: clock.advance,
    connect: async () => connect(),
    corrupt: async (id) => {
      const text = await binding.get(prefix + id, { type: "text" })
      await binding.put(prefix + id, (text as string).replace(/\n.*$/, "\n[1]"))
    },
    close: () => undefined,
  }
}

function freshTable(): string {
  return `sessions_${crypto.randomUUID().replaceAll("-", "")}`
}

function corrupt(binding: D1Binding, table: string, id: string, state: string): Promise<void> {
  return run(binding, `UPDATE ${table} SET state = ? WHERE id = ?`, state, id)
}

async function run(binding: D1Binding, sql: string, ...values: unknown[]): Promise<void> {
  await binding
    .prepare(sql)
    .bind(...values)
    .all()
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

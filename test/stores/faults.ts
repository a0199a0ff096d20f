import mysql from "mysql2/promise"
import pg from "pg"
import { expect } from "vitest"
import { createSessions, type Sessions, StoreError } from "coatcheck"
import type { SessionStore } from "../../src/store.ts"
import { changing, ended, freshId, freshUser, move, newRecord } from "../../src/testing/conformance/kit.ts"
import type { Engine } from "../support/servers/server.ts"
import { type Client, type DatabaseFacts, mysqlDrivers, type OpenClient, postgresDrivers } from "./clients.ts"

/** What the tests of faults have in common: the drivers on their engines, every operation, and what a failure has to be like. */

export interface Driver {
  readonly engine: Engine
  readonly name: string
  readonly open: OpenClient
  /** The driver's own options for a pool that refuses soon who waits for a connection; undefined: it has none. */
  readonly impatient: object | undefined
  /** The driver's own options for a pool that connects anew soon after the server has been away. */
  readonly eager: object
}

const own: Readonly<Record<string, Partial<Driver>>> = {
  "node-postgres": { impatient: { connectionTimeoutMillis: 200 } },
  // Each time that it cannot connect it waits longer before it tries again, at last 20 seconds.
  "postgres.js": { eager: { backoff: 0.05 } },
  mysql2: { impatient: { waitForConnections: false } },
  "mysql2 with callbacks": { impatient: { queueLimit: 1 } },
  mariadb: { impatient: { acquireTimeout: 200 } },
}

export const drivers: readonly Driver[] = [
  ...Object.entries(postgresDrivers).map((each) => driver("postgres", ...each)),
  ...Object.entries(mysqlDrivers).map((each) => driver("mariadb", ...each)),
  driver("mysql", "mysql2", mysqlDrivers["mysql2"] as OpenClient),
]

export function driversOf(engine: Engine): readonly Driver[] {
  return drivers.filter((each) => each.engine === engine)
}

function driver(engine: Engine, name: string, open: OpenClient): Driver {
  return { engine, name, open, impatient: undefined, eager: {}, ...own[name] }
}

/** postgres.js waits for ever for a connection that the server has ended amid a statement. */
export async function closeAll(clients: readonly Client[]): Promise<void> {
  const patience = new Promise((resolve) => setTimeout(resolve, 2_000).unref())
  await Promise.race([Promise.all(clients.map((client) => client.close())), patience])
}

/**
 * Asks until every connection of the pool has been used. postgres.js sends on a connection until it sees that it has ended, and fails the
 * first request on the new one with the error that has ended the old one.
 */
export async function refresh(store: SessionStore): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const loads = Array.from({ length: 10 }, () => store.load("no-such-id"))
    for (const { reason } of (await Promise.allSettled(loads)) as { reason?: unknown }[]) {
      if (reason !== undefined) expectStoreError(reason, /: the connection (was lost|has ended)/)
    }
  }
  await store.load("no-such-id")
}

/** What differs between PostgreSQL and the family of MySQL. */
export function of<T>(engine: Engine, postgres: T, mysqlFamily: T): T {
  return engine === "postgres" ? postgres : mysqlFamily
}

/** Stands in every session that these tests make, and so must be in no message. */
export const SECRET = "a-secret-value"

/** Every operation on a session that may be there. */
export const operations: Readonly<Record<Operation, (store: SessionStore, id: string) => Promise<unknown>>> =
  {
    create: (store) => put(store),
    load: (store, id) => store.load(id),
    update: (store, id) => store.update(id, changing({ key: SECRET })),
    updateTtl: (store, id) => store.updateTtl(id),
    changeId: (store, id) => store.changeId(id, freshId(), { ...move(), change: changing({ key: SECRET }) }),
    delete: (store, id) => store.delete(id, ended),
    deleteExpired: (store) => store.deleteExpired(),
    listByUser: (store) => store.listByUser(freshUser()),
    deleteByUser: (store) => store.deleteByUser(freshUser(), ended),
  }

export type Operation = Exclude<keyof SessionStore, "name" | "capabilities" | "follow">

export const OPERATIONS: readonly Operation[] = Object.keys(operations) as Operation[]

/** Creates a session of these tests, and gives its id. */
export async function put(store: SessionStore, userId: string | null = null): Promise<string> {
  const id = freshId()
  await store.create(id, newRecord({ userId, state: new Map([["key", `"${SECRET}"`]]) }))
  return id
}

/** Expects each operation to fail as it should. */
export async function expectAllToFail(
  store: SessionStore,
  id: string,
  advice: RegExp,
  names: readonly Operation[] = OPERATIONS,
  within?: number,
): Promise<void> {
  const options = within === undefined ? { id } : { id, within }
  for (const name of names) await expectFailure(() => operations[name](store, id), advice, options)
}

/** Expects every operation to work. */
export async function expectAllToWork(store: SessionStore): Promise<void> {
  for (const name of OPERATIONS) await operations[name](store, await put(store))
}

/** Expects a `StoreError` that gives advice, within so many milliseconds, with the driver's error as its cause. */
export async function expectFailure(
  run: () => Promise<unknown>,
  advice: RegExp,
  { id = "(no id)", within = 2_000 }: { id?: string; within?: number } = {},
): Promise<StoreError> {
  const begin = performance.now()
  const error = await run().then(
    () => "it did not fail",
    (reason: unknown) => reason,
  )
  const took = performance.now() - begin
  expectStoreError(error, advice)
  expect((error as Error).message).not.toContain(id)
  expect(took).toBeLessThan(within)
  return error as StoreError
}

/** @param advice or the gateway's word that nothing has come in time, which has no cause */
export function expectStoreError(error: unknown, advice: RegExp): void {
  expect(error).toBeInstanceOf(StoreError)
  const { message, cause } = error as StoreError
  expect(message).toMatch(advice)
  expect(message).not.toContain(SECRET)
  if (IN_TIME.test(message)) return
  expect(cause).toBeInstanceOf(Error)
  expect(cause).not.toBeInstanceOf(StoreError)
}

export const IN_TIME: RegExp = /did not answer within \d+ ms \(storeTimeout\)/

/** Sessions of a store that has to answer in time. */
export function sessionsOn(store: SessionStore, storeTimeout: `${number}ms` = "500ms"): Sessions {
  return createSessions({
    store,
    keys: ["a key for tests, long enough: 32 bytes"],
    storeTimeout,
    onWarning: () => undefined,
  })
}

/** Starts a session with a value, and gives its cookie. */
export async function start(sessions: Sessions, userId?: string): Promise<string> {
  const session = sessions.open(undefined)
  if (userId !== undefined) session.signIn(userId)
  session.set("key", SECRET)
  return (await session.finalize()).setCookie?.split(";")[0] as string
}

/** Somebody else on the database, with a connection of their own. */
export interface Rival {
  run(sql: string): Promise<readonly Record<string, unknown>[]>
  close(): Promise<void>
}

export async function rivalOn(engine: Engine, database: DatabaseFacts): Promise<Rival> {
  if (engine === "postgres") {
    const client = new pg.Client(addressOf(database))
    client.on("error", () => undefined)
    await client.connect()
    return { run: async (sql) => (await client.query(sql)).rows, close: () => client.end() }
  }
  const connection = await mysql.createConnection(addressOf(database))
  connection.on("error", () => undefined)
  return {
    run: async (sql) => (await connection.query(sql))[0] as unknown as Record<string, unknown>[],
    close: () => connection.end(),
  }
}

/** mysql2 warns of what it does not know. */
function addressOf({ host, port, user, password, database }: DatabaseFacts): DatabaseFacts {
  return { host, port, user, password, database }
}

/** The numbers of the connections on which a statement of the store's waits. The store quotes its table, and the rival does not. */
export async function busyConnections(rival: Rival, engine: Engine): Promise<number[]> {
  const rows = await rival.run(
    of(
      engine,
      "SELECT pid AS number FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      "SELECT id AS number FROM information_schema.processlist WHERE db = DATABASE() AND command <> 'Sleep' AND info LIKE '%`sessions`%' AND id <> CONNECTION_ID()",
    ),
  )
  return rows.map((row) => Number(row["number"]))
}

/** Waits until a statement of the store's waits for the rival. */
export async function untilBusy(rival: Rival, engine: Engine): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const [first] = await busyConnections(rival, engine)
    if (first !== undefined) return first
  }
  throw new Error("Nobody waits for a lock.")
}

export function killing(engine: Engine, connection: number): string {
  return of(engine, `SELECT pg_terminate_backend(${connection})`, `KILL ${connection}`)
}

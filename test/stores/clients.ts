import mariadb from "mariadb"
import mysqlCallback from "mysql2"
import mysql, { type Pool as Mysql2Pool } from "mysql2/promise"
import pg from "pg"
import postgres from "postgres"
import { type MysqlClient, mysqlStore, type MysqlStoreOptions } from "coatcheck/mysql"
import {
  type PGliteClient,
  type PostgresClient,
  postgresStore,
  type PostgresStoreOptions,
} from "coatcheck/postgres"
import type { SqlStore } from "../../src/stores/shared-sql.ts"

/** Where a database is. */
export interface DatabaseFacts {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

/** One driver's pool, and what a test does with it besides. */
export interface Client {
  store(options?: { table?: string; prepare?: boolean }): SqlStore
  /** Runs SQL with the driver's own means; values may not be needed. */
  run(sql: string): Promise<unknown>
  close(): Promise<void>
}

export interface ClientOptions {
  /** How many connections; 10 if not given. */
  readonly size?: number
  /** Statements that each connection begins with. */
  readonly session?: readonly string[]
  /** The driver's own options. */
  readonly options?: object
}

/** How a driver's pool is made. */
export type OpenClient = (database: DatabaseFacts, options?: ClientOptions) => Promise<Client>

export const postgresDrivers: Readonly<Record<string, OpenClient>> = {
  "node-postgres": async (database, { size = 10, session = [], options = {} } = {}) => {
    const startup = Object.entries(settingsOf(session)).map(
      ([name, value]) => `-c ${name}=${value.replaceAll(" ", "\\ ")}`,
    )
    const pool = new pg.Pool({
      ...database,
      max: size,
      ...(startup.length === 0 ? undefined : { options: startup.join(" ") }),
      ...options,
    })
    // Without this the end of an idle connection ends the process.
    pool.on("error", () => undefined)
    return ofPostgres(
      pool,
      async (sql) => (await pool.query(sql)).rows,
      () => pool.end(),
    )
  },
  "postgres.js": async (database, { size = 10, session = [], options = {} } = {}) => {
    const sql = postgres({
      ...database,
      max: size,
      connection: settingsOf(session),
      onnotice: () => undefined,
      ...options,
    })
    return ofPostgres(
      sql,
      (text) => sql.unsafe(text),
      () => sql.end(),
    )
  },
}

export const mysqlDrivers: Readonly<Record<string, OpenClient>> = {
  mysql2: async (database, { size = 10, session = [], options = {} } = {}) => {
    const pool = mysql.createPool({ ...database, connectionLimit: size, ...options })
    pool.pool.on("connection", (connection) => {
      for (const sql of session) connection.query(sql)
    })
    return ofMysql2(pool, pool)
  },
  "mysql2 with callbacks": async (database, { size = 10, session = [], options = {} } = {}) => {
    const pool = mysqlCallback.createPool({ ...database, connectionLimit: size, ...options })
    pool.on("connection", (connection) => {
      for (const sql of session) connection.query(sql)
    })
    return ofMysql2(pool, pool.promise())
  },
  mariadb: async (database, { size = 10, session = [], options = {} } = {}) => {
    const pool = mariadb.createPool({
      ...database,
      connectionLimit: size,
      initSql: [...session],
      allowPublicKeyRetrieval: true,
      ...options,
    })
    return {
      store: (given) => mysqlStore(pool, given),
      run: (sql) => pool.query(sql),
      close: () => pool.end(),
    }
  },
}

type PGlite = PGliteClient & { close(): Promise<void> }

/** PostgreSQL inside this process, on a database of its own. */
export async function openPGlite(): Promise<Client> {
  // Named through a variable: its declarations need those of a browser.
  const specifier = "@electric-sql/pglite"
  const { PGlite } = (await import(specifier)) as { PGlite: { create(): Promise<PGlite> } }
  const database = await PGlite.create()
  return ofPostgres(
    database,
    (sql) => database.exec(sql),
    () => database.close(),
  )
}

/** What `SET name = 'value'` sets, by name. */
function settingsOf(session: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    session.map((sql) => /^SET (\w+) = '?(.*?)'?$/.exec(sql)?.slice(1) as [string, string]),
  )
}

function ofPostgres(
  client: PostgresClient,
  run: (sql: string) => Promise<unknown>,
  close: () => Promise<void>,
): Client {
  return { store: (options?: PostgresStoreOptions) => postgresStore(client, options), run, close }
}

function ofMysql2(client: MysqlClient, pool: Mysql2Pool): Client {
  return {
    store: (options?: MysqlStoreOptions) => mysqlStore(client, options),
    run: async (sql) => (await pool.query(sql))[0],
    close: () => pool.end(),
  }
}

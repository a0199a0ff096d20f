import { ConfigError } from "../errors.ts"

/** What is asked for with each statement, whatever the client was made with. */
interface Query {
  sql: string
  rowsAsArray: boolean
  nestTables: false
  namedPlaceholders: false
  metaAsArray: false
}

/** mysql2 with promises: a pool or a connection. */
export interface Mysql2Client {
  execute(query: Query, values: (string | null)[]): Promise<[unknown, unknown]>
  query(query: Query, values: (string | null)[]): Promise<[unknown, unknown]>
}

/** mysql2 with callbacks: a pool or a connection. */
export interface Mysql2CallbackClient {
  promise(): Mysql2Client
}

/** The `mariadb` driver with promises: a pool or a connection. */
export interface MariadbClient {
  execute(query: Query, values: (string | null)[]): Promise<unknown>
  query(query: Query, values: (string | null)[]): Promise<unknown>
  batch(sql: string, values: unknown[]): Promise<unknown>
}

export type MysqlClient = Mysql2Client | Mysql2CallbackClient | MariadbClient

/** One statement, and one round trip. */
export interface Connection {
  /** For a statement that is run again and again. */
  run(sql: string, values: readonly (string | null)[]): Promise<Result>
  /** For one that is not worth preparing. */
  runOnce(sql: string): Promise<Result>
}

export interface Result {
  /** As arrays; empty for a statement that gives none. */
  readonly rows: readonly (readonly unknown[])[]
  readonly affectedRows: number
  /** As the driver gives it; 0 where the statement set none. */
  readonly insertId: number | bigint | string
}

interface Outcome {
  readonly affectedRows: number
  readonly insertId: number | bigint | string
}

/** Told apart by their methods, so that a client need not come from the copy of a driver that this module would import. */
export function connectionOf(client: MysqlClient, isPrepared: boolean): Connection {
  const { promise, batch, execute, query } = (client ?? {}) as Partial<
    Record<"promise" | "batch" | "execute" | "query", unknown>
  >
  if (typeof promise === "function") return mysql2WithCallbacks(client as unknown as Core, isPrepared)
  if (typeof execute === "function" && typeof query === "function") {
    return typeof batch === "function"
      ? mariadb(client as MariadbClient, isPrepared)
      : mysql2(client as Mysql2Client, isPrepared)
  }
  throw new ConfigError("mysqlStore: expected a pool or connection of mysql2 or of the mariadb driver.", {
    option: "client",
  })
}

/** What mysql2's promises are made of: calling it directly spares the stack trace that they take with each statement. */
interface Core {
  execute: Call
  query: Call
}

type Method = "execute" | "query"
type Call = (
  query: Query,
  values: (string | null)[],
  callback: (error: Error | null | undefined, answer: unknown) => void,
) => unknown

function mysql2WithCallbacks(core: Core, isPrepared: boolean): Connection {
  const ask = (method: Method, sql: string, values: (string | null)[]): Promise<Result> =>
    new Promise((resolve, reject) => {
      core[method](queryOf(sql), values, (error, answer) => {
        if (error === null || error === undefined) resolve(resultOf(answer))
        else reject(withoutValues(error, sql))
      })
    })
  const method = isPrepared ? "execute" : "query"
  return {
    run: (sql, values) => ask(method, sql, values as (string | null)[]),
    runOnce: (sql) => ask("query", sql, []),
  }
}

/** mysql2 shows the statement with its values in it, where it has put them there itself. */
function withoutValues(error: Error & { sql?: unknown }, sql: string): Error {
  if (error.sql !== undefined) error.sql = sql
  return error
}

function mysql2(client: Mysql2Client, isPrepared: boolean): Connection {
  const { pool, connection }: { pool?: Core; connection?: Core } = client as object
  const core = pool ?? connection
  if (core !== undefined) return mysql2WithCallbacks(core, isPrepared)
  const method = isPrepared ? "execute" : "query"
  return {
    run: (sql, values) => client[method](queryOf(sql), values as (string | null)[]).then(firstOf),
    runOnce: (sql) => client.query(queryOf(sql), []).then(firstOf),
  }
}

function firstOf([answer]: [unknown, unknown]): Result {
  return resultOf(answer)
}

function mariadb(client: MariadbClient, isPrepared: boolean): Connection {
  const method = isPrepared ? "execute" : "query"
  return {
    run: (sql, values) => client[method](queryOf(sql), values as (string | null)[]).then(resultOf),
    runOnce: (sql) => client.query(queryOf(sql), []).then(resultOf),
  }
}

function queryOf(sql: string): Query {
  return { sql, rowsAsArray: true, nestTables: false, namedPlaceholders: false, metaAsArray: false }
}

function resultOf(answer: unknown): Result {
  if (Array.isArray(answer)) return { rows: answer as unknown[][], affectedRows: 0, insertId: 0 }
  const { affectedRows, insertId } = answer as Outcome
  return { rows: [], affectedRows, insertId }
}

/** What the engine undoes when statements get into each other's way (SQLSTATE): serialization failure, deadlock. */
const TRANSIENT: readonly unknown[] = ["40001", "40P01"]

export function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code
}

export function isTransient(error: unknown): boolean {
  return TRANSIENT.includes(codeOf(error))
}

/** By SQLSTATE, or by the code of the driver or of Node.js. */
export function adviceFor(error: unknown, table: string): string | undefined {
  const code = codeOf(error)
  if (typeof code === "string") {
    const advice = ADVICE[code] ?? ADVICE[code.slice(0, 2)]
    if (advice !== undefined) return advice.replace("TABLE", table)
  }
  // node-postgres gives these no code.
  const message = error instanceof Error ? error.message : ""
  if (/timeout exceeded when trying to connect/.test(message)) return POOL_IS_FULL
  if (/after calling end|has been closed|is closed|not queryable|was closed/i.test(message))
    return CLIENT_HAS_ENDED
  if (/connection terminated|connection ended|ECONNRESET/i.test(message)) return CONNECTION_LOST
  return undefined
}

const POOL_IS_FULL =
  "the pool had no free connection in time; raise its size, or look for connections that are not given back"
const CLIENT_HAS_ENDED = "the client has been ended; give the store one that is open"
const CONNECTION_LOST =
  "the connection was lost, so it is not known whether this was carried out; the next request connects anew"
const UNREACHABLE = "the server cannot be reached; see that it runs and that host and port are right"
const RESTARTING = "the server is shutting down or starting; the next request tries again"
const READ_ONLY = "the server is read-only, as a replica is; sessions are written, so connect to the primary"

/** By whole code, or by the class that its first two characters are. */
const ADVICE: Readonly<Record<string, string | undefined>> = {
  "42P01": "the table TABLE does not exist; call migrate(), or run migrationSql()",
  "3F000": "the schema of TABLE does not exist; create it, then call migrate()",
  "42703": "the table TABLE has an older layout, or another one; call migrate(), or run migrationSql()",
  "42P07": "there is a table TABLE that is not of coatcheck; choose another name with the option table",
  "42501":
    "the database user may not do this; grant SELECT, INSERT, UPDATE and DELETE on TABLE, and CREATE for migrate()",
  "25006": READ_ONLY,
  "26000":
    "the connection does not know the prepared statement, as behind a pooler; set prepare: false, or turn on the pooler's support for them",
  "42P05":
    "another statement is prepared under this name, as behind a pooler; set prepare: false, or turn on the pooler's support for them",
  "25P02":
    "the client is inside a transaction that has failed; give the store a client of its own, or a pool",
  "53300": "the server has no connection left; lower the pools' sizes, or put a pooler between",
  "57014": "the server cancelled the statement (statement_timeout); the next request tries again",
  "55P03": "another transaction holds the row for too long (lock_timeout)",
  "57P01": RESTARTING,
  "57P02": RESTARTING,
  "57P03": RESTARTING,
  "28": "the server refused the user or the password",
  "53": "the server has no room or memory left",
  "08": CONNECTION_LOST,
  ECONNREFUSED: UNREACHABLE,
  ENOTFOUND: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  ECONNRESET: CONNECTION_LOST,
  EPIPE: CONNECTION_LOST,
  CONNECTION_CLOSED: CONNECTION_LOST,
  CONNECTION_DESTROYED: CLIENT_HAS_ENDED,
  CONNECTION_ENDED: CLIENT_HAS_ENDED,
  CONNECT_TIMEOUT: UNREACHABLE,
}

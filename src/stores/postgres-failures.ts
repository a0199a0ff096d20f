import {
  adviceForMessage,
  CLIENT_HAS_ENDED,
  CONNECTION_LOST,
  OTHER_LAYOUT,
  POOL_IS_FULL,
  READ_ONLY,
  REFUSED,
  UNREACHABLE,
} from "./shared-advice.ts"

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
  const known = typeof code === "string" ? (ADVICE[code] ?? ADVICE[code.slice(0, 2)]) : undefined
  return (known ?? adviceForMessage(error, MESSAGES))?.replace("TABLE", table)
}

const CLIENT_IS_BROKEN =
  "the client has lost its connection, and makes no new one; give the store a pool, which does"
const STARTING = "the server is starting or shutting down; the next request tries again"
const CANCELLED = "the server cancelled the statement (statement_timeout); the next request tries again"

/** By whole code, or by the class that its first two characters are. */
const ADVICE: Readonly<Record<string, string | undefined>> = {
  "42P01": "the table TABLE does not exist; call migrate(), or run migrationSql()",
  "3F000": "the schema of TABLE does not exist; create it, then call migrate()",
  "3D000": "the database does not exist; create it, then call migrate()",
  "23502": OTHER_LAYOUT,
  "42703": OTHER_LAYOUT,
  "42804": OTHER_LAYOUT,
  "42883": OTHER_LAYOUT,
  "42P10": OTHER_LAYOUT,
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
  "55P03": "another transaction holds the row for too long (lock_timeout)",
  "57014": CANCELLED,
  "57P01": CONNECTION_LOST,
  "57P02": CONNECTION_LOST,
  "57P03": STARTING,
  "57P05": CONNECTION_LOST,
  "28": REFUSED,
  "53": "the server has no room or memory left",
  "08": CONNECTION_LOST,
  ECONNREFUSED: UNREACHABLE,
  ENOENT: UNREACHABLE,
  ENOTFOUND: UNREACHABLE,
  EAI_AGAIN: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  ECONNRESET: CONNECTION_LOST,
  EPIPE: CONNECTION_LOST,
  CONNECTION_CLOSED: CONNECTION_LOST,
  CONNECTION_DESTROYED: CLIENT_HAS_ENDED,
  CONNECTION_ENDED: CLIENT_HAS_ENDED,
  CONNECT_TIMEOUT: UNREACHABLE,
}

/** The first that fits. */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/timeout exceeded when trying to connect/, POOL_IS_FULL],
  [/due to connection timeout|^timeout expired/i, UNREACHABLE],
  [/connection error and is not queryable/, CLIENT_IS_BROKEN],
  [/after calling end|has been closed|is closed|was closed/i, CLIENT_HAS_ENDED],
  [/connection terminated|connection ended/i, CONNECTION_LOST],
  [
    /query read timeout/i,
    "the driver waited no longer (query_timeout), so it is not known whether this was carried out",
  ],
  [/password must be a/i, REFUSED],
]

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

/** What the engine undoes when statements get into each other's way: deadlock, a record that has changed since, a conflict in a cluster, a table that has been altered. */
const TRANSIENT: readonly unknown[] = [1213, 1020, 3101, 1615]
const ERROR_DURING_COMMIT = 1180

export const DUPLICATE_KEY = 1062
export const TOO_MANY_ROWS = 1242
export const TABLE_EXISTS = 1050

/** Another server has been faster: the column or the index is there. */
export const MIGRATED_BY_ANOTHER: readonly unknown[] = [TABLE_EXISTS, 1060, 1061, 1091]

/** The number of the server's error. */
export function numberOf(error: unknown): unknown {
  return (error as { errno?: unknown } | null | undefined)?.errno
}

export function isTransient(error: unknown): boolean {
  // In Group Replication a conflict with another primary is told in words, while it commits.
  const isConflict = numberOf(error) === ERROR_DURING_COMMIT && /deadlock/i.test(String(error))
  return isConflict || TRANSIENT.includes(numberOf(error))
}

/** By the server's number, or by the code of the driver or of Node.js. */
export function adviceFor(error: unknown, table: string): string | undefined {
  return (causeOf(error) ?? adviceForOne(error))?.replace("TABLE", table)
}

function adviceForOne(error: unknown): string | undefined {
  const { errno, code } = (error ?? {}) as { errno?: unknown; code?: unknown }
  return BY_NUMBER[String(errno)] ?? BY_CODE[String(code)] ?? adviceForMessage(error, MESSAGES)
}

/** What has kept the pool of the mariadb driver from connecting, which it gives as the cause of the error that tells of a timeout. */
function causeOf(error: unknown): string | undefined {
  const { cause } = (error ?? {}) as { cause?: unknown }
  return cause === undefined ? undefined : adviceForOne(cause)
}

const CLIENT_IS_BROKEN =
  "the connection has ended, so this was not carried out; give the store a pool, which connects anew"
const SHUTTING_DOWN =
  "the server is shutting down, so it is not known whether this was carried out; the next request tries again"
const FORBIDDEN =
  "the database user may not do this; grant SELECT, INSERT, UPDATE and DELETE on TABLE, and CREATE and ALTER for migrate()"
const TOO_MANY = "the server has no connection left; lower the pools' sizes, or put a pooler between"
const TOO_LARGE =
  "the session is larger than the server's max_allowed_packet; raise it, or keep less in the session"
const CANCELLED = "the server cancelled the statement; the next request tries again"
const NOT_PREPARED =
  "the connection does not know the prepared statement, as behind a pooler; set prepare: false"

const BY_NUMBER: Readonly<Record<string, string | undefined>> = {
  "1040": TOO_MANY,
  "1044": FORBIDDEN,
  "1045": REFUSED,
  "1049": "the database does not exist; create it, then call migrate()",
  "1050": "there is a table TABLE that is not of coatcheck; choose another name with the option table",
  "1047": "the node of the cluster is not ready; the next request tries again",
  "1053": SHUTTING_DOWN,
  "1054": OTHER_LAYOUT,
  "1142": FORBIDDEN,
  "1143": FORBIDDEN,
  "1146": "the table TABLE does not exist; call migrate(), or run migrationSql()",
  "1153": TOO_LARGE,
  "1203": TOO_MANY,
  "1205": "another transaction holds the row for too long (innodb_lock_wait_timeout)",
  "1226": TOO_MANY,
  "1227": FORBIDDEN,
  "1243": NOT_PREPARED,
  "1290": READ_ONLY,
  "1301": TOO_LARGE,
  "1317": CANCELLED,
  "1364": OTHER_LAYOUT,
  "1461":
    "the server keeps no more prepared statements; raise max_prepared_stmt_count, or set prepare: false",
  "1698": REFUSED,
  "1792": READ_ONLY,
  "1836": READ_ONLY,
  "1927": CONNECTION_LOST,
  "1969": CANCELLED,
  "3024": CANCELLED,
  "4031": CONNECTION_LOST,
}

const BY_CODE: Readonly<Record<string, string | undefined>> = {
  COATCHECK_CHARACTER_SET:
    "the connection cannot carry every character; make the client with the charset utf8mb4",
  COATCHECK_AUTOCOMMIT: "the connection commits nothing by itself; give the store one with autocommit on",
  ECONNREFUSED: UNREACHABLE,
  ENOENT: UNREACHABLE,
  ENOTFOUND: UNREACHABLE,
  EAI_AGAIN: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  ECONNRESET: CONNECTION_LOST,
  EPIPE: CONNECTION_LOST,
  PROTOCOL_CONNECTION_LOST: CONNECTION_LOST,
  PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR: CLIENT_IS_BROKEN,
  POOL_CLOSED: CLIENT_HAS_ENDED,
  ER_POOL_ALREADY_CLOSED: CLIENT_HAS_ENDED,
  ER_CLOSING_POOL: CLIENT_HAS_ENDED,
  ER_CMD_CONNECTION_CLOSED: CLIENT_IS_BROKEN,
  ER_SOCKET_UNEXPECTED_CLOSE: CONNECTION_LOST,
  ER_CMD_NOT_EXECUTED_DESTROYED: CONNECTION_LOST,
  ER_CONNECTION_TIMEOUT: UNREACHABLE,
  ER_SOCKET_TIMEOUT: CONNECTION_LOST,
  ER_MAX_ALLOWED_PACKET: TOO_LARGE,
  ER_GET_CONNECTION_TIMEOUT:
    "the pool had no free connection in time; see that the server can be reached, raise the pool's size, or look for connections that are not given back",
  ER_POOL_NO_CONNECTION: UNREACHABLE,
  ER_POOL_NOT_INITIALIZED: UNREACHABLE,
}

/** The first that fits. */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/pool is closed/i, CLIENT_HAS_ENDED],
  [/closed state|connection is closed/i, CLIENT_IS_BROKEN],
  [/queue limit reached|no connections available/i, POOL_IS_FULL],
]

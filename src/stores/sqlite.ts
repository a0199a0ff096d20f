import {
  ConfigError,
  DuplicateIdError,
  type Gone,
  StoreError,
  UnknownIdError,
  VersionConflictError,
} from "../errors.ts"
import { joinObject } from "../json.ts"
import type {
  Change,
  ChangeIdOptions,
  DeleteByUserOptions,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  Written,
} from "../store.ts"
import {
  corrupt,
  goneOf,
  type Integer,
  type LiveRow,
  mergedState,
  numberOf,
  parseState,
  recordOf,
  type StandingRow,
  summaryOf,
  type SummaryRow,
} from "./shared-rows.ts"
import type { SqlStore } from "./shared-sql.ts"

/** What `node:sqlite`, `better-sqlite3` and `bun:sqlite` have in common. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
}

export interface SqliteStatement {
  get(...values: never[]): unknown
  all(...values: never[]): unknown
  run(...values: never[]): unknown
}

export interface SqliteStoreOptions {
  /** Default `"sessions"`. */
  readonly table?: string | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
  /** For a path: how long to wait for another process's write, in milliseconds. Default 1000. */
  readonly busyTimeout?: number | undefined
  /**
   * For a path: `"normal"` (default) loses the last writes when the power fails, though not when the process does; a sign-out among them would
   * be undone. `"full"` waits for the disk at each write.
   */
  readonly synchronous?: "normal" | "full" | undefined
}

/** A store that also closes the file it opened. Given a path, it makes its table by itself. */
export interface SqliteStore extends SqlStore {
  /** Closes the file that was opened for a path; leaves a database that was passed in alone. */
  close(): Promise<void>
}

interface OpenedDatabase extends SqliteDatabase {
  close(): void
}

type Value = string | number | null

interface FoundRow extends StandingRow {
  readonly idle_ttl: Integer | null
  readonly fixed_end: Integer | null
  readonly absolute_end: Integer
}

interface WholeRow extends LiveRow {
  readonly state: string | null
}

interface Statement {
  get(...values: Value[]): unknown
  all(...values: Value[]): unknown[]
  /** @returns how many rows changed. */
  run(...values: Value[]): number
}

const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: true,
  compareAndSet: true,
  promptRevocation: true,
  userIndex: true,
  atomicRotation: true,
  clock: "app",
})

const NAME = "sqlite"
const DEFAULT_BATCH = 1000
/** Only another process can come between a read and its write, and only for microseconds. */
const MAX_TRIES = 100
const MAX_BATCH = 1_000_000
/** How many rows a sweep looks at for each that it may remove: among those whose time seemed to have come, some have been extended. */
const SWEEP_WINDOW = 10
const MAX_ROUNDS = 100

/**
 * Keeps sessions in SQLite: in the file at a path, which is created with its table, or in a database you opened with `node:sqlite`,
 * `better-sqlite3` or `bun:sqlite`, on which `migrate()` has been called. Several processes may share a file.
 */
export function sqliteStore(
  database: string | SqliteDatabase,
  options: SqliteStoreOptions = {},
): SqliteStore {
  return new SqliteStoreImplementation(database, options)
}

class SqliteStoreImplementation implements SqliteStore {
  readonly name = NAME
  readonly capabilities: StoreCapabilities = CAPABILITIES
  readonly #database: string | SqliteDatabase
  readonly #table: string
  readonly #clock: () => number
  readonly #busyTimeout: number
  readonly #synchronous: "normal" | "full"
  #opened: SqliteDatabase | undefined
  #opening: Promise<SqliteDatabase> | undefined
  #statements: Statements | undefined
  #closed = false

  constructor(database: string | SqliteDatabase, options: SqliteStoreOptions) {
    const { table = "sessions", clock = Date.now, busyTimeout = 1000, synchronous = "normal" } = options
    if (typeof database === "string" ? database === "" : !isDatabase(database)) {
      throw new ConfigError(
        "sqliteStore: expected a path, or a database of node:sqlite, better-sqlite3 or bun:sqlite.",
        {
          option: "database",
        },
      )
    }
    if (typeof table !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(table)) {
      throw new ConfigError("table: expected a name of letters, digits and underscores.", { option: "table" })
    }
    if (typeof clock !== "function") throw new ConfigError("clock: expected a function.", { option: "clock" })
    if (!Number.isSafeInteger(busyTimeout) || busyTimeout < 0) {
      throw new ConfigError("busyTimeout: expected whole milliseconds.", { option: "busyTimeout" })
    }
    if (synchronous !== "normal" && synchronous !== "full") {
      throw new ConfigError('synchronous: expected "normal" or "full".', { option: "synchronous" })
    }
    this.#database = database
    this.#table = table
    this.#clock = () => Math.floor(clock())
    this.#busyTimeout = busyTimeout
    this.#synchronous = synchronous
  }

  migrationSql(): string {
    return migrationSql(this.#table)
  }

  async migrate(): Promise<void> {
    const database = await this.#open()
    database.exec(this.migrationSql())
  }

  async close(): Promise<void> {
    this.#closed = true
    const database = this.#opened ?? (await this.#opening)
    this.#opened = this.#opening = this.#statements = undefined
    if (typeof this.#database === "string") (database as { close?: () => void } | undefined)?.close?.()
  }

  async create(id: SessionId, record: NewRecord): Promise<void> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    const fixedEnd = record.fixedTtl === null ? null : now + record.fixedTtl
    const absoluteEnd = now + record.absoluteTtl
    const deadline = deadlineOf(now, record.idleTtl, fixedEnd, absoluteEnd)
    const created = statements.create.run(
      id,
      joinObject(record.state),
      record.userId,
      record.label,
      now,
      record.userId === null ? null : now,
      now,
      record.idleTtl,
      fixedEnd,
      record.cookieKind,
      absoluteEnd,
      deadline,
      deadline,
      now,
    )
    if (created === 0) throw new DuplicateIdError({ id })
  }

  async load(id: SessionId): Promise<SessionRecord | Gone | undefined> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    const row = statements.load.get(id, now) as WholeRow | undefined
    if (row === undefined) return undefined
    if (row.state !== null) return recordOf(NAME, id, parseState(NAME, id, row.state), row, now)
    // A column more in a row costs every load; a tombstone is rarely met.
    const tombstone = findRow(statements, id, now)
    return tombstone && goneOf(tombstone, now)
  }

  async update(
    id: SessionId,
    change: Change,
    options: { ifVersion?: number | undefined } = {},
  ): Promise<Written> {
    const statements = this.#statements ?? (await this.#prepare())
    const update = statements.update(change)
    return this.#merge(statements, id, change, options.ifVersion, (values) => update.run(...values))
  }

  async updateTtl(id: SessionId): Promise<Written> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    // Not `get`: it leaves the statement after the first row, and two of the drivers then keep a commit that failed to themselves.
    const [row] = statements.touch.all(now, now, id, now) as Pick<LiveRow, "version" | "deadline">[]
    if (row === undefined) throw this.#unknown(statements, id, now)
    return { version: Number(row.version), expiresIn: Number(row.deadline) - now }
  }

  async changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written> {
    const statements = this.#statements ?? (await this.#prepare())
    const { change = NO_CHANGE, ifVersion, tombstone } = options
    const move = statements.move(change)
    return this.#merge(statements, oldId, change, ifVersion, (values) => {
      const now = this.#clock()
      return this.#atomically(statements, () => {
        // An expired row may have the new id in theory; a live one must not be touched.
        statements.removeExpired.run(newId, now)
        if (findRow(statements, newId, now) !== undefined) throw new DuplicateIdError({ id: newId })
        // The row itself moves, so that a deletion by user that waits for it finds it under its new id.
        const moved = move.run(newId, ...values)
        if (moved === 0) return 0
        const { ttl, grace, privilegeChanged } = tombstone
        const end = now + ttl
        statements.leaveMoved.run(
          oldId,
          newId,
          now + grace,
          Number(privilegeChanged),
          now,
          now,
          end,
          end,
          end,
        )
        return moved
      })
    })
  }

  async delete(id: SessionId, options: { tombstone?: Tombstone | undefined } = {}): Promise<void> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    const { tombstone } = options
    if (tombstone === undefined) {
      if (statements.remove.run(id, now) === 0) throw this.#unknown(statements, id, now)
      return
    }
    const end = now + tombstone.ttl
    const seen = new Set<SessionId>()
    let last = id
    while (statements.end.run(end, end, last, now) === 0) {
      if (seen.has(last)) throw corrupt(NAME, id, "The way that a session has moved leads in a circle.")
      seen.add(last)
      const row = findRow(statements, last, now)
      if (row?.moved_to == null || Number(row.privilege_changed) === 1)
        throw this.#unknown(statements, last, now)
      last = row.moved_to
    }
  }

  async deleteExpired(options: { limit?: number | undefined } = {}): Promise<number> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    const limit = Math.min(options.limit ?? DEFAULT_BATCH, MAX_BATCH)
    const window = limit * SWEEP_WINDOW
    let removed = 0
    for (let round = 0; round < MAX_ROUNDS; round++) {
      // Live ones are put off to their present deadline, so that they stand in the way but once.
      const extended = statements.putOff.run(now, window, now)
      removed += statements.sweep.run(now, window, now, limit - removed)
      if (extended === 0 || removed >= limit) break
    }
    return removed
  }

  async listByUser(userId: string): Promise<SessionSummary[]> {
    const statements = this.#statements ?? (await this.#prepare())
    const rows = statements.list.all(userId, this.#clock()) as SummaryRow[]
    return rows.map(summaryOf)
  }

  async deleteByUser(userId: string, options: DeleteByUserOptions = {}): Promise<number> {
    const statements = this.#statements ?? (await this.#prepare())
    const now = this.#clock()
    const { except = "", tombstone } = options
    if (tombstone === undefined) return statements.removeByUser.run(userId, now, except, now)
    const end = now + tombstone.ttl
    return statements.endByUser.run(end, end, userId, now, except, now)
  }

  /**
   * Reads, merges here, and writes if the version is still the one that was read. SQLite's own `json_set` cannot name every key there may be, and
   * a transaction around the two takes two statements more, and fails inside one that the user has open.
   */
  #merge(
    statements: Statements,
    id: SessionId,
    change: Change,
    ifVersion: number | undefined,
    write: (values: Value[]) => number,
  ): Written {
    const { user, expiry } = change
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const now = this.#clock()
      const row = findRow(statements, id, now)
      if (row === undefined || row.state === null)
        throw new UnknownIdError({ id, gone: row && goneOf(row, now) })
      const version = Number(row.version)
      if (ifVersion !== undefined && ifVersion !== version) {
        throw new VersionConflictError("The record has changed since it was read.", { id })
      }
      const end = endOf(row, change, now)
      const values: Value[] = [mergeState(id, row.state, change), now, end.deadline]
      if (user !== undefined) {
        values.push(user.userId, user.label, user.userId === null ? null : now, end.absolute)
      }
      if (expiry !== undefined) values.push(expiry.idleTtl, end.fixed, expiry.cookieKind, end.deadline)
      values.push(id, version, now)
      if (write(values) > 0) return { version: version + 1, expiresIn: end.deadline - now }
    }
    throw new StoreError("The record changed each time it was to be written.", {
      operation: "update",
      store: this.name,
    })
  }

  /** A savepoint is a transaction of its own, or a part of one that is open. */
  #atomically<T>(statements: Statements, task: () => T): T {
    statements.begin.run()
    try {
      const result = task()
      statements.commit.run()
      return result
    } catch (error) {
      try {
        statements.rollback.run()
        statements.commit.run()
      } catch {
        // After some failures, such as a full disk, SQLite has rolled back by itself, and there is no savepoint any more.
      }
      throw error
    }
  }

  #unknown(statements: Statements, id: SessionId, now: number): UnknownIdError {
    const row = findRow(statements, id, now)
    return new UnknownIdError({ id, gone: row && goneOf(row, now) })
  }

  async #prepare(): Promise<Statements> {
    const database = await this.#open()
    try {
      return (this.#statements ??= new Statements(database, this.#table))
    } catch (error) {
      if (!/no such table/.test(String(error))) throw error
      throw new StoreError(
        `The table ${this.#table} does not exist: call migrate(), or run migrationSql().`,
        {
          operation: "prepare",
          store: this.name,
          cause: error,
        },
      )
    }
  }

  async #open(): Promise<SqliteDatabase> {
    if (this.#opened !== undefined) return this.#opened
    if (typeof this.#database !== "string") return (this.#opened = this.#database)
    if (this.#closed) throw new Error("The store has been closed.")
    this.#opening ??= openFile(this.#database).then((database) => {
      try {
        database.exec(`PRAGMA busy_timeout = ${this.#busyTimeout}`)
        database.exec("PRAGMA journal_mode = WAL")
        database.exec(`PRAGMA synchronous = ${this.#synchronous}`)
        database.exec(this.migrationSql())
      } catch (error) {
        database.close()
        throw error
      }
      return (this.#opened = database)
    })
    try {
      return await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }
}

const NO_CHANGE: Change = { set: new Map(), remove: new Set() }

function isDatabase(database: Partial<SqliteDatabase> | undefined): boolean {
  return typeof database?.prepare === "function" && typeof database.exec === "function"
}

/** Bun has a module of its own; the others have Node's. Named through a variable, so that no bundler looks for it. */
async function openFile(path: string): Promise<OpenedDatabase> {
  const isBun = "Bun" in globalThis
  const specifier = isBun ? "bun:sqlite" : "node:sqlite"
  // In what Next.js bundles no import of a variable finds anything.
  const builtin: unknown = isBun ? undefined : process.getBuiltinModule?.(specifier)
  const module = (builtin ?? (await import(/* @vite-ignore */ specifier))) as Record<
    string,
    new (path: string) => OpenedDatabase
  >
  const Database = module[isBun ? "Database" : "DatabaseSync"] as new (path: string) => OpenedDatabase
  return new Database(path)
}

/**
 * `sweep_at` is when to look whether the row has expired. It may be long before its deadline: a write that extends the deadline leaves it, so that
 * the index on it is not written at each request (with it a write took twice as long, 53 against 26 µs among 100,000 rows), and the sweeper moves it on.
 */
function migrationSql(table: string): string {
  return `CREATE TABLE IF NOT EXISTS "${table}" (
  id TEXT NOT NULL PRIMARY KEY,
  state TEXT,
  version INTEGER NOT NULL,
  user_id TEXT,
  label TEXT,
  created_at INTEGER NOT NULL,
  signed_in_at INTEGER,
  last_seen_at INTEGER NOT NULL,
  idle_ttl INTEGER,
  fixed_end INTEGER,
  cookie_kind TEXT,
  absolute_end INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  sweep_at INTEGER NOT NULL,
  moved_to TEXT,
  grace_end INTEGER,
  privilege_changed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS "${table}_sweep_at" ON "${table}" (sweep_at);
CREATE INDEX IF NOT EXISTS "${table}_user_id" ON "${table}" (user_id) WHERE user_id IS NOT NULL;
`
}

const LIVE = "deadline > ? AND state IS NOT NULL"
const ENDED = "state = NULL, user_id = NULL, label = NULL, moved_to = NULL, deadline = ?, sweep_at = ?"
const COLUMNS =
  "id, state, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at"

/** Every statement, prepared once. */
class Statements {
  readonly create: Statement
  readonly load: Statement
  readonly find: Statement
  readonly touch: Statement
  readonly leaveMoved: Statement
  readonly remove: Statement
  readonly removeExpired: Statement
  readonly end: Statement
  readonly putOff: Statement
  readonly sweep: Statement
  readonly list: Statement
  readonly removeByUser: Statement
  readonly endByUser: Statement
  readonly begin: Statement
  readonly commit: Statement
  readonly rollback: Statement
  readonly #merging = new Map<string, Statement>()
  readonly #prepare: (sql: string) => Statement
  readonly #table: string

  constructor(database: SqliteDatabase, name: string) {
    const table = `"${name}"`
    const prepare = (sql: string): Statement => wrap(database.prepare(sql))
    // The one excepted, under the id that it may have moved to since.
    const spared = `id NOT IN (
      WITH RECURSIVE spared (id) AS (
        SELECT ? UNION SELECT moved_to FROM ${table} JOIN spared USING (id)
        WHERE moved_to IS NOT NULL AND privilege_changed = 0 AND deadline > ?
      ) SELECT id FROM spared)`
    const replaced = COLUMNS.split(", ").map((column) => `${column} = excluded.${column}`)
    this.#prepare = prepare
    this.#table = table
    this.create = prepare(
      `INSERT INTO ${table} (version, ${COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET version = 1, moved_to = NULL, grace_end = NULL, privilege_changed = 0, ${replaced.join(", ")}
       WHERE deadline <= ?`,
    )
    this.load = prepare(
      `SELECT state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline
       FROM ${table} WHERE id = ? AND deadline > ?`,
    )
    this.find = prepare(
      `SELECT state, version, idle_ttl, fixed_end, absolute_end, moved_to, grace_end, privilege_changed
       FROM ${table} WHERE id = ? AND deadline > ?`,
    )
    this.touch = prepare(
      `UPDATE ${table} SET last_seen_at = max(last_seen_at, ?),
         deadline = min(coalesce(? + idle_ttl, absolute_end), coalesce(fixed_end, absolute_end), absolute_end)
       WHERE id = ? AND ${LIVE} RETURNING version, deadline`,
    )
    this.leaveMoved = prepare(
      `INSERT INTO ${table} (id, moved_to, grace_end, privilege_changed, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
       VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)`,
    )
    this.remove = prepare(`DELETE FROM ${table} WHERE id = ? AND ${LIVE}`)
    this.removeExpired = prepare(`DELETE FROM ${table} WHERE id = ? AND deadline <= ?`)
    this.end = prepare(`UPDATE ${table} SET ${ENDED} WHERE id = ? AND ${LIVE}`)
    const due = `SELECT rowid, deadline FROM ${table} WHERE sweep_at <= ? ORDER BY sweep_at LIMIT ?`
    this.putOff = prepare(
      `UPDATE ${table} SET sweep_at = deadline WHERE rowid IN (SELECT rowid FROM (${due}) WHERE deadline > ?)`,
    )
    this.sweep = prepare(
      `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM (${due}) WHERE deadline <= ? LIMIT ?)`,
    )
    this.list = prepare(
      `SELECT * FROM ${table} WHERE user_id = ? AND ${LIVE} ORDER BY last_seen_at DESC, created_at DESC`,
    )
    this.removeByUser = prepare(`DELETE FROM ${table} WHERE user_id = ? AND ${LIVE} AND ${spared}`)
    this.endByUser = prepare(`UPDATE ${table} SET ${ENDED} WHERE user_id = ? AND ${LIVE} AND ${spared}`)
    this.begin = prepare("SAVEPOINT coatcheck")
    this.commit = prepare("RELEASE coatcheck")
    this.rollback = prepare("ROLLBACK TO coatcheck")
  }

  update(change: Change): Statement {
    return this.#merge("", change)
  }

  /** As `update`, but for the new id, which comes first. */
  move(change: Change): Statement {
    return this.#merge("id = ?, ", change)
  }

  /** Only what changes is written: a column that is named has its index rewritten, whatever its value. */
  #merge(first: string, { user, expiry }: Change): Statement {
    const ofUser = user === undefined ? "" : ", user_id = ?, label = ?, signed_in_at = ?, absolute_end = ?"
    const ofExpiry =
      expiry === undefined ? "" : ", idle_ttl = ?, fixed_end = ?, cookie_kind = ?, sweep_at = ?"
    const name = first + ofUser + ofExpiry
    let statement = this.#merging.get(name)
    if (statement === undefined) {
      statement = this.#prepare(
        `UPDATE ${this.#table} SET ${first}state = ?, last_seen_at = max(last_seen_at, ?), deadline = ?, version = version + 1${ofUser}${ofExpiry}
         WHERE id = ? AND version = ? AND ${LIVE}`,
      )
      this.#merging.set(name, statement)
    }
    return statement
  }
}

function findRow(statements: Statements, id: SessionId, now: number): FoundRow | undefined {
  return statements.find.get(id, now) as FoundRow | undefined
}

/** When a record ends after a change. */
function endOf(
  row: FoundRow,
  { user, expiry }: Change,
  now: number,
): { absolute: number; fixed: number | null; deadline: number } {
  const absolute =
    user == null || user.absoluteTtl === null ? Number(row.absolute_end) : now + user.absoluteTtl
  const idle = expiry === undefined ? numberOf(row.idle_ttl) : expiry.idleTtl
  const fixed =
    expiry === undefined ? numberOf(row.fixed_end) : expiry.fixedTtl === null ? null : now + expiry.fixedTtl
  return { absolute, fixed, deadline: deadlineOf(now, idle, fixed, absolute) }
}

/** The drivers differ in what they return for no row, and for integers. */
function wrap(statement: SqliteStatement): Statement {
  const { get, all, run } = statement as unknown as Record<
    "get" | "all" | "run",
    (...values: Value[]) => unknown
  >
  // A database of node:sqlite may have been opened so that its rows are arrays.
  const { setReturnArrays } = statement as { setReturnArrays?: (enabled: boolean) => void }
  setReturnArrays?.call(statement, false)
  return {
    get: (...values) => get.apply(statement, values) ?? undefined,
    all: (...values) => all.apply(statement, values) as unknown[],
    run: (...values) => {
      const { changes } = run.apply(statement, values) as { changes?: number | bigint }
      if (changes === undefined)
        throw new TypeError("The database is asynchronous: sqliteStore needs one that is not.")
      return Number(changes)
    },
  }
}

function deadlineOf(
  now: number,
  idleTtl: number | null,
  fixedEnd: number | null,
  absoluteEnd: number,
): number {
  return Math.min(idleTtl === null ? absoluteEnd : now + idleTtl, fixedEnd ?? absoluteEnd, absoluteEnd)
}

function mergeState(id: SessionId, text: string, change: Change): string {
  const isUnchanged = change.clear === undefined && change.set.size === 0 && change.remove.size === 0
  return isUnchanged ? text : joinObject(mergedState(NAME, id, text, change))
}

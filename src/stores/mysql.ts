import type { Change, CookieKind, MoveTombstone, NewRecord, SessionId, Written } from "../store.ts"
import { type Connection, connectionOf, type MysqlClient, type Result } from "./mysql-clients.ts"
import { adviceFor, DUPLICATE_KEY, isTransient, numberOf, TOO_MANY_ROWS } from "./mysql-failures.ts"
import { migrate, migrationSql } from "./mysql-layouts.ts"
import { type Query } from "./mysql-queries.ts"
import { Statements, unpack } from "./mysql-statements.ts"
import { fromEngineText } from "./shared-json.ts"
import { tableOf, type Table } from "./shared-names.ts"
import { assertKnownOptions } from "./shared-options.ts"
import { type Integer, mergedState, type SummaryRow } from "./shared-rows.ts"
import {
  EngineStore,
  type FoundRow,
  type SqlEngine,
  type SqlStore,
  type SummaryCells,
  summaryRow,
} from "./shared-sql.ts"

export type { MariadbClient, Mysql2CallbackClient, Mysql2Client, MysqlClient } from "./mysql-clients.ts"
export type { SqlStore } from "./shared-sql.ts"

export interface MysqlStoreOptions {
  /** Default `"sessions"`; may name a database: `"auth.sessions"`. */
  readonly table?: string | undefined
  /** Whether the server keeps the statements prepared, which is the default. `false` for a proxy that cannot. */
  readonly prepare?: boolean | undefined
}

/**
 * Keeps sessions in MySQL 8.0.17 or later, or MariaDB 10.6 or later, through a pool or connection of mysql2 (with promises or callbacks) or of the `mariadb`
 * driver. It makes its table when `migrate()` is called. Every operation is one statement outside of any transaction of yours.
 */
export function mysqlStore(client: MysqlClient, options: MysqlStoreOptions = {}): SqlStore {
  return new EngineStore(new MysqlEngine(client, options))
}

/** How often a row is tried to be created: the sweep may remove an expired one between two looks at it. */
const MAX_CREATIONS = 3
/** How many keys a change names at most in one statement: it holds 65,535 values, and MariaDB takes a document apart for each key. */
const MAX_KEYS = 256

class MysqlEngine implements SqlEngine {
  readonly name = "mysql"
  readonly #table: Table
  readonly #connection: Connection
  readonly #statements: Statements
  #isChecked = false

  constructor(client: MysqlClient, options: MysqlStoreOptions) {
    assertKnownOptions("mysqlStore", options, ["table", "prepare"])
    const { table = "sessions", prepare = true } = options
    this.#table = tableOf(table, "`")
    this.#connection = connectionOf(client, prepare)
    this.#statements = new Statements(this.#table.quoted)
  }

  migrationSql(): string {
    return migrationSql(this.#table)
  }

  async migrate(): Promise<void> {
    await this.#check()
    await migrate(this.#connection, this.#table)
  }

  async create(id: SessionId, record: NewRecord): Promise<boolean> {
    for (let tries = 0; tries < MAX_CREATIONS; tries++) {
      try {
        await this.#run(this.#statements.insert(newRowId(), id, record))
        return true
      } catch (error) {
        if (numberOf(error) !== DUPLICATE_KEY) throw error
      }
      if (await this.#changes(this.#statements.replace(id, record))) return true
      if ((await this.find(id)) !== undefined) return false
    }
    return false
  }

  async find(id: SessionId): Promise<FoundRow | undefined> {
    if (!isId(id)) return undefined
    const { rows } = await this.#run(this.#statements.find(id))
    return rows[0] && foundRow(rows[0] as unknown as FoundCells)
  }

  async update(id: SessionId, change: Change, ifVersion: number | undefined): Promise<Written | undefined> {
    if (!isId(id)) return undefined
    const small = await this.#smallChange(id, change, ifVersion)
    if (small === undefined) return undefined
    return this.#writtenOf(id, await this.#run(this.#statements.update(id, small.change, small.ifVersion)))
  }

  async touch(id: SessionId): Promise<Written | undefined> {
    if (!isId(id)) return undefined
    return this.#writtenOf(id, await this.#run(this.#statements.touch(id)))
  }

  async move(
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    tombstone: MoveTombstone,
  ): Promise<Written | "taken" | undefined> {
    if (!isId(oldId)) return undefined
    const small = await this.#smallChange(oldId, change, ifVersion)
    if (small === undefined) return undefined
    const rowId = newRowId()
    const move = this.#statements.move(rowId, oldId, newId, small.change, small.ifVersion, tombstone)
    try {
      return await this.#writtenOf(newId, await this.#run(move))
    } catch (error) {
      if (numberOf(error) === DUPLICATE_KEY || numberOf(error) === TOO_MANY_ROWS) return "taken"
      throw error
    }
  }

  async remove(id: SessionId): Promise<boolean> {
    return isId(id) && this.#changes(this.#statements.remove(id))
  }

  removeExpired(id: SessionId): Promise<boolean> {
    return this.#changes(this.#statements.removeExpired(id))
  }

  async end(id: SessionId, ttl: number): Promise<boolean> {
    return isId(id) && this.#changes(this.#statements.end(id, ttl))
  }

  /**
   * Looks without a lock, and then names the rows by their key: a statement that found them by the index would lock the gaps between them, where
   * new sessions want to go, and those that it passed over. Several sweeps find the same rows; each is counted by the one that removes it.
   */
  async sweep(window: number, limit: number): Promise<{ removed: number; isDone: boolean }> {
    const { rows } = await this.#connection.runOnce(this.#statements.due(window))
    const over: string[] = []
    const extended: string[] = []
    for (const [rowId, isOver] of rows) (Number(isOver) === 1 ? over : extended).push(String(rowId))
    let removed = 0
    if (over.length > 0) {
      const first = over.slice(0, limit)
      removed = (await this.#connection.runOnce(this.#statements.removeDue(first))).affectedRows
    }
    if (extended.length > 0) {
      try {
        await this.#connection.runOnce(this.#statements.putOff(extended))
      } catch (error) {
        // What has been removed is to be counted, and the next sweep comes here again.
        if (!isTransient(error)) throw error
      }
    }
    return { removed, isDone: rows.length < window }
  }

  async list(userId: string): Promise<SummaryRow[]> {
    const { rows } = await this.#run(this.#statements.list(userId))
    return rows.map((row) => summaryRow(row as unknown as SummaryCells))
  }

  async endByUser(userId: string, except: SessionId | undefined, ttl: number | undefined): Promise<number> {
    const spared = except !== undefined && isId(except) ? except : undefined
    return (await this.#run(this.#statements.endByUser(userId, spared, ttl))).affectedRows
  }

  isTransient(error: unknown): boolean {
    return isTransient(error)
  }

  adviceFor(error: unknown): string | undefined {
    return adviceFor(error, this.#table.quoted)
  }

  async #run({ sql, values }: Query): Promise<Result> {
    if (!this.#isChecked) await this.#check()
    return this.#connection.run(sql, values)
  }

  /** For statements that change each row they find, so that it does not matter which of the two the driver counts. */
  async #changes(query: Query): Promise<boolean> {
    return (await this.#run(query)).affectedRows > 0
  }

  /** Not the number of rows tells whether there was one: a row that keeps its values counts with some connections and not with others. */
  async #writtenOf(id: SessionId, { insertId, affectedRows }: Result): Promise<Written | undefined> {
    // A trigger on the table takes away what the statement was to return.
    if (Number(insertId) === 0 && affectedRows === 0) return undefined
    const written = Number(insertId) === 0 ? undefined : unpack(insertId)
    if (written !== undefined) return written
    const row = await this.find(id)
    // Ended or moved since: then that is what is to be told.
    if (row === undefined || row.state === null) return undefined
    return { version: Number(row.version), expiresIn: Number(row.deadline) - row.now }
  }

  /** A change of very many keys as one of the whole state, for a statement holds only so many values. */
  async #smallChange(
    id: SessionId,
    change: Change,
    ifVersion: number | undefined,
  ): Promise<{ change: Change; ifVersion: number | undefined } | undefined> {
    const { clear, set, remove } = change
    const keys = set.size + remove.size + (typeof clear === "object" ? clear.except.length : 0)
    if (clear === true || keys <= MAX_KEYS) return { change, ifVersion }
    const row = await this.find(id)
    if (row === undefined || row.state === null) return undefined
    const merged = mergedState(this.name, id, fromEngineText(row.state), change)
    const whole: Change = { ...change, clear: true, set: merged, remove: new Set() }
    return { change: whole, ifVersion: ifVersion ?? Number(row.version) }
  }

  /** Once for a store: what would lose data in silence is to be told at the first request. */
  async #check(): Promise<void> {
    const { rows } = await this.#connection.runOnce(
      "SELECT @@character_set_client, @@character_set_results, @@autocommit",
    )
    const [client, results, autocommit] = rows[0] as [string, string | null, Integer]
    if (client !== "utf8mb4" || (results !== "utf8mb4" && results !== null)) {
      throw new UnfitConnection("COATCHECK_CHARACTER_SET", `The character set is ${client}, ${results}.`)
    }
    if (Number(autocommit) !== 1) throw new UnfitConnection("COATCHECK_AUTOCOMMIT", "autocommit is off.")
    this.#isChecked = true
  }
}

/** What no session has as its id is not asked for: MySQL and MariaDB fail on a character that the column cannot hold, and not always well. */
function isId(id: SessionId): boolean {
  return /^[\x21-\x7e]{1,64}$/.test(id)
}

class UnfitConnection extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Larger with time, so that rows are added at the end. Of two in the same millisecond one in a million clashes, and is tried again. */
function newRowId(): string {
  const random = Math.floor(Math.random() * 1e6)
  return `${Date.now()}${String(random).padStart(6, "0")}`
}

/** A row as it is selected: an array, for a driver may be told to rename columns. */
type FoundCells = readonly [
  state: string | null,
  version: Integer,
  userId: string | null,
  label: string | null,
  createdAt: Integer,
  signedInAt: Integer | null,
  lastSeenAt: Integer,
  idleTtl: Integer | null,
  fixedEnd: Integer | null,
  cookieKind: CookieKind | null,
  absoluteEnd: Integer,
  deadline: Integer,
  movedTo: string | null,
  graceEnd: Integer | null,
  privilegeChanged: Integer | boolean,
  now: Integer,
]

function foundRow(cells: FoundCells): FoundRow {
  return {
    state: cells[0],
    version: cells[1],
    user_id: cells[2],
    label: cells[3],
    created_at: cells[4],
    signed_in_at: cells[5],
    last_seen_at: cells[6],
    idle_ttl: cells[7],
    fixed_end: cells[8],
    cookie_kind: cells[9],
    absolute_end: cells[10],
    deadline: cells[11],
    moved_to: cells[12],
    grace_end: cells[13],
    privilege_changed: cells[14],
    now: Number(cells[15]),
  }
}

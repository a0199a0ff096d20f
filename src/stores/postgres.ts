import type { Change, CookieKind, MoveTombstone, NewRecord, SessionId, Written } from "../store.ts"
import { type Connection, connectionOf, type PostgresClient } from "./postgres-clients.ts"
import { adviceFor, codeOf, isTransient } from "./postgres-failures.ts"
import { migrate, migrationSql } from "./postgres-layouts.ts"
import { Statements } from "./postgres-statements.ts"
import { toEngineKey, toEngineObject } from "./shared-json.ts"
import { tableOf } from "./shared-names.ts"
import { assertKnownOptions } from "./shared-options.ts"
import type { Integer, SummaryRow } from "./shared-rows.ts"
import {
  EngineStore,
  firstTtl,
  type FoundRow,
  isMerge,
  type SqlEngine,
  type SqlStore,
  type SummaryCells,
  summaryRow,
} from "./shared-sql.ts"

export type {
  NodePostgresClient,
  PGliteClient,
  PostgresClient,
  PostgresJsClient,
} from "./postgres-clients.ts"
export type { SqlStore } from "./shared-sql.ts"

export interface PostgresStoreOptions {
  /** Default `"sessions"`; may name a schema: `"auth.sessions"`. */
  readonly table?: string | undefined
  /**
   * Whether the server keeps the statements prepared, which is the default. `false` for a pooler that gives each transaction another
   * connection and knows nothing of prepared statements, such as PgBouncer before 1.21.
   */
  readonly prepare?: boolean | undefined
}

const UNIQUE_VIOLATION = "23505"

/**
 * Keeps sessions in PostgreSQL 12 or later, through a `Pool` or `Client` of node-postgres, a client of postgres.js, or a PGlite. It makes
 * its table when `migrate()` is called. Every operation is one statement outside of any transaction of yours.
 */
export function postgresStore(client: PostgresClient, options: PostgresStoreOptions = {}): SqlStore {
  return new EngineStore(new PostgresEngine(client, options))
}

class PostgresEngine implements SqlEngine {
  readonly name = "postgres"
  readonly #table: string
  readonly #connection: Connection
  readonly #statements: Statements

  constructor(client: PostgresClient, options: PostgresStoreOptions) {
    assertKnownOptions("postgresStore", options, ["table", "prepare"])
    const { table = "sessions", prepare = true } = options
    this.#table = tableOf(table, '"').quoted
    this.#connection = connectionOf(client)
    this.#statements = new Statements(this.#table, prepare)
  }

  migrationSql(): string {
    return migrationSql(this.#table)
  }

  migrate(): Promise<void> {
    return migrate(this.#connection, this.#table)
  }

  async create(id: SessionId, record: NewRecord): Promise<boolean> {
    const rows = await this.#connection.run(this.#statements.create, [
      id,
      toEngineObject(record.state),
      record.userId,
      record.label,
      record.idleTtl,
      record.fixedTtl,
      record.cookieKind,
      record.absoluteTtl,
      firstTtl(record),
    ])
    return rows.length > 0
  }

  async find(id: SessionId): Promise<FoundRow | undefined> {
    const [row] = await this.#connection.run(this.#statements.find, [id])
    return row && foundRow(row as unknown as FoundCells)
  }

  async update(id: SessionId, change: Change, ifVersion: number | undefined): Promise<Written | undefined> {
    const statement = this.#statements.update(change, ifVersion !== undefined)
    const [row] = await this.#connection.run(statement, [id, ...valuesOf(change, ifVersion)])
    return writtenOf(row)
  }

  async touch(id: SessionId): Promise<Written | undefined> {
    const [row] = await this.#connection.run(this.#statements.touch, [id])
    return writtenOf(row)
  }

  async move(
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    { ttl, grace, privilegeChanged }: MoveTombstone,
  ): Promise<Written | "taken" | undefined> {
    const statement = this.#statements.move(change, ifVersion !== undefined)
    const values = [oldId, newId, ttl, grace, privilegeChanged, ...valuesOf(change, ifVersion)]
    try {
      const [row] = await this.#connection.run(statement, values)
      return writtenOf(row)
    } catch (error) {
      if (codeOf(error) === UNIQUE_VIOLATION) return "taken"
      throw error
    }
  }

  async remove(id: SessionId): Promise<boolean> {
    return (await this.#connection.run(this.#statements.remove, [id])).length > 0
  }

  async removeExpired(id: SessionId): Promise<boolean> {
    return (await this.#connection.run(this.#statements.removeExpired, [id])).length > 0
  }

  async end(id: SessionId, ttl: number): Promise<boolean> {
    return (await this.#connection.run(this.#statements.end, [id, ttl])).length > 0
  }

  async sweep(window: number, limit: number): Promise<{ removed: number; isDone: boolean }> {
    const [row] = await this.#connection.run(this.#statements.sweep, [window, limit])
    const [removed, seen] = row as [Integer, Integer]
    return { removed: Number(removed), isDone: Number(seen) < window }
  }

  async list(userId: string): Promise<SummaryRow[]> {
    const rows = await this.#connection.run(this.#statements.list, [userId])
    return rows.map((row) => summaryRow(row as unknown as SummaryCells))
  }

  async endByUser(userId: string, except = "", ttl: number | undefined): Promise<number> {
    const [row] = await (ttl === undefined
      ? this.#connection.run(this.#statements.removeByUser, [userId, except])
      : this.#connection.run(this.#statements.endByUser, [userId, except, ttl]))
    return Number(row?.[0])
  }

  isTransient(error: unknown): boolean {
    return isTransient(error)
  }

  adviceFor(error: unknown): string | undefined {
    return adviceFor(error, this.#table)
  }
}

/** In the order in which the statements of `Statements.#merge` take them. */
function valuesOf(change: Change, ifVersion: number | undefined): unknown[] {
  const { clear, set, remove, user, expiry } = change
  const values: unknown[] = []
  if (clear === true) values.push(toEngineObject(set))
  else if (isMerge(change)) {
    if (clear !== undefined) values.push(textArray(clear.except))
    values.push(textArray(remove), toEngineObject(set))
  }
  if (user !== undefined) values.push(user.userId, user.label, user.absoluteTtl)
  if (expiry !== undefined) values.push(expiry.idleTtl, expiry.fixedTtl, expiry.cookieKind)
  if (ifVersion !== undefined) values.push(ifVersion)
  return values
}

/** An array as PostgreSQL writes it, for the drivers differ in how they do. Keys as the engine has them hold no quotes and no backslashes. */
function textArray(keys: Iterable<string>): string {
  return `{${[...keys].map((key) => `"${toEngineKey(key)}"`).join(",")}}`
}

function writtenOf(row: readonly unknown[] | undefined): Written | undefined {
  if (row === undefined) return undefined
  const [version, expiresIn] = row as [Integer, Integer]
  return { version: Number(version), expiresIn: Number(expiresIn) }
}

type FoundCells = readonly [state: string | null, userId: string | null, label: string | null, facts: string]

/** In the order of the statement's facts. */
function foundRow([state, user_id, label, facts]: FoundCells): FoundRow {
  const cells = facts.split(",")
  const number = (index: number): number => Number(cells[index])
  const maybe = (index: number): number | null => (cells[index] === "" ? null : number(index))
  const text = (index: number): string | null => cells[index] || null
  return {
    state,
    user_id,
    label,
    version: number(0),
    created_at: number(1),
    signed_in_at: maybe(2),
    last_seen_at: number(3),
    idle_ttl: maybe(4),
    fixed_end: maybe(5),
    cookie_kind: text(6) as CookieKind | null,
    absolute_end: number(7),
    deadline: number(8),
    moved_to: text(9),
    grace_end: maybe(10),
    privilege_changed: number(11),
    now: number(12),
  }
}

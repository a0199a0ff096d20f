import type { Change, MoveTombstone, NewRecord, SessionId, Written } from "../store.ts"
import type { Connection, Effect, Query, Rows } from "./d1-connections.ts"
import { adviceFor, ForeignTable, isDuplicateKey, isOfOtherColumns } from "./d1-failures.ts"
import { layoutOf } from "./d1-layouts.ts"
import { Statements } from "./d1-statements.ts"
import type { Table } from "./shared-names.ts"
import type { SummaryRow } from "./shared-rows.ts"
import type { FoundRow, Missed, SqlEngine } from "./shared-sql.ts"

/** Each question is one round trip, also where it finds nothing to write. */
export class D1Engine implements SqlEngine {
  readonly name = "d1"
  readonly #table: Table
  readonly #connection: Connection
  readonly #statements: Statements

  constructor(connection: Connection, table: Table, statements: Statements = new Statements(table.quoted)) {
    this.#connection = connection
    this.#table = table
    this.#statements = statements
  }

  migrationSql(): string {
    return layoutOf(this.#table.quoted, this.#table.name)
      .map((statement) => `${statement};\n`)
      .join("")
  }

  async migrate(): Promise<void> {
    const layout = layoutOf(this.#table.quoted, this.#table.name)
    try {
      await this.#connection.send(
        layout.map((sql) => ({ sql, values: [] })),
        "repeat",
      )
    } catch (error) {
      throw isOfOtherColumns(error) ? new ForeignTable(error) : error
    }
  }

  create(id: SessionId, record: NewRecord): Promise<boolean> {
    return this.#isDone(this.#statements.create(id, record))
  }

  async find(id: SessionId): Promise<FoundRow | undefined> {
    const [rows] = await this.#send([this.#statements.find(id)], "read")
    return rows[0] as FoundRow | undefined
  }

  async update(
    id: SessionId,
    change: Change,
    ifVersion: number | undefined,
  ): Promise<Written | Missed | undefined> {
    const [written, standing] = await this.#send(this.#statements.update(id, change, ifVersion), "write")
    return writtenOf(written) ?? missedOf(id, standing, ifVersion)
  }

  async touch(id: SessionId): Promise<Written | Missed | undefined> {
    const [written, standing] = await this.#send(this.#statements.touch(id), "repeat")
    return writtenOf(written) ?? missedOf(id, standing, undefined)
  }

  async move(
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    tombstone: MoveTombstone,
  ): Promise<Written | "taken" | Missed | undefined> {
    const batch = this.#statements.move(oldId, newId, change, ifVersion, tombstone)
    try {
      const [, , written, , standing] = await this.#send(batch, "write")
      return writtenOf(written) ?? missedOf(oldId, standing, ifVersion)
    } catch (error) {
      if (isDuplicateKey(error)) return "taken"
      throw error
    }
  }

  async remove(id: SessionId): Promise<boolean | Missed> {
    const [removed, standing] = await this.#send(this.#statements.remove(id), "write")
    return removed.length === 1 || (missedOf(id, standing, undefined) ?? false)
  }

  removeExpired(id: SessionId): Promise<boolean> {
    return this.#isDone(this.#statements.removeExpired(id))
  }

  async end(id: SessionId, ttl: number): Promise<boolean | Missed> {
    const [ended, stop] = await this.#send(this.#statements.end(id, ttl), "write")
    if (ended.length === 1) return true
    const row = stop[0] as (FoundRow & { id: string }) | undefined
    if (row === undefined) return false
    return { id: row.id, found: row.version === null ? undefined : row }
  }

  async sweep(window: number, limit: number): Promise<{ removed: number; isDone: boolean }> {
    const [extended, removed] = await this.#send(this.#statements.sweep(window, limit), "write")
    return { removed: removed.length, isDone: extended.length + removed.length < window }
  }

  async list(userId: string): Promise<SummaryRow[]> {
    const [rows] = await this.#send([this.#statements.list(userId)], "read")
    return rows as unknown as SummaryRow[]
  }

  async endByUser(userId: string, except = "", ttl: number | undefined): Promise<number> {
    const [ended] = await this.#send([this.#statements.endByUser(userId, except, ttl)], "write")
    return ended.length
  }

  /** D1 has one writer at a time; what may be tried again is tried again by the connection. */
  isTransient(): boolean {
    return false
  }

  adviceFor(error: unknown): string | undefined {
    return adviceFor(error, this.#table.quoted)
  }

  async #isDone(query: Query): Promise<boolean> {
    const [rows] = await this.#send([query], "write")
    return rows.length === 1
  }

  /** As many answers as there are queries. */
  #send<const Queries extends readonly Query[]>(
    queries: Queries,
    effect: Effect,
  ): Promise<{ [Index in keyof Queries]: Rows }> {
    return this.#connection.send(queries, effect) as Promise<{ [Index in keyof Queries]: Rows }>
  }
}

function writtenOf(rows: Rows): Written | undefined {
  const [row] = rows
  return row && { version: Number(row["version"]), expiresIn: Number(row["expires_in"]) }
}

/** Undefined for a live row that could have been written: then it has to be looked at itself. */
function missedOf(id: SessionId, rows: Rows, ifVersion: number | undefined): Missed | undefined {
  const found = rows[0] as FoundRow | undefined
  const isSound = found !== undefined && found.state !== null
  return isSound && (ifVersion === undefined || ifVersion === found.version) ? undefined : { id, found }
}

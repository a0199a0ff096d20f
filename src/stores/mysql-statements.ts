import type { Change, MoveTombstone, NewRecord, SessionId } from "../store.ts"
import {
  list,
  NOTHING,
  NULL,
  number,
  type Part,
  query,
  type Query,
  raw,
  sqlOf,
  text,
  valuesOf,
} from "./mysql-queries.ts"
import { toEngineKey, toEngineObject, toEngineText } from "./shared-json.ts"
import { firstTtl, isMerge, SUMMARY_COLUMNS } from "./shared-sql.ts"

/** The same for the whole of a statement, whatever the time zone: nothing is converted, so no hour comes twice. */
const NOW: Part = raw("(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)")

/** After the state, and before the engine's clock. */
const FOUND_COLUMNS =
  "version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, moved_to, grace_end, privilege_changed"

/**
 * MySQL has no `UPDATE … RETURNING`. What `LAST_INSERT_ID(…)` is given comes back with the answer, as if it had been counted up: the one
 * number that a statement can return. So version and time to live travel in it, in 23 bits and 40. What does not fit is asked for.
 */
const LIFETIME_BITS = 40n
const MAX_LIFETIME = (1n << LIFETIME_BITS) - 1n
const MAX_VERSION = (1n << 23n) - 1n

/** @returns undefined if it has to be asked for. */
export function unpack(
  insertId: number | bigint | string,
): { version: number; expiresIn: number } | undefined {
  // A driver may have been told to make it a number, which does not hold the larger ones.
  if (typeof insertId === "number" && !Number.isSafeInteger(insertId)) return undefined
  const both = BigInt(insertId)
  const version = both >> LIFETIME_BITS
  const lifetime = both & MAX_LIFETIME
  if (version === MAX_VERSION || lifetime === MAX_LIFETIME) return undefined
  return { version: Number(version), expiresIn: Number(lifetime) }
}

function packed(version: Part, end: Part): Part {
  const lifetime = query`LEAST(GREATEST(${end} - ${NOW}, 0), ${raw(String(MAX_LIFETIME))})`
  return query`LAST_INSERT_ID((LEAST(${version}, ${raw(String(MAX_VERSION))}) << ${raw(String(LIFETIME_BITS))}) | ${lifetime})`
}

/** MariaDB before 12 follows 32 levels, of which the state is one; MySQL follows 100. */
const MAX_LEVELS = 30

export class Statements {
  readonly #table: Part
  /** Texts by what they depend on. Making one takes longer than all the rest that is done here for a request. */
  readonly #texts = new Map<string, string>()

  /** @param table quoted */
  constructor(table: string) {
    this.#table = raw(table)
  }

  find(id: SessionId): Query {
    return this.#query(
      "find",
      query`SELECT /*!80017 CAST(state AS CHAR) */ /*M! state */, ${raw(FOUND_COLUMNS)}, ${NOW} FROM ${this.#table} WHERE id = ${text(id)} AND deadline > ${NOW}`,
    )
  }

  touch(id: SessionId): Query {
    const end = endOf(endsOf({}, NOTHING))
    return this.#query(
      "touch",
      query`UPDATE ${this.#table} SET version = version + 0 * ${packed(raw("version"), end)},
      last_seen_at = GREATEST(last_seen_at, ${NOW}), deadline = ${end} WHERE id = ${text(id)} AND ${live()}`,
    )
  }

  insert(rowId: string, id: SessionId, record: NewRecord): Query {
    const cells = newCells(record)
    return this.#query(
      `insert ${record.userId === null}`,
      query`INSERT INTO ${this.#table} (row_id, id, ${list(cells.map(([name]) => raw(name)))})
      VALUES (${text(rowId)}, ${text(id)}, ${list(cells.map(([, cell]) => cell))})`,
    )
  }

  /** A new record in the place of one that has expired. */
  replace(id: SessionId, record: NewRecord): Query {
    const cells = newCells(record).map(([name, cell]) => query`${raw(name)} = ${cell}`)
    return this.#query(
      `replace ${record.userId === null}`,
      query`UPDATE ${this.#table} SET moved_to = NULL, grace_end = NULL, privilege_changed = 0, ${list(cells)}
      WHERE id = ${text(id)} AND deadline <= ${NOW}`,
    )
  }

  update(id: SessionId, change: Change, ifVersion: number | undefined): Query {
    return this.#query(
      `update ${shapeOf(change, ifVersion)}`,
      query`UPDATE ${this.#table} SET ${assignments(change, NOTHING)}
      WHERE id = ${text(id)} AND ${conditions(change, ifVersion, NOTHING)}`,
    )
  }

  /**
   * One statement that moves a row and inserts one. It would insert the tombstone twice: the first meets the live row, which gives way by
   * taking its new id, so that the second finds room. Without `FOR UPDATE` what has been found might be live no more. Should the number
   * for the tombstone's row be another session's, that one must not give way: the subquery of two rows fails the statement.
   */
  move(
    rowId: string,
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    { ttl, grace, privilegeChanged }: MoveTombstone,
  ): Query {
    const [graceEnd, end] = [query`${NOW} + ${number(grace)}`, query`${NOW} + ${number(ttl)}`]
    const cells: [string, Part][] = [
      ["row_id", text(rowId)],
      ["id", text(oldId)],
      ["moved_to", text(newId)],
      ["grace_end", graceEnd],
      ["privilege_changed", text(privilegeChanged ? "1" : "0")],
      ["version", raw("0")],
      ["created_at", NOW],
      ["last_seen_at", NOW],
      ["absolute_end", end],
      ["deadline", end],
      ["sweep_at", end],
    ]
    return this.#query(
      `move ${shapeOf(change, ifVersion)}`,
      query`INSERT INTO ${this.#table} (${list(cells.map(([name]) => raw(name)))})
      SELECT ${list(cells.map(([, cell]) => cell))} FROM ${this.#table} AS live JOIN (SELECT 1 AS step UNION ALL SELECT 2) AS steps
      WHERE live.id = ${text(oldId)} AND ${conditions(change, ifVersion, raw("live."))} FOR UPDATE
      ON DUPLICATE KEY UPDATE id = IF(${this.#table}.id = ${text(oldId)}, ${text(newId)}, (SELECT 'two' UNION SELECT 'rows')), ${assignments(change, query`${this.#table}.`)}`,
    )
  }

  remove(id: SessionId): Query {
    return this.#query("remove", query`DELETE FROM ${this.#table} WHERE id = ${text(id)} AND ${live()}`)
  }

  removeExpired(id: SessionId): Query {
    return this.#query(
      "removeExpired",
      query`DELETE FROM ${this.#table} WHERE id = ${text(id)} AND deadline <= ${NOW}`,
    )
  }

  end(id: SessionId, ttl: number): Query {
    return this.#query(
      "end",
      query`UPDATE ${this.#table} SET ${ended(ttl)} WHERE id = ${text(id)} AND ${live()}`,
    )
  }

  list(userId: string): Query {
    return this.#query(
      "list",
      query`SELECT ${raw(SUMMARY_COLUMNS)} FROM ${this.#table} WHERE user_id = ${text(userId)} AND ${live()}
      ORDER BY last_seen_at DESC, created_at DESC`,
    )
  }

  /** The rows whose time seems to have come, and whether it has. Their keys are larger than a number of JavaScript can hold. */
  due(limit: number): string {
    return sqlOf(
      query`SELECT CAST(row_id AS CHAR), deadline <= ${NOW} FROM ${this.#table} WHERE sweep_at <= ${NOW} ORDER BY sweep_at LIMIT ${raw(String(limit))}`,
    )
  }

  removeDue(rowIds: readonly string[]): string {
    return sqlOf(
      query`DELETE FROM ${this.#table} WHERE row_id IN (${raw(rowIds.join(", "))}) AND deadline <= ${NOW}`,
    )
  }

  putOff(rowIds: readonly string[]): string {
    return sqlOf(
      query`UPDATE ${this.#table} SET sweep_at = deadline WHERE row_id IN (${raw(rowIds.join(", "))}) AND deadline > ${NOW}`,
    )
  }

  endByUser(userId: string, except: SessionId | undefined, ttl: number | undefined): Query {
    const doing =
      ttl === undefined ? query`DELETE FROM ${this.#table}` : query`UPDATE ${this.#table} SET ${ended(ttl)}`
    const notSpared = except === undefined ? NOTHING : query` AND row_id NOT IN (${this.#spared(except)})`
    return this.#query(
      `endByUser ${except === undefined} ${ttl === undefined}`,
      query`${doing} WHERE user_id = ${text(userId)} AND ${live()}${notSpared}`,
    )
  }

  /** The row of the one excepted, which is the same under the id that it may have moved to since, or moves to while this runs. */
  #spared(except: SessionId): Part {
    const next = (row: Part): Part =>
      query`IF(${row}privilege_changed = 0 AND ${row}deadline > ${NOW}, ${row}moved_to, NULL)`
    return query`SELECT row_id FROM (
      WITH RECURSIVE spared (row_id, next_id) AS (
        SELECT start.row_id, ${next(raw("start."))} FROM ${this.#table} AS start WHERE start.id = ${text(except)}
        UNION SELECT hop.row_id, ${next(raw("hop."))} FROM spared JOIN ${this.#table} AS hop ON hop.id = spared.next_id
      ) SELECT row_id FROM spared) AS spared_rows`
  }

  /** @param shape what the text depends on besides the table */
  #query(shape: string, part: Part): Query {
    let sql = this.#texts.get(shape)
    if (sql === undefined) {
      sql = sqlOf(part)
      this.#texts.set(shape, sql)
    }
    return { sql, values: valuesOf(part) }
  }
}

/** All that a statement's text depends on in a change. */
function shapeOf({ clear, set, remove, user, expiry }: Change, ifVersion: number | undefined): string {
  const ofClear = clear === undefined || clear === true ? clear : new Set(clear.except).size
  const ofUser = user && `${user.userId === null} ${user.absoluteTtl === null}`
  // What is cleared is written as a whole.
  const ofKeys = clear === true ? "" : `${paddedLength(set.size)} ${paddedLength(remove.size)}`
  return `${ofClear} ${ofKeys} ${ofUser} ${expiry !== undefined} ${ifVersion !== undefined}`
}

function newCells(record: NewRecord): [column: string, cell: Part][] {
  const deadline = query`${NOW} + ${number(firstTtl(record))}`
  return [
    ["state", text(toEngineObject(record.state, MAX_LEVELS))],
    ["version", raw("1")],
    ["user_id", text(record.userId)],
    ["label", text(record.label)],
    ["created_at", NOW],
    ["signed_in_at", record.userId === null ? NULL : NOW],
    ["last_seen_at", NOW],
    ["idle_ttl", number(record.idleTtl)],
    ["fixed_end", query`${NOW} + ${number(record.fixedTtl)}`],
    ["cookie_kind", text(record.cookieKind)],
    ["absolute_end", query`${NOW} + ${number(record.absoluteTtl)}`],
    ["deadline", deadline],
    ["sweep_at", deadline],
  ]
}

/**
 * MySQL assigns in order, and what comes later sees what has been assigned; MariaDB can be told otherwise. So no column is read after
 * it has been assigned, but by its own assignment.
 * @param row what the columns are to be read from, such as `live.`
 */
function assignments(change: Change, row: Part): Part {
  const { user, expiry } = change
  const ends = endsOf(change, row)
  const end = endOf(ends)
  const version = query`${row}version + 1`
  const assigned = [
    query`version = ${version} + 0 * ${packed(version, end)}`,
    query`deadline = ${end}`,
    query`last_seen_at = GREATEST(${row}last_seen_at, ${NOW})`,
    ...stateOf(change, query`${row}state`),
  ]
  if (user !== undefined) {
    assigned.push(
      query`user_id = ${text(user.userId)}`,
      query`label = ${text(user.label)}`,
      query`signed_in_at = ${user.userId === null ? NULL : NOW}`,
      query`absolute_end = ${ends.absolute}`,
    )
  }
  if (expiry !== undefined) {
    assigned.push(
      query`idle_ttl = ${ends.idle}`,
      query`fixed_end = ${ends.fixed}`,
      query`cookie_kind = ${text(expiry.cookieKind)}`,
      query`sweep_at = ${end}`,
    )
  }
  return list(assigned)
}

interface Ends {
  readonly idle: Part
  readonly fixed: Part
  readonly absolute: Part
}

/** The ends of a record after a change. */
function endsOf({ user, expiry }: Pick<Change, "user" | "expiry">, row: Part): Ends {
  const absoluteTtl = user?.absoluteTtl ?? null
  return {
    idle: expiry === undefined ? query`${row}idle_ttl` : number(expiry.idleTtl),
    fixed: expiry === undefined ? query`${row}fixed_end` : query`${NOW} + ${number(expiry.fixedTtl)}`,
    absolute: absoluteTtl === null ? query`${row}absolute_end` : query`${NOW} + ${number(absoluteTtl)}`,
  }
}

/** The earliest of the ends that there are. */
function endOf({ idle, fixed, absolute }: Ends): Part {
  return query`LEAST(COALESCE(${NOW} + ${idle}, ${absolute}), COALESCE(${fixed}, ${absolute}), ${absolute})`
}

/**
 * Merges inside the engine, in one round trip. Reading, merging here and writing if the version is the same takes two, and was measured to take
 * up to twice as long, and many times where requests contend for one session (`bench/stores`).
 */
function stateOf(change: Change, state: Part): Part[] {
  const { clear, set, remove } = change
  if (clear === true) return [query`state = ${text(toEngineObject(set, MAX_LEVELS))}`]
  if (!isMerge(change)) return []
  let merged = clear === undefined ? state : only(clear.except, state)
  // The shortest last: it is what may be repeated.
  const sets = [...set].toSorted(([, one], [, other]) => other.length - one.length)
  if (remove.size > 0) merged = query`JSON_REMOVE(${merged}, ${list(padded([...remove].map(pathOf)))})`
  if (set.size > 0) {
    const entries = sets.map(
      ([key, value]) => query`${pathOf(key)}, JSON_EXTRACT(${text(toEngineText(value, MAX_LEVELS))}, '$')`,
    )
    merged = query`JSON_SET(${merged}, ${list(padded(entries))})`
  }
  // For MariaDB alone, which gives null for what it cannot follow, and null would be the end of the session; MySQL would make text of the JSON.
  return [query`state = /*M! COALESCE( */ ${merged} /*M! , '') */`]
}

function only(keys: readonly string[], state: Part): Part {
  const entries = [...new Set(keys)].map((key) => {
    const [path, name] = [pathOf(key), text(toEngineKey(key))]
    return query`IF(JSON_CONTAINS_PATH(${state}, 'one', ${path}), JSON_OBJECT(${name}, JSON_EXTRACT(${state}, ${path})), JSON_OBJECT())`
  })
  return entries.length === 0
    ? raw("JSON_OBJECT()")
    : query`JSON_MERGE_PRESERVE(JSON_OBJECT(), ${list(entries)})`
}

/** Filled up to a power of two by repeating the last, which changes nothing, so that few statements have to be prepared. */
function padded(parts: Part[]): Part[] {
  const length = paddedLength(parts.length)
  while (parts.length < length) parts.push(parts.at(-1) as Part)
  return parts
}

function paddedLength(length: number): number {
  return length === 0 ? 0 : 2 ** Math.ceil(Math.log2(length))
}

/** Keys as the engine has them hold nothing that would have to be escaped. */
function pathOf(key: string): Part {
  return text(`$."${toEngineKey(key)}"`)
}

function conditions(change: Change, ifVersion: number | undefined, row: Part): Part {
  // An array would be merged into as well, and in MariaDB any text may stand there.
  const isObject = isMerge(change)
    ? query` /*M! AND JSON_VALID(${row}state) */ AND JSON_TYPE(${row}state) = 'OBJECT'`
    : NOTHING
  const isVersion = ifVersion === undefined ? NOTHING : query` AND ${row}version = ${number(ifVersion)}`
  return query`${live(row)}${isObject}${isVersion}`
}

function live(row = NOTHING): Part {
  return query`${row}deadline > ${NOW} AND ${row}state IS NOT NULL`
}

function ended(ttl: number): Part {
  const end = query`${NOW} + ${number(ttl)}`
  return query`state = NULL, user_id = NULL, label = NULL, moved_to = NULL, deadline = ${end}, sweep_at = ${end}`
}

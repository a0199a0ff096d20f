import type { Change, MoveTombstone, NewRecord, SessionId } from "../store.ts"
import type { Query, Value } from "./d1-connections.ts"
import { toEngineKey, toEngineObject } from "./shared-json.ts"
import { firstTtl, isMerge, SUMMARY_COLUMNS } from "./shared-sql.ts"

/** SQLite's clock in milliseconds since 1970. It stands still within a statement, but not from one statement of a batch to the next. */
const NOW = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
const LIVE = `deadline > ${NOW} AND state IS NOT NULL`

const COLUMNS =
  "id, state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at"
const REPLACED: string = COLUMNS.split(", ")
  .map((column) => `${column} = excluded.${column}`)
  .join(", ")
const FOUND =
  "state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, moved_to, grace_end, privilege_changed"
/** What tells why nothing was written, without the state itself. */
const STANDING =
  "CASE WHEN state IS NOT NULL THEN '' END AS state, version, moved_to, grace_end, privilege_changed"

const RETURNING = `RETURNING version, deadline - ${NOW} AS expires_in`

/** The statements of each operation. Those of one array are for one batch, which D1 carries out as a whole or not at all. */
export class Statements {
  readonly #table: string

  constructor(table: string) {
    this.#table = table
  }

  create(id: SessionId, record: NewRecord): Query {
    const { state, userId, label, idleTtl, fixedTtl, cookieKind, absoluteTtl } = record
    return {
      sql: `INSERT INTO ${this.#table} (${COLUMNS})
        SELECT ?1, ?2, 1, ?3, ?4, now, CASE WHEN ?3 IS NOT NULL THEN now END, now, ?5, now + ?6, ?7, now + ?8, now + ?9, now + ?9
        FROM (SELECT ${NOW} AS now) WHERE true
        ON CONFLICT (id) DO UPDATE SET ${REPLACED}, moved_to = NULL, grace_end = NULL, privilege_changed = 0
        WHERE deadline <= excluded.created_at
        RETURNING 1 AS done`,
      values: [
        id,
        toEngineObject(state),
        userId,
        label,
        idleTtl,
        fixedTtl,
        cookieKind,
        absoluteTtl,
        firstTtl(record),
      ],
    }
  }

  find(id: SessionId): Query {
    return {
      sql: `SELECT ${FOUND}, ${NOW} AS now FROM ${this.#table} WHERE id = ?1 AND deadline > ${NOW}`,
      values: [id],
    }
  }

  update(id: SessionId, change: Change, ifVersion: number | undefined): [write: Query, standing: Query] {
    const values: Value[] = [id]
    const { assignments, conditions } = this.#merge(change, ifVersion, values)
    const sql = `UPDATE ${this.#table} SET ${assignments} WHERE id = ?1 AND ${conditions} ${RETURNING}`
    return [{ sql, values }, this.#standing(id)]
  }

  touch(id: SessionId): [write: Query, standing: Query] {
    const sql = `UPDATE ${this.#table} SET last_seen_at = max(last_seen_at, ${NOW}), deadline = ${deadline({})}
      WHERE id = ?1 AND ${LIVE} ${RETURNING}`
    return [{ sql, values: [id] }, this.#standing(id)]
  }

  /** The row itself moves, so that a deletion by user finds it under its new id; the tombstone is the new row. */
  move(
    oldId: SessionId,
    newId: SessionId,
    change: Change,
    ifVersion: number | undefined,
    { ttl, grace, privilegeChanged }: MoveTombstone,
  ): [free: Query, check: Query, write: Query, tombstone: Query, standing: Query] {
    const table = this.#table
    const values: Value[] = [oldId, newId]
    const { assignments, conditions } = this.#merge(change, ifVersion, values)
    return [
      this.removeExpired(newId),
      // A row that is there cannot be put in once more, and the batch is undone: from here on, the one with the new id is the one that moved.
      { sql: `INSERT INTO ${table} SELECT * FROM ${table} WHERE id = ?1`, values: [newId] },
      {
        sql: `UPDATE ${table} SET id = ?2, ${assignments} WHERE id = ?1 AND ${conditions} ${RETURNING}`,
        values,
      },
      {
        sql: `INSERT INTO ${table} (id, moved_to, grace_end, privilege_changed, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
          SELECT ?1, ?2, now + ?3, ?4, 0, now, now, now + ?5, now + ?5, now + ?5
          FROM ${table}, (SELECT ${NOW} AS now) WHERE id = ?2`,
        values: [oldId, newId, grace, Number(privilegeChanged), ttl],
      },
      this.#standing(oldId),
    ]
  }

  remove(id: SessionId): [remove: Query, standing: Query] {
    const sql = `DELETE FROM ${this.#table} WHERE id = ?1 AND ${LIVE} RETURNING 1 AS done`
    return [{ sql, values: [id] }, this.#standing(id)]
  }

  removeExpired(id: SessionId): Query {
    const sql = `DELETE FROM ${this.#table} WHERE id = ?1 AND deadline <= ${NOW} RETURNING 1 AS done`
    return { sql, values: [id] }
  }

  /**
   * Ends the session under an id, or the one it has moved to by hops that were no privilege change. The second result tells where the way
   * ends; a circle has no end.
   */
  end(id: SessionId, ttl: number): [end: Query, stop: Query] {
    const way = this.#way("way", "?1")
    return [
      {
        sql: `${way} UPDATE ${this.#table} SET ${ended("?2")}
          WHERE id IN (SELECT id FROM way) AND ${LIVE} RETURNING 1 AS done`,
        values: [id, ttl],
      },
      {
        sql: `${way} SELECT way.id AS id, ${STANDING}, ${NOW} AS now
          FROM way LEFT JOIN ${this.#table} AS stop ON stop.id = way.id AND deadline > ${NOW}
          WHERE moved_to IS NULL OR privilege_changed = 1`,
        values: [id],
      },
    ]
  }

  /** Live rows are put off to their present deadline, so that they stand in the way of a sweep but once. */
  sweep(window: number, limit: number): [putOff: Query, remove: Query] {
    const due = `SELECT rowid, deadline FROM ${this.#table} WHERE sweep_at <= ${NOW} ORDER BY sweep_at LIMIT ?1`
    return [
      {
        sql: `UPDATE ${this.#table} SET sweep_at = deadline
          WHERE rowid IN (SELECT rowid FROM (${due}) WHERE deadline > ${NOW}) RETURNING 1 AS done`,
        values: [window],
      },
      {
        sql: `DELETE FROM ${this.#table}
          WHERE rowid IN (SELECT rowid FROM (${due}) WHERE deadline <= ${NOW} LIMIT ?2) RETURNING 1 AS done`,
        values: [window, limit],
      },
    ]
  }

  list(userId: string): Query {
    return {
      sql: `SELECT ${SUMMARY_COLUMNS} FROM ${this.#table} WHERE user_id = ?1 AND ${LIVE}
        ORDER BY last_seen_at DESC, created_at DESC`,
      values: [userId],
    }
  }

  /** The one excepted is spared under the id that it may have moved to since. */
  endByUser(userId: string, except: SessionId, ttl: number | undefined): Query {
    const spared = this.#way("spared", "?2")
    const ofUser = `user_id = ?1 AND ${LIVE} AND id NOT IN (SELECT id FROM spared) RETURNING 1 AS done`
    return ttl === undefined
      ? { sql: `${spared} DELETE FROM ${this.#table} WHERE ${ofUser}`, values: [userId, except] }
      : {
          sql: `${spared} UPDATE ${this.#table} SET ${ended("?3")} WHERE ${ofUser}`,
          values: [userId, except, ttl],
        }
  }

  #standing(id: SessionId): Query {
    const sql = `SELECT ${STANDING}, ${NOW} AS now FROM ${this.#table} WHERE id = ?1 AND deadline > ${NOW}`
    return { sql, values: [id] }
  }

  /** An id and those it has moved to, through every hop that was no privilege change. */
  #way(name: string, id: string): string {
    return `WITH RECURSIVE ${name} (id) AS (
      SELECT ${id} UNION SELECT moved_to FROM ${this.#table} JOIN ${name} USING (id)
      WHERE moved_to IS NOT NULL AND privilege_changed = 0 AND deadline > ${NOW}
    )`
  }

  /**
   * Merges inside the engine, in one round trip. Only what changes is written: a column that is named has its index rewritten, which is
   * paid for by the row.
   * @param values of the statement so far; gets those of the change
   */
  #merge(
    change: Change,
    ifVersion: number | undefined,
    values: Value[],
  ): { assignments: string; conditions: string } {
    const { clear, set, user, expiry } = change
    const parameter = (value: Value): string => `?${values.push(value)}`
    const assignments = ["version = version + 1", `last_seen_at = max(last_seen_at, ${NOW})`]
    const conditions = [LIVE]
    if (clear === true) assignments.push(`state = ${parameter(toEngineObject(set))}`)
    else if (isMerge(change)) {
      assignments.push(`state = ${mergedText(change, parameter)}`)
      // An array would be merged into as well; and what is no JSON would be the failure of the whole batch.
      conditions.push("CASE WHEN json_valid(state) THEN json_type(state) = 'object' ELSE false END")
    }
    const ends: Ends = {}
    if (user !== undefined) {
      assignments.push(`user_id = ${parameter(user.userId)}, label = ${parameter(user.label)}`)
      assignments.push(`signed_in_at = ${user.userId === null ? "NULL" : NOW}`)
      if (user.absoluteTtl !== null) {
        ends.absolute = `${NOW} + ${parameter(user.absoluteTtl)}`
        assignments.push(`absolute_end = ${ends.absolute}`)
      }
    }
    if (expiry !== undefined) {
      ends.idle = parameter(expiry.idleTtl)
      ends.fixed = `${NOW} + ${parameter(expiry.fixedTtl)}`
      assignments.push(
        `idle_ttl = ${ends.idle}, fixed_end = ${ends.fixed}, cookie_kind = ${parameter(expiry.cookieKind)}`,
      )
      assignments.push(`sweep_at = ${deadline(ends)}`)
    }
    assignments.push(`deadline = ${deadline(ends)}`)
    if (ifVersion !== undefined) conditions.push(`version = ${parameter(ifVersion)}`)
    return { assignments: assignments.join(", "), conditions: conditions.join(" AND ") }
  }
}

interface Ends {
  idle?: string
  fixed?: string
  absolute?: string
}

function deadline({ idle = "idle_ttl", fixed = "fixed_end", absolute = "absolute_end" }: Ends): string {
  return `min(coalesce(${NOW} + ${idle}, ${absolute}), coalesce(${fixed}, ${absolute}), ${absolute})`
}

function ended(ttl: string): string {
  const end = `${NOW} + ${ttl}`
  return `state = NULL, user_id = NULL, label = NULL, moved_to = NULL, deadline = ${end}, sweep_at = ${end}`
}

/**
 * A state as text, with what a change keeps of it and what the change sets. However many keys there are, they are three values at most,
 * of the hundred that a statement of D1 may hold.
 */
function mergedText({ clear, set, remove }: Change, parameter: (value: string) => string): string {
  const fresh = parameter(toEngineObject(set))
  const kept = [`key NOT IN (SELECT key FROM json_each(${fresh}))`]
  if (remove.size > 0) kept.push(`key NOT IN (SELECT value FROM json_each(${parameter(keyArray(remove))}))`)
  if (typeof clear === "object") {
    kept.push(`key IN (SELECT value FROM json_each(${parameter(keyArray(clear.except))}))`)
  }
  return `(SELECT json_group_object(key, json(text)) FROM (
    SELECT key, ${memberText("state")} AS text FROM json_each(state) WHERE ${kept.join(" AND ")}
    UNION ALL SELECT key, ${memberText(fresh)} FROM json_each(${fresh})))`
}

/**
 * The JSON text of a member as it stands in the object. SQLite would round a fraction that it has read, so that one is looked up by its
 * key; keys as the engine has them hold no quotes and no backslashes.
 */
function memberText(object: string): string {
  return `CASE WHEN type = 'text' THEN json_quote(value) WHEN type IN ('true', 'false', 'null') THEN type
    WHEN typeof(value) = 'real' THEN ${object} -> ('$."' || key || '"') ELSE value END`
}

function keyArray(keys: Iterable<string>): string {
  return JSON.stringify(Array.from(keys, toEngineKey))
}

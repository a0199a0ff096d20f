import type { Change } from "../store.ts"
import type { Statement } from "./postgres-clients.ts"
import { isMerge, SUMMARY_COLUMNS } from "./shared-sql.ts"

/**
 * The same for the whole of a statement, whatever the time zone, and whole milliseconds as everywhere. A statement that waits for a row is judged by
 * when it began: `clock_timestamp()` would not help, for a row that has only been locked is not looked at again.
 */
const NOW = "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
const LIVE = `deadline > ${NOW} AND state IS NOT NULL`
const COLUMNS =
  "id, state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at"

/**
 * What a row tells besides its texts, as one text with commas between: node-postgres has each column described and takes it apart with each
 * row, which took a fifth of a load's time (`bench/stores`).
 */
const FACTS = [
  "version",
  "created_at",
  "signed_in_at",
  "last_seen_at",
  "idle_ttl",
  "fixed_end",
  "cookie_kind",
  "absolute_end",
  "deadline",
  "moved_to",
  "grace_end",
  "privilege_changed::int",
  NOW,
].join(", ',', ")

/**
 * Every statement. A value is cast where its type would not be clear; JSON and arrays go in as text, or some drivers would encode
 * them once more.
 */
export class Statements {
  readonly create: Statement
  readonly find: Statement
  readonly touch: Statement
  readonly remove: Statement
  readonly removeExpired: Statement
  readonly end: Statement
  readonly sweep: Statement
  readonly list: Statement
  readonly removeByUser: Statement
  readonly endByUser: Statement
  readonly #merging = new Map<string, Statement>()
  readonly #table: string
  readonly #isPrepared: boolean

  constructor(table: string, isPrepared: boolean) {
    this.#table = table
    this.#isPrepared = isPrepared
    const statement = (text: string): Statement => this.#statement(text)
    const replaced = COLUMNS.split(", ").map((column) => `${column} = excluded.${column}`)
    this.create = statement(
      `INSERT INTO ${table} AS present (${COLUMNS})
       SELECT $1, $2::text::jsonb, 1, $3::text, $4::text, now, CASE WHEN $3::text IS NOT NULL THEN now END, now,
         $5::bigint, now + $6::bigint, $7::text, now + $8::bigint, now + $9::bigint, now + $9::bigint
       FROM (SELECT ${NOW} AS now) AS clock
       ON CONFLICT (id) DO UPDATE SET ${replaced.join(", ")}, moved_to = NULL, grace_end = NULL, privilege_changed = false
       WHERE present.deadline <= excluded.created_at
       RETURNING 1`,
    )
    this.find = statement(
      `SELECT state::text, user_id, label, concat(${FACTS}) FROM ${table} WHERE id = $1 AND deadline > ${NOW}`,
    )
    this.touch = statement(
      `UPDATE ${table} SET last_seen_at = greatest(last_seen_at, ${NOW}), deadline = ${deadline({})}
       WHERE id = $1 AND ${LIVE} RETURNING version, deadline - ${NOW}`,
    )
    this.remove = statement(`DELETE FROM ${table} WHERE id = $1 AND ${LIVE} RETURNING 1`)
    this.removeExpired = statement(`DELETE FROM ${table} WHERE id = $1 AND deadline <= ${NOW} RETURNING 1`)
    this.end = statement(`UPDATE ${table} SET ${ended("$2")} WHERE id = $1 AND ${LIVE} RETURNING 1`)
    // A row that another sweep, or a request, holds is left for the next time: nobody waits. Arrays, so that the key's index is used
    // whatever the statistics say.
    this.sweep = statement(
      `WITH due AS MATERIALIZED (
         SELECT id, deadline <= ${NOW} AS is_over FROM ${table} WHERE sweep_at <= ${NOW}
         ORDER BY sweep_at LIMIT $1::int FOR UPDATE SKIP LOCKED
       ), removed AS (
         DELETE FROM ${table} WHERE id = ANY (ARRAY(SELECT id FROM due WHERE is_over LIMIT $2::int)) RETURNING 1
       ), put_off AS (
         UPDATE ${table} SET sweep_at = deadline WHERE id = ANY (ARRAY(SELECT id FROM due WHERE NOT is_over)) RETURNING 1
       )
       SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM due)`,
    )
    this.list = statement(
      `SELECT ${SUMMARY_COLUMNS} FROM ${table} WHERE user_id = $1 AND ${LIVE} ORDER BY last_seen_at DESC, created_at DESC`,
    )
    const ofUser = `user_id = $1 AND ${LIVE} AND id NOT IN (SELECT id FROM spared)`
    // The one excepted, under the id that it may have moved to since.
    const spared = `WITH RECURSIVE spared (id) AS (
         SELECT $2::text COLLATE "C" UNION SELECT moved_to FROM ${table} JOIN spared USING (id)
         WHERE moved_to IS NOT NULL AND NOT privilege_changed AND deadline > ${NOW}
       )`
    this.removeByUser = statement(
      `${spared}, ended AS (DELETE FROM ${table} WHERE ${ofUser} RETURNING 1) SELECT count(*) FROM ended`,
    )
    this.endByUser = statement(
      `${spared}, ended AS (UPDATE ${table} SET ${ended("$3")} WHERE ${ofUser} RETURNING 1) SELECT count(*) FROM ended`,
    )
  }

  /** Takes the id, then what the change brings. */
  update(change: Change, hasVersion: boolean): Statement {
    return this.#merge("update", change, hasVersion, 2, ({ assignments, conditions }) => {
      return `UPDATE ${this.#table} SET ${assignments} WHERE id = $1 AND ${conditions} RETURNING version, deadline - ${NOW}`
    })
  }

  /**
   * Takes the old id, the new one, and the tombstone's ttl, grace and kind, then what the change brings. The row itself moves, so that a
   * deletion by user that waits for it finds it again; the tombstone is the new row.
   */
  move(change: Change, hasVersion: boolean): Statement {
    return this.#merge("move", change, hasVersion, 6, ({ assignments, conditions }) => {
      return `WITH moved AS (
         UPDATE ${this.#table} SET id = $2, ${assignments} WHERE id = $1 AND ${conditions} RETURNING version, deadline - ${NOW} AS expires_in
       ), tombstone AS (
         INSERT INTO ${this.#table} (id, moved_to, grace_end, privilege_changed, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
         SELECT $1, $2, ${NOW} + $4::bigint, $5::boolean, 0, ${NOW}, ${NOW}, ${NOW} + $3::bigint, ${NOW} + $3::bigint, ${NOW} + $3::bigint FROM moved
       )
       SELECT version, expires_in FROM moved`
    })
  }

  /**
   * Merges inside the engine, in one round trip. Reading, merging here and writing if the version is the same takes two, and was measured to take
   * up to twice as long, and many times where requests contend for one session (`bench/stores`). Only what changes is written: a column that is named has its index rewritten.
   */
  #merge(
    kind: string,
    change: Change,
    hasVersion: boolean,
    first: number,
    write: (parts: { assignments: string; conditions: string }) => string,
  ): Statement {
    const { clear, user, expiry } = change
    const merges = isMerge(change)
    const ofState = clear === true ? "clear" : !merges ? "" : clear === undefined ? "merge" : "keep"
    const shape = `${kind} ${ofState} ${user !== undefined} ${expiry !== undefined} ${hasVersion}`
    const known = this.#merging.get(shape)
    if (known !== undefined) return known

    let next = first
    const parameter = (): string => `$${next++}`
    const assignments = ["version = version + 1", `last_seen_at = greatest(last_seen_at, ${NOW})`]
    const conditions = [LIVE]
    if (ofState === "clear") assignments.push(`state = ${parameter()}::text::jsonb`)
    else if (merges) {
      const kept =
        ofState === "merge"
          ? "state"
          : `(SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(state) WHERE key = ANY (${parameter()}::text::text[]))`
      assignments.push(`state = (${kept} - ${parameter()}::text::text[]) || ${parameter()}::text::jsonb`)
      // An array would be merged into as well.
      conditions.push("jsonb_typeof(state) = 'object'")
    }
    const ends: Ends = {}
    if (user !== undefined) {
      const userId = `${parameter()}::text`
      assignments.push(
        `user_id = ${userId}, label = ${parameter()}::text, signed_in_at = CASE WHEN ${userId} IS NOT NULL THEN ${NOW} END`,
      )
      ends.absolute = `coalesce(${NOW} + ${parameter()}::bigint, absolute_end)`
      assignments.push(`absolute_end = ${ends.absolute}`)
    }
    if (expiry !== undefined) {
      ends.idle = `${parameter()}::bigint`
      ends.fixed = `${NOW} + ${parameter()}::bigint`
      assignments.push(
        `idle_ttl = ${ends.idle}, fixed_end = ${ends.fixed}, cookie_kind = ${parameter()}::text`,
      )
      assignments.push(`sweep_at = ${deadline(ends)}`)
    }
    assignments.push(`deadline = ${deadline(ends)}`)
    if (hasVersion) conditions.push(`version = ${parameter()}::bigint`)

    const statement = this.#statement(
      write({ assignments: assignments.join(", "), conditions: conditions.join(" AND ") }),
    )
    this.#merging.set(shape, statement)
    return statement
  }

  #statement(text: string): Statement {
    return { text, name: this.#isPrepared ? `coatcheck_${hash(text)}` : undefined }
  }
}

interface Ends {
  idle?: string
  fixed?: string
  absolute?: string
}

/** `least` passes over what is null. */
function deadline({ idle = "idle_ttl", fixed = "fixed_end", absolute = "absolute_end" }: Ends): string {
  return `least(${NOW} + ${idle}, ${fixed}, ${absolute})`
}

function ended(ttl: string): string {
  const end = `${NOW} + ${ttl}::bigint`
  return `state = NULL, user_id = NULL, label = NULL, moved_to = NULL, deadline = ${end}, sweep_at = ${end}`
}

/** A name for each text: another table, or another release of coatcheck on the same connection, must not meet it (FNV-1a, twice 32 bits). */
function hash(text: string): string {
  let [a, b] = [0x811c9dc5, 0x01000193]
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul(b ^ unit, 0x85ebca6b) ^ (b >>> 13)
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36)
}

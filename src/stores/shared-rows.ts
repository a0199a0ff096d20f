import { type Gone, RecordCorruptError } from "../errors.ts"
import type { JsonObject, JsonValue } from "../json.ts"
import type { Change, CookieKind, SessionId, SessionRecord, SessionSummary } from "../store.ts"

/** An integer as a driver gives it. */
export type Integer = number | bigint | string

/** What stands under an id in a table: a session, or word of one. */
export interface StandingRow {
  /** JSON text of the state; null for a tombstone. */
  readonly state: string | null
  readonly version: Integer
  readonly moved_to: string | null
  readonly grace_end: Integer | null
  readonly privilege_changed: Integer | boolean
}

/** The facts of a live session. */
export interface LiveRow {
  readonly version: Integer
  readonly user_id: string | null
  readonly label: string | null
  readonly created_at: Integer
  readonly signed_in_at: Integer | null
  readonly last_seen_at: Integer
  readonly idle_ttl: Integer | null
  readonly fixed_end: Integer | null
  readonly cookie_kind: CookieKind | null
  readonly absolute_end: Integer
  readonly deadline: Integer
}

export type SummaryRow = Pick<
  LiveRow,
  "label" | "created_at" | "signed_in_at" | "last_seen_at" | "deadline"
> & {
  readonly id: string
}

const COOKIE_KINDS: readonly unknown[] = [null, "persistent", "browser-session"]
const OBJECT_START = /^\s*\{/

/** @throws {RecordCorruptError} if a column holds what no session has. */
export function recordOf(
  store: string,
  id: SessionId,
  state: JsonObject,
  row: LiveRow,
  now: number,
): SessionRecord {
  const fixedEnd = numberOf(row.fixed_end)
  const signedInAt = numberOf(row.signed_in_at)
  const isSound =
    isTime(row.created_at) &&
    isTime(row.last_seen_at) &&
    isTime(row.absolute_end) &&
    isTime(row.deadline) &&
    isTime(fixedEnd ?? 0) &&
    isTime(signedInAt ?? 0) &&
    isTime(row.idle_ttl ?? 0) &&
    COOKIE_KINDS.includes(row.cookie_kind)
  if (!isSound)
    throw corrupt(store, id, "A stored session has times or a kind of cookie that no session has.")
  return {
    state,
    version: Number(row.version),
    userId: row.user_id,
    label: row.label,
    createdAt: new Date(Number(row.created_at)),
    signedInAt: signedInAt === null ? null : new Date(signedInAt),
    lastSeenAt: new Date(Number(row.last_seen_at)),
    idleTtl: numberOf(row.idle_ttl),
    fixedExpiresIn: fixedEnd === null ? null : fixedEnd - now,
    cookieKind: row.cookie_kind,
    expiresIn: Number(row.deadline) - now,
    absoluteExpiresIn: Number(row.absolute_end) - now,
  }
}

export function summaryOf(row: SummaryRow): SessionSummary {
  return {
    id: row.id,
    label: row.label,
    createdAt: new Date(Number(row.created_at)),
    signedInAt: row.signed_in_at === null ? null : new Date(Number(row.signed_in_at)),
    lastSeenAt: new Date(Number(row.last_seen_at)),
    expiresAt: new Date(Number(row.deadline)),
  }
}

/** What a row that is no live session tells of the one that was. */
export function goneOf(row: StandingRow, now: number): Gone | undefined {
  if (row.state !== null) return undefined
  if (row.moved_to === null) return { ended: true }
  return {
    movedTo: row.moved_to,
    graceExpiresIn: Math.max(0, Number(row.grace_end) - now),
    privilegeChanged: Number(row.privilege_changed) === 1,
  }
}

/** @throws {RecordCorruptError} without the text. */
export function parseState(store: string, id: SessionId, text: string): JsonObject {
  let state: JsonValue | undefined
  try {
    if (OBJECT_START.test(text)) state = JSON.parse(text) as JsonValue
  } catch {
    // Said below, without the text.
  }
  if (state !== undefined) return state as JsonObject
  throw corrupt(store, id, "The stored state of a session is not a JSON object.")
}

/** Key to JSON text of a state after a change. */
export function mergedState(store: string, id: SessionId, text: string, change: Change): Map<string, string> {
  const { clear, set, remove } = change
  const merged = new Map<string, string>()
  if (clear !== true) {
    const state = parseState(store, id, text)
    for (const key of Object.keys(state)) {
      const isCleared = clear !== undefined && !clear.except.includes(key)
      if (!isCleared && !remove.has(key) && !set.has(key)) merged.set(key, JSON.stringify(state[key]))
    }
  }
  for (const [key, value] of set) merged.set(key, value)
  return merged
}

export function corrupt(store: string, id: SessionId, message: string): RecordCorruptError {
  return new RecordCorruptError(message, { id, store })
}

export function numberOf(value: Integer | null): number | null {
  return value === null ? null : Number(value)
}

/** Whole milliseconds since 1970 that fit into a seal. */
function isTime(value: Integer): boolean {
  const time = Number(value)
  return Number.isInteger(time) && time >= 0 && time < 2 ** 48
}

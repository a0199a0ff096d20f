import type { JsonObject } from "../json.ts"
import type { SessionId, SessionRecord } from "../store.ts"
import { type LiveRow, parseState, recordOf } from "./shared-rows.ts"

/** A later layout gets another number, and what an earlier release has cached is then no entry. */
const FORMAT = 1

/** The first line of an entry. Times are milliseconds since the epoch, on the clock of the process that wrote it. */
interface Head extends LiveRow {
  readonly format: typeof FORMAT
  readonly id: SessionId
  readonly version: number
  readonly asked_at: number
}

/** A record as it stands in a cache, and when the authority was asked for it. */
export interface CacheEntry {
  readonly askedAt: number
  readonly version: number
  readonly userId: string | null
  /**
   * A copy that belongs to the caller.
   * @param age milliseconds since the authority was asked
   * @returns undefined if it is over by then, or if what the entry holds is no record
   */
  record(age: number): SessionRecord | undefined
}

/** Two lines of JSON: facts and state. */
export function entryText(id: SessionId, record: SessionRecord, askedAt: number): string {
  const head: Head = {
    format: FORMAT,
    id,
    asked_at: askedAt,
    version: record.version,
    user_id: record.userId,
    label: record.label,
    created_at: record.createdAt.getTime(),
    signed_in_at: record.signedInAt === null ? null : record.signedInAt.getTime(),
    last_seen_at: record.lastSeenAt.getTime(),
    idle_ttl: record.idleTtl,
    fixed_end: record.fixedExpiresIn === null ? null : askedAt + Math.floor(record.fixedExpiresIn),
    cookie_kind: record.cookieKind,
    absolute_end: askedAt + Math.floor(record.absoluteExpiresIn),
    deadline: askedAt + Math.floor(record.expiresIn),
  }
  return `${JSON.stringify(head)}\n${JSON.stringify(record.state)}`
}

/** @returns undefined for whatever is no entry of this session. */
export function entryOf(store: string, id: SessionId, text: string): CacheEntry | undefined {
  const end = text.indexOf("\n")
  const head = parsed(text.slice(0, Math.max(end, 0)))
  if (!isHead(head) || head.id !== id) return undefined
  return {
    askedAt: head.asked_at,
    version: head.version,
    userId: head.user_id,
    record(age) {
      const now = head.asked_at + age
      if (Number(head.deadline) <= now) return undefined
      try {
        const state: JsonObject = parseState(store, id, text.slice(end + 1))
        return recordOf(store, id, state, head, now)
      } catch {
        return undefined
      }
    },
  }
}

function parsed(text: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(text) as object | null) }
  } catch {
    return {}
  }
}

function isHead(head: Record<string, unknown> | Head): head is Head {
  const { format, asked_at, version, user_id, label, signed_in_at, idle_ttl, fixed_end } = head
  return (
    format === FORMAT &&
    [asked_at, version].every(Number.isSafeInteger) &&
    [user_id, label].every((value) => value === null || typeof value === "string") &&
    [signed_in_at, idle_ttl, fixed_end].every((value) => value === null || typeof value === "number")
  )
}

import type { Gone, RecordCorruptError } from "../errors.ts"
import type { Change, CookieKind, NewRecord, SessionId, SessionRecord, SessionSummary } from "../store.ts"
import { HEAD } from "./redis-scripts.ts"
import { corrupt, parseState } from "./shared-rows.ts"

/** What stands under an id, and the engine's clock when it was read: milliseconds since the epoch. */
export interface Found {
  readonly now: number
  readonly text: string
}

export const STORE = "redis"
const DIGITS = 15
const KINDS: Readonly<Record<string, CookieKind | null>> = {
  p: "persistent",
  b: "browser-session",
  "-": null,
}
const LETTERS = { persistent: "p", "browser-session": "b" } as const
/** Far beyond any lifetime, and short enough for 15 digits on top of today. */
const LONGEST = 1e14

/** Whether a session stands there, even one whose time is up. */
export function isSession({ text }: Found): boolean {
  return text.startsWith("S")
}

export function isLive({ now, text }: Found): boolean {
  return text.startsWith("S") && number(text, HEAD.deadline) > now
}

/** @returns undefined if its time is up. @throws {RecordCorruptError} if it is no session. */
export function liveRecord(id: SessionId, { now, text }: Found): SessionRecord | undefined {
  const deadline = number(text, HEAD.deadline)
  if (deadline <= now) return undefined
  const user = text.indexOf("\n", HEAD.lines)
  const label = text.indexOf("\n", user + 1)
  const writes = text.indexOf("\n", label + 1)
  const state = parseState(STORE, id, `{${text.slice(writes + 1)}}`)
  const kind = text[HEAD.kind] as string
  const version = number(text, HEAD.version)
  const createdAt = number(text, HEAD.createdAt)
  const lastSeenAt = number(text, HEAD.lastSeenAt)
  const absoluteEnd = number(text, HEAD.absoluteEnd)
  const signedInAt = numberOrNull(text, HEAD.signedInAt)
  const idleTtl = numberOrNull(text, HEAD.idleTtl)
  const fixedEnd = numberOrNull(text, HEAD.fixedEnd)
  // A number that is none makes the sum none.
  const sum = version + createdAt + lastSeenAt + absoluteEnd + deadline
  const rest = (signedInAt ?? 0) + (idleTtl ?? 0) + (fixedEnd ?? 0)
  if (writes === -1 || Number.isNaN(sum + rest) || !(kind in KINDS)) throw notAsWritten(id)
  return {
    state,
    version,
    userId: parseName(id, text.slice(HEAD.lines, user)),
    label: parseName(id, text.slice(user + 1, label)),
    createdAt: new Date(createdAt),
    signedInAt: signedInAt === null ? null : new Date(signedInAt),
    lastSeenAt: new Date(lastSeenAt),
    idleTtl,
    fixedExpiresIn: fixedEnd === null ? null : fixedEnd - now,
    cookieKind: KINDS[kind] as CookieKind | null,
    expiresIn: deadline - now,
    absoluteExpiresIn: absoluteEnd - now,
  }
}

/** What a record that was read up to its label says. */
export function summaryOf(id: SessionId, { text }: Found): SessionSummary {
  const user = text.indexOf("\n", HEAD.lines)
  const createdAt = number(text, HEAD.createdAt)
  const lastSeenAt = number(text, HEAD.lastSeenAt)
  const signedInAt = numberOrNull(text, HEAD.signedInAt)
  if (Number.isNaN(createdAt + lastSeenAt + (signedInAt ?? 0))) throw notAsWritten(id)
  return {
    id,
    label: parseName(id, text.slice(user + 1, text.indexOf("\n", user + 1))),
    createdAt: new Date(createdAt),
    signedInAt: signedInAt === null ? null : new Date(signedInAt),
    lastSeenAt: new Date(lastSeenAt),
    expiresAt: new Date(number(text, HEAD.deadline)),
  }
}

export function versionOf({ text }: Found): number {
  return number(text, HEAD.version)
}

/** What each write changes, and each touch as well unless only writes matter. */
export function headOf({ text }: Found, touchesMatter: boolean): string {
  return text.slice(0, touchesMatter ? HEAD.absoluteEnd : HEAD.createdAt)
}

export function familyOf({ text }: Found): string {
  return text.slice(HEAD.family, HEAD.lines)
}

export function absoluteTtlOf({ now, text }: Found): number {
  return number(text, HEAD.absoluteEnd) - now
}

/** The JSON text of the user's name. */
export function userOf({ text }: Found): string {
  return text.slice(HEAD.lines, text.indexOf("\n", HEAD.lines))
}

/** What the words left under an id say; undefined if there are none. @throws {RecordCorruptError} if they are none of coatcheck's. */
export function goneOf(id: SessionId, { now, text }: Found): Gone | undefined {
  switch (text[0]) {
    case undefined:
      return undefined
    case "E":
      return { ended: true }
    case "M": {
      const graceEnd = number(text, 1)
      const movedTo = text.slice(DIGITS + 2)
      if (Number.isNaN(graceEnd) || movedTo === "") throw notAsWritten(id)
      return {
        movedTo,
        graceExpiresIn: Math.max(0, graceEnd - now),
        privilegeChanged: text[DIGITS + 1] === "1",
      }
    }
    case "P":
      return undefined
    default:
      // A session is gone only if its time is up.
      if (text[0] === "S" && number(text, HEAD.deadline) <= now) return undefined
      throw notAsWritten(id)
  }
}

/** Whether the session is about to move to where this was found, and from where. */
export function pendingFrom({ text }: Found): SessionId | undefined {
  return text.startsWith("P") ? text.slice(1, text.indexOf("\n")) : undefined
}

/** The arguments of `CREATE`. */
export function createValues(record: NewRecord, family: string): string[] {
  return [
    family,
    JSON.stringify(record.userId),
    JSON.stringify(record.label),
    ...expiryValues(record),
    letterOf(record.cookieKind),
    milliseconds(record.absoluteTtl),
    stateText(record.state),
  ]
}

/**
 * A change as the scripts take it: version, name of the write; how many keys are cleared and removed, user, expiry, keys kept, keys removed; and
 * pairs of key and value. Most changes do nothing but set: then one empty text stands for all between.
 */
export function changeValues(change: Change, ifVersion: number | undefined, write: string): string[] {
  const { clear, set, remove, user, expiry } = change
  const values = [ifVersion === undefined ? "" : String(ifVersion), write]
  const setsOnly = clear === undefined && remove.size === 0 && user === undefined && expiry === undefined
  if (setsOnly) values.push("")
  else pushRest(values, change)
  for (const [key, text] of set) values.push(JSON.stringify(key), text)
  return values
}

function pushRest(values: string[], { clear, remove, user, expiry }: Change): void {
  const except = clear === undefined || clear === true ? [] : clear.except
  // With nothing excepted, every key is cleared.
  values.push(clear === undefined ? "-1" : String(except.length), String(remove.size))
  if (user === undefined) values.push("", "", "")
  else {
    const absolute = user.absoluteTtl === null ? "" : milliseconds(user.absoluteTtl)
    values.push(JSON.stringify(user.userId), JSON.stringify(user.label), absolute)
  }
  if (expiry === undefined) values.push("", "", "")
  else values.push(letterOf(expiry.cookieKind), ...expiryValues(expiry))
  for (const key of except) values.push(JSON.stringify(key))
  for (const key of remove) values.push(JSON.stringify(key))
}

/** Whole milliseconds, above 0 for an engine that takes no others. */
export function milliseconds(ttl: number): string {
  return String(Math.min(Math.max(1, Math.ceil(ttl)), LONGEST))
}

function stateText(state: ReadonlyMap<string, string>): string {
  let text = ""
  for (const [key, value] of state) text += `${text === "" ? "" : ",\n"}${JSON.stringify(key)}\t:${value}`
  return text
}

function expiryValues(expiry: { idleTtl: number | null; fixedTtl: number | null }): [string, string] {
  const { idleTtl, fixedTtl } = expiry
  return [idleTtl === null ? "" : milliseconds(idleTtl), fixedTtl === null ? "" : milliseconds(fixedTtl)]
}

function letterOf(kind: CookieKind | null): string {
  return kind === null ? "-" : LETTERS[kind]
}

function number(text: string, place: number): number {
  return Number(text.slice(place, place + DIGITS))
}

function numberOrNull(text: string, place: number): number | null {
  return text[place] === "-" ? null : number(text, place)
}

function parseName(id: SessionId, text: string): string | null {
  if (text === "null") return null
  try {
    return JSON.parse(text) as string
  } catch {
    throw notAsWritten(id)
  }
}

function notAsWritten(id: SessionId): RecordCorruptError {
  return corrupt(STORE, id, "A stored session is not as coatcheck writes it.")
}

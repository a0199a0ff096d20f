import type { Primitives } from "../crypto/index.ts"
import { idOf, type SessionId, type Ticket, ticketBytes, ticketOf, TICKET_BYTES } from "../id.ts"

/** What the cookie carries. Times are milliseconds since 1970, whole and not negative. */
export interface Seal {
  readonly ticket: Ticket
  /** Whether a record was ever made for this session, so that its absence can be told without asking the store. */
  readonly hasRecord: boolean
  /** This session's own kind of cookie; null for the configured one. */
  readonly kind: "persistent" | "browser-session" | null
  readonly issuedAt: number
  readonly expiresAt: number
  readonly createdAt: number
  readonly absoluteExpiresAt: number
  /** What the store has told the next request to see; undefined when it has told nothing. */
  readonly bookmark: string | undefined
  /** The client state as the text of a JSON object; undefined when it is empty. */
  readonly client: string | undefined
}

/** A seal that has proved authentic and not expired. */
export interface OpenedSeal extends Seal {
  readonly id: SessionId
  /** False when an older key sealed it, so that it is due for another seal. */
  readonly underNewestKey: boolean
}

/**
 * The fixed part of what is sealed: a byte of flags, the ticket, and four times of six bytes each, big-endian.
 * A bookmark follows if the flags say so: a byte for its length less one, and its characters. Client state, if there is any,
 * comes last, as UTF-8.
 */
export const SEAL_BYTES: number = 1 + TICKET_BYTES + 4 * 6

/** What a byte for the length less one can say. */
export const MAX_BOOKMARK_LENGTH = 256
const BOOKMARK = /^[\x20-\x7e]{1,256}$/

/**
 * How far the clocks of two app servers may be apart. Only issued-at has this tolerance. An expired seal gets none:
 * so a wrong clock can end a session early, but never let it live longer.
 */
const CLOCK_SKEW = 60_000

const HAS_RECORD = 0b001
const PERSISTENT = 0b010
const BROWSER_SESSION = 0b100
const HAS_BOOKMARK = 0b1000
const KIND = PERSISTENT | BROWSER_SESSION
const TWO_TO_48 = 2 ** 48

/** Whether a seal can carry it: 1 to 256 printable ASCII characters. */
export function isBookmark(value: unknown): value is string {
  return typeof value === "string" && BOOKMARK.test(value)
}

/** How many bytes all but the client state takes. */
export function sealBytes(bookmarkLength: number): number {
  return bookmarkLength === 0 ? SEAL_BYTES : SEAL_BYTES + 1 + bookmarkLength
}

/** How many bytes the seal at `offset` says it takes; NaN if the source ends before it is said. */
export function sealBytesAt(source: Uint8Array, offset: number): number {
  const hasBookmark = (source[offset]! & HAS_BOOKMARK) !== 0
  return sealBytes(hasBookmark ? source[offset + SEAL_BYTES]! + 1 : 0)
}

/** Writes all but the client state at `offset`. */
export function writeSeal(target: Uint8Array, offset: number, seal: Seal, crypto: Primitives): void {
  target[offset] = flagsOf(seal)
  target.set(ticketBytes(seal.ticket, crypto), offset + 1)
  const times = offset + 1 + TICKET_BYTES
  writeTime(target, times, seal.issuedAt)
  writeTime(target, times + 6, seal.expiresAt)
  writeTime(target, times + 12, seal.createdAt)
  writeTime(target, times + 18, seal.absoluteExpiresAt)
  if (seal.bookmark !== undefined) writeBookmark(target, offset + SEAL_BYTES, seal.bookmark)
}

/** Reads all but the client state at `offset`; undefined if it is not valid now, or says what this version cannot know. */
export function readSeal(
  source: Uint8Array,
  offset: number,
  client: string | undefined,
  underNewestKey: boolean,
  now: number,
  crypto: Primitives,
): OpenedSeal | undefined {
  const flags = source[offset]!
  const times = offset + 1 + TICKET_BYTES
  const issuedAt = readTime(source, times)
  const expiresAt = readTime(source, times + 6)
  const absoluteExpiresAt = readTime(source, times + 18)
  if (flags > (HAS_RECORD | KIND | HAS_BOOKMARK) || (flags & KIND) === KIND) return undefined
  if (issuedAt > now + CLOCK_SKEW || expiresAt <= now || absoluteExpiresAt <= now) return undefined
  const bookmark = readBookmark(source.subarray(offset + SEAL_BYTES, offset + sealBytesAt(source, offset)))
  if (bookmark !== undefined && !isBookmark(bookmark)) return undefined
  const ticket = source.subarray(offset + 1, times)
  return {
    id: idOf(ticket, crypto),
    ticket: ticketOf(ticket, crypto),
    hasRecord: (flags & HAS_RECORD) !== 0,
    kind:
      (flags & PERSISTENT) !== 0 ? "persistent" : (flags & BROWSER_SESSION) !== 0 ? "browser-session" : null,
    issuedAt,
    expiresAt,
    createdAt: readTime(source, times + 12),
    absoluteExpiresAt,
    bookmark,
    client,
    underNewestKey,
  }
}

function flagsOf(seal: Seal): number {
  const kind = seal.kind === null ? 0 : seal.kind === "persistent" ? PERSISTENT : BROWSER_SESSION
  return (seal.hasRecord ? HAS_RECORD : 0) | kind | (seal.bookmark === undefined ? 0 : HAS_BOOKMARK)
}

function writeBookmark(target: Uint8Array, offset: number, bookmark: string): void {
  if (!isBookmark(bookmark)) {
    throw new RangeError(`A sealed bookmark must be 1 to ${MAX_BOOKMARK_LENGTH} printable ASCII characters.`)
  }
  target[offset] = bookmark.length - 1
  for (let index = 0; index < bookmark.length; index++)
    target[offset + 1 + index] = bookmark.charCodeAt(index)
}

/** @param bytes its length less one and its characters, or nothing at all */
function readBookmark(bytes: Uint8Array): string | undefined {
  return bytes.length === 0 ? undefined : String.fromCharCode(...bytes.subarray(1))
}

function writeTime(target: Uint8Array, offset: number, time: number): void {
  if (!Number.isInteger(time) || time < 0 || time >= TWO_TO_48) {
    throw new RangeError(`A sealed time must be a whole number of milliseconds since 1970, got ${time}.`)
  }
  const high = Math.floor(time / 0x1_0000_0000)
  target[offset] = high >> 8
  target[offset + 1] = high
  target[offset + 2] = time >>> 24
  target[offset + 3] = time >>> 16
  target[offset + 4] = time >>> 8
  target[offset + 5] = time
}

function readTime(source: Uint8Array, offset: number): number {
  const high = (source[offset]! << 8) | source[offset + 1]!
  const low =
    (source[offset + 2]! << 24) |
    (source[offset + 3]! << 16) |
    (source[offset + 4]! << 8) |
    source[offset + 5]!
  return high * 0x1_0000_0000 + (low >>> 0)
}

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
 * Client state, if there is any, follows as UTF-8.
 */
export const SEAL_BYTES: number = 1 + TICKET_BYTES + 4 * 6

/**
 * How far the clocks of two app servers may be apart. Only issued-at has this tolerance. An expired seal gets none:
 * so a wrong clock can end a session early, but never let it live longer.
 */
const CLOCK_SKEW = 60_000

const HAS_RECORD = 0b001
const PERSISTENT = 0b010
const BROWSER_SESSION = 0b100
const KIND = PERSISTENT | BROWSER_SESSION
const TWO_TO_48 = 2 ** 48

/** Writes the fixed part at `offset`. */
export function writeSeal(target: Uint8Array, offset: number, seal: Seal, crypto: Primitives): void {
  target[offset] = flagsOf(seal)
  target.set(ticketBytes(seal.ticket, crypto), offset + 1)
  const times = offset + 1 + TICKET_BYTES
  writeTime(target, times, seal.issuedAt)
  writeTime(target, times + 6, seal.expiresAt)
  writeTime(target, times + 12, seal.createdAt)
  writeTime(target, times + 18, seal.absoluteExpiresAt)
}

/** Reads the fixed part at `offset`; undefined if it is not valid now, or says what this version cannot know. */
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
  if (flags > (HAS_RECORD | KIND) || (flags & KIND) === KIND) return undefined
  if (issuedAt > now + CLOCK_SKEW || expiresAt <= now || absoluteExpiresAt <= now) return undefined
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
    client,
    underNewestKey,
  }
}

function flagsOf(seal: Seal): number {
  const kind = seal.kind === null ? 0 : seal.kind === "persistent" ? PERSISTENT : BROWSER_SESSION
  return (seal.hasRecord ? HAS_RECORD : 0) | kind
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

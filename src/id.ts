import { primitives, type Primitives } from "./crypto/index.ts"

declare const ticketBrand: unique symbol

/**
 * The secret in the cookie: 24 random bytes as 32 characters of base64url. Who has it has the session, so it never
 * enters the store, a log, an error or an event.
 */
export type Ticket = string & { readonly [ticketBrand]: true }

/**
 * The public name of a session: SHA-256 of the ticket's bytes as 43 characters of base64url. The store is keyed by it.
 * It cannot be presented as a ticket, so it is safe in logs and on a "your devices" page.
 */
export type SessionId = string

/** 192 bits; OWASP asks for at least 64 bits of entropy. */
export const TICKET_BYTES = 24

// 32 bytes are 42 characters of six bits each and one of four bits, whose two lowest are zero.
const SESSION_ID_SHAPE = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** A fresh ticket. The only way a session gets its name: none is ever taken from a client. */
export function mintTicket(): Ticket {
  return ticketOf(primitives().randomBytes(TICKET_BYTES))
}

/** The session id of a ticket. */
export function deriveId(ticket: Ticket): SessionId {
  return idOf(ticketBytes(ticket))
}

/** Whether this has the shape of a session id. Says nothing about whether such a session exists. */
export function isSessionId(value: unknown): value is SessionId {
  return typeof value === "string" && SESSION_ID_SHAPE.test(value)
}

/** The ticket with these 24 bytes. */
export function ticketOf(bytes: Uint8Array, crypto: Primitives = primitives()): Ticket {
  return crypto.encodeBase64url(bytes) as Ticket
}

/** The session id of the ticket with these 24 bytes. */
export function idOf(bytes: Uint8Array, crypto: Primitives = primitives()): SessionId {
  return crypto.sha256Base64url(bytes)
}

/** The 24 bytes of a ticket; a TypeError for what only claims to be one. */
export function ticketBytes(ticket: Ticket, crypto: Primitives = primitives()): Uint8Array {
  const bytes = crypto.decodeBase64url(ticket)
  if (bytes?.length !== TICKET_BYTES) throw new TypeError("A ticket must be 24 bytes of base64url.")
  return bytes
}

import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import { deriveId, idOf, isSessionId, mintTicket, type Ticket, ticketBytes, ticketOf } from "./id.ts"

test("G6: a ticket is 24 fresh random bytes, and no two are alike", () => {
  const tickets = new Set(Array.from({ length: 1000 }, () => mintTicket()))
  expect(tickets.size).toBe(1000)
  for (const ticket of tickets) {
    expect(ticket).toMatch(/^[A-Za-z0-9_-]{32}$/)
    expect(ticketBytes(ticket)).toHaveLength(24)
  }
})

test("G7: the id is the SHA-256 of the ticket's bytes and cannot be presented as a ticket", () => {
  const ticket = mintTicket()
  const digest = createHash("sha256").update(Buffer.from(ticket, "base64url")).digest("base64url")
  expect(deriveId(ticket)).toBe(digest)
  expect(idOf(ticketBytes(ticket))).toBe(digest)
  expect(() => deriveId(deriveId(ticket) as Ticket)).toThrow(TypeError)
})

test("the id of a known ticket is known", () => {
  const ticket = ticketOf(Uint8Array.from({ length: 24 }, (_, index) => index))
  expect(ticket).toBe("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
  expect(deriveId(ticket)).toBe("HWSt0qY4g2fJvC0fGzhLBppu84LNqqiXcd0QPihhOiU")
})

test("a ticket that is none is refused without being repeated", () => {
  expect(() => deriveId("not a ticket" as Ticket)).toThrow(/^A ticket must be 24 bytes of base64url\.$/)
  expect(() => deriveId("AAAA" as Ticket)).toThrow(TypeError)
})

test("only what a session id looks like passes for one", () => {
  const id = deriveId(mintTicket())
  expect(isSessionId(id)).toBe(true)
  expect(isSessionId("A".repeat(43))).toBe(true)
  for (const garbage of [
    undefined,
    null,
    43,
    {},
    [id],
    "",
    id.slice(1),
    `${id}A`,
    `${id.slice(0, 42)}=`,
    `${id.slice(0, 42)}B`,
    `${id.slice(0, 42)}\n`,
    `${id}\n`,
    mintTicket(),
    "é".repeat(43),
  ]) {
    expect(isSessionId(garbage)).toBe(false)
  }
})

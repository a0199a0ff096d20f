import { primitives } from "#crypto"
import type { StoreCase } from "coatcheck/testing"
import { KeyRing } from "../../../src/cookie/key-ring.ts"
import type { Seal } from "../../../src/cookie/seal.ts"
import seals from "../../../src/cookie/vectors.json" with { type: "json" }
import gcm from "../../../src/crypto/vectors/aes-256-gcm.json" with { type: "json" }
import hkdf from "../../../src/crypto/vectors/hkdf-sha256.json" with { type: "json" }
import hmac from "../../../src/crypto/vectors/hmac-sha256.json" with { type: "json" }
import sha256 from "../../../src/crypto/vectors/sha256.json" with { type: "json" }
import type { Ticket } from "../../../src/id.ts"
import { expectEqual } from "../../../src/testing/conformance/kit.ts"

/** The vectors that the unit tests run on Node.js, here on what a Worker is given. */
export const cryptoCases: readonly StoreCase[] = [
  one("what is in use needs no Node.js", () => expectEqual(primitives.name, "@noble")),
  ...sha256.cases.map(({ name, message, repeat, digest }) =>
    one(`SHA-256: ${name}`, () => {
      expectEqual(hex(primitives.sha256(unhex(message.repeat(repeat ?? 1)))), digest)
    }),
  ),
  ...hmac.cases.map(({ name, key, data, mac }) =>
    one(`HMAC-SHA-256: ${name}`, () => {
      expectEqual(hex(primitives.hmacSha256(unhex(key), unhex(data))).slice(0, mac.length), mac)
    }),
  ),
  ...hkdf.cases.map(({ name, ikm, salt, info, length, okm }) =>
    one(`HKDF-SHA-256: ${name}`, () => {
      expectEqual(hex(primitives.hkdfSha256(unhex(ikm), unhex(salt), unhex(info), length)), okm)
    }),
  ),
  ...gcm.cases.map(({ name, key, nonce, aad, plaintext, ciphertext, tag }) =>
    one(`AES-256-GCM: ${name}`, () => {
      const sealed = primitives.aes256gcmSeal(unhex(key), unhex(nonce), unhex(plaintext), unhex(aad))
      expectEqual(hex(sealed), ciphertext + tag)
      const opened = primitives.aes256gcmOpen(unhex(key), unhex(nonce), sealed, unhex(aad))
      expectEqual(opened && hex(opened), plaintext)
    }),
  ),
  ...seals.cases.map(({ name, key, cookieName, salt, seal, value }) =>
    one(`the known seal gives the known cookie: ${name}`, () => {
      const known = { ...seal, client: seal.client ?? undefined } as Seal & { ticket: Ticket }
      const fixed = { ...primitives, randomBytes: () => unhex(salt) }
      const ring = KeyRing.create([key], { primitives: fixed })
      expectEqual(ring.seal(cookieName, known), value)
      const opened = ring.open(cookieName, value, known.issuedAt)
      expectEqual([opened?.ticket, opened?.client], [known.ticket, known.client])
    }),
  ),
]

function one(name: string, check: () => void): StoreCase {
  return { name, run: async () => check() }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
}

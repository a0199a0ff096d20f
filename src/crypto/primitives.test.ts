import * as nodeCrypto from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { primitives as node, nodePrimitives } from "./node.ts"
import { primitives as noble } from "./noble.ts"
import type { Primitives } from "./primitives.ts"
import gcmVectors from "./vectors/aes-256-gcm.json" with { type: "json" }
import hkdfVectors from "./vectors/hkdf-sha256.json" with { type: "json" }
import hmacVectors from "./vectors/hmac-sha256.json" with { type: "json" }
import sha256Vectors from "./vectors/sha256.json" with { type: "json" }

const implementations: [string, Primitives][] = [
  ["node:crypto", node],
  ["node:crypto without its one-shot hash", nodePrimitives(undefined)],
  ["@noble", noble],
]

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe.each(implementations)("%s", (_name, primitives) => {
  test.each(sha256Vectors.cases)("gives the known SHA-256 digest: $name", ({ message, repeat, digest }) => {
    const data = unhex(message.repeat(repeat ?? 1))
    expect(hex(primitives.sha256(data))).toBe(digest)
    expect(primitives.sha256Base64url(data)).toBe(Buffer.from(digest, "hex").toString("base64url"))
  })

  test.each(hmacVectors.cases)("gives the known HMAC of RFC 4231: $name", ({ key, data, mac }) => {
    const message = unhex(data)
    const half = message.length >> 1
    // Test case 5 of the RFC is truncated to 128 bits.
    expect(hex(primitives.hmacSha256(unhex(key), message)).slice(0, mac.length)).toBe(mac)
    const prepared = primitives.hmacKey(unhex(key))
    const signed = prepared.sign(message.subarray(0, half), message.subarray(half))
    expect(hex(signed).slice(0, mac.length)).toBe(mac)
    expect(prepared.verify(message.subarray(0, half), message.subarray(half), signed)).toBe(true)
  })

  test.each(hkdfVectors.cases)(
    "gives the known HKDF of RFC 5869: $name",
    ({ ikm, salt, info, length, okm }) => {
      expect(hex(primitives.hkdfSha256(unhex(ikm), unhex(salt), unhex(info), length))).toBe(okm)
    },
  )

  test.each(gcmVectors.cases)("seals and opens the known AES-256-GCM message: $name", (vector) => {
    const [key, nonce, aad] = [unhex(vector.key), unhex(vector.nonce), unhex(vector.aad)]
    const sealed = vector.ciphertext + vector.tag
    expect(hex(primitives.aes256gcmSeal(key, nonce, unhex(vector.plaintext), aad))).toBe(sealed)
    const opened = primitives.aes256gcmOpen(key, nonce, unhex(sealed), aad)
    expect(opened && hex(opened)).toBe(vector.plaintext)
  })

  test("opens no AES-256-GCM message of which one bit has changed, nor one that is cut short", () => {
    const [key, nonce, aad] = [new Uint8Array(32).fill(1), new Uint8Array(12).fill(2), utf8("context")]
    const sealed = primitives.aes256gcmSeal(key, nonce, utf8("state"), aad)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const forged = sealed.slice()
      forged[bit >> 3]! ^= 1 << (bit & 7)
      expect(primitives.aes256gcmOpen(key, nonce, forged, aad)).toBeUndefined()
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(primitives.aes256gcmOpen(key, nonce, sealed.slice(0, length), aad)).toBeUndefined()
    }
    expect(primitives.aes256gcmOpen(key, nonce, sealed, utf8("other context"))).toBeUndefined()
    expect(primitives.aes256gcmOpen(key, new Uint8Array(12), sealed, aad)).toBeUndefined()
    expect(primitives.aes256gcmOpen(new Uint8Array(32), nonce, sealed, aad)).toBeUndefined()
  })

  test("verifies no code that differs in one bit or in length", () => {
    const key = primitives.hmacKey(utf8("key"))
    const mac = key.sign(utf8("a"), utf8("b"))
    expect(key.verify(utf8("a"), utf8("b"), mac)).toBe(true)
    expect(key.verify(utf8("a"), utf8("b"), new Uint8Array([...mac, 0]))).toBe(false)
    expect(key.verify(utf8("a"), utf8("b"), mac.slice(0, 31))).toBe(false)
    expect(key.verify(utf8("a"), utf8("b"), new Uint8Array(0))).toBe(false)
    for (let bit = 0; bit < mac.length * 8; bit++) {
      const forged = mac.slice()
      forged[bit >> 3]! ^= 1 << (bit & 7)
      expect(key.verify(utf8("a"), utf8("b"), forged)).toBe(false)
    }
  })

  test("a prepared key forgets the messages before, whatever their lengths", () => {
    const key = primitives.hmacKey(utf8("key"))
    for (const length of [10, 90, 3, 90, 0, 10]) {
      const message = new Uint8Array(length).fill(length)
      const alone = primitives.hmacSha256(utf8("key"), message)
      expect(hex(key.sign(message.subarray(0, 3), message.subarray(3)))).toBe(hex(alone))
    }
  })

  test("compares bytes", () => {
    expect(primitives.equal(utf8("same"), utf8("same"))).toBe(true)
    expect(primitives.equal(utf8("same"), utf8("some"))).toBe(false)
    expect(primitives.equal(utf8("same"), utf8("longer"))).toBe(false)
  })

  test("gives random bytes of the length asked for, never the same twice", () => {
    const seen = new Set<string>()
    for (let round = 0; round < 100; round++) seen.add(hex(primitives.randomBytes(24)))
    expect(seen.size).toBe(100)
    expect([...seen].every((bytes) => bytes.length === 48)).toBe(true)
  })

  test("encodes any bytes as base64url and gets the same bytes back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = primitives.encodeBase64url(bytes)
        expect(text).toBe(Buffer.from(bytes).toString("base64url"))
        const decoded = primitives.decodeBase64url(text)
        expect(decoded && hex(decoded)).toBe(hex(bytes))
      }),
    )
  })

  test("encodes a part of a larger buffer", () => {
    expect(primitives.encodeBase64url(Buffer.from("xxcoatxx").subarray(2, 6))).toBe("Y29hdA")
  })

  test.each([
    ["padding", "Y29hdA=="],
    ["the other base64 alphabet", "ab+/"],
    ["a space inside", "Y29 hdA"],
    ["a leading space", " Y29hdA"],
    ["a trailing newline", "Y29hdA\n"],
    ["unused bits that are not zero, after one byte", "QR"],
    ["unused bits that are not zero, after two bytes", "QUJ"],
    ["a length no bytes have", "QUJDR"],
    ["one character", "Q"],
    ["a character outside ASCII", "QUJé"],
    ["a character whose low byte is a letter", `QUJ${String.fromCharCode(0x100 + 0x43)}`],
    ["a NUL", "QUJ\0"],
    ["a lone surrogate", "QUJ\ud800"],
  ])("decodes no base64url with %s", (_what, text) => {
    expect(primitives.decodeBase64url(text)).toBeUndefined()
  })

  test("decodes every canonical last character and no other", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const accepted = (start: string): number =>
      [...alphabet].filter((last) => primitives.decodeBase64url(start + last) !== undefined).length
    expect([accepted("A"), accepted("AA"), accepted("AAA")]).toEqual([4, 16, 64])
    expect(primitives.decodeBase64url("")).toHaveLength(0)
  })
})

describe("node:crypto and @noble", () => {
  const bytes = fc.uint8Array({ maxLength: 300 })

  test("agree on every digest, code and derived key", () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, fc.integer({ min: 1, max: 200 }), (first, second, third, length) => {
        expect(hex(node.sha256(first))).toBe(hex(noble.sha256(first)))
        expect(node.sha256Base64url(first)).toBe(noble.sha256Base64url(first))
        expect(hex(node.hmacSha256(first, second))).toBe(hex(noble.hmacSha256(first, second)))
        expect(hex(node.hmacKey(first).sign(second, third))).toBe(
          hex(noble.hmacKey(first).sign(second, third)),
        )
        expect(hex(node.hkdfSha256(first, second, third, length))).toBe(
          hex(noble.hkdfSha256(first, second, third, length)),
        )
      }),
    )
  })

  test("agree with the HMAC and HKDF that node:crypto itself brings", () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, (first, second, third) => {
        const mac = nodeCrypto.createHmac("sha256", first).update(second).update(third).digest("hex")
        expect(hex(node.hmacKey(first).sign(second, third))).toBe(mac)
        const derived = nodeCrypto.hkdfSync("sha256", first, second, third, 44)
        expect(hex(node.hkdfSha256(first, second, third, 44))).toBe(hex(new Uint8Array(derived)))
      }),
    )
  })

  test("open what the other has sealed, and seal to the same bytes", () => {
    const exactly = (length: number): fc.Arbitrary<Uint8Array> =>
      fc.uint8Array({ minLength: length, maxLength: length })
    fc.assert(
      fc.property(exactly(32), exactly(12), bytes, bytes, (key, nonce, plaintext, aad) => {
        const sealed = node.aes256gcmSeal(key, nonce, plaintext, aad)
        expect(hex(noble.aes256gcmSeal(key, nonce, plaintext, aad))).toBe(hex(sealed))
        expect(hex(noble.aes256gcmOpen(key, nonce, sealed, aad)!)).toBe(hex(plaintext))
        expect(hex(node.aes256gcmOpen(key, nonce, sealed, aad)!)).toBe(hex(plaintext))
      }),
    )
  })

  test("agree on which texts are base64url", () => {
    const nearly = fc.string({ unit: fc.constantFrom(..."ABQRgwxyz09-_+/= \n\u00e9"), maxLength: 12 })
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string({ maxLength: 12, unit: "binary" })), (text) => {
        const [one, other] = [node.decodeBase64url(text), noble.decodeBase64url(text)]
        expect(one && hex(one)).toBe(other && hex(other))
      }),
      { numRuns: 2000 },
    )
  })
})

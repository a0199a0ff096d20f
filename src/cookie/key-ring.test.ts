import * as nodeCrypto from "node:crypto"
import { inspect } from "node:util"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Primitives } from "../crypto/index.ts"
import { primitives as node } from "../crypto/node.ts"
import { primitives as noble } from "../crypto/noble.ts"
import { ConfigError } from "../errors.ts"
import { deriveId, type Ticket, ticketOf } from "../id.ts"
import { KeyRing, sealedLength } from "./key-ring.ts"
import { sealAt } from "./mutations.test-helper.ts"
import type { Seal } from "./seal.ts"
import vectors from "./vectors.json" with { type: "json" }

const now = 1_750_000_000_000
const oldKey = "the key that was used until today"
const newKey = "the key that is used from today on"
const implementations: [string, Primitives][] = [
  ["node:crypto", node],
  ["@noble", noble],
]

interface Vector {
  readonly name: string
  readonly key: string
  readonly cookieName: string
  readonly salt: string
  readonly seal: Seal
  readonly value: string
}

const cases: Vector[] = vectors.cases.map(({ seal, ...rest }) => ({
  ...rest,
  seal: {
    ...seal,
    ticket: seal.ticket as Ticket,
    kind: seal.kind as Seal["kind"],
    bookmark: (seal as Partial<Seal>).bookmark,
    client: seal.client ?? undefined,
  },
}))

describe.each(implementations)("over %s", (_name, primitives) => {
  test.each(cases)(
    "the known seal gives the known cookie: $name",
    ({ key, cookieName, salt, seal, value }) => {
      const fixed = { ...primitives, randomBytes: () => new Uint8Array(Buffer.from(salt, "hex")) }
      const ring = KeyRing.create([key], { primitives: fixed })
      expect(ring.seal(cookieName, seal)).toBe(value)
      expect(ring.open(cookieName, value, seal.issuedAt)).toEqual({
        ...seal,
        id: deriveId(seal.ticket),
        underNewestKey: true,
      })
    },
  )
})

test.each(cases)("the known cookie is what the format says, spelled out: $name", (vector) => {
  expect(spelledOut(vector)).toBe(vector.value)
})

describe("a seal", () => {
  const ring = KeyRing.create([newKey])
  const other = KeyRing.create([newKey], { primitives: noble })
  const time = fc.integer({ min: 0, max: 2 ** 48 - 1 })
  const bookmarks = fc.string({ minLength: 1, maxLength: 256, size: "max" })
  const seals: fc.Arbitrary<Seal> = fc.record({
    ticket: fc.uint8Array({ minLength: 24, maxLength: 24 }).map((bytes) => ticketOf(bytes)),
    hasRecord: fc.boolean(),
    kind: fc.constantFrom("persistent", "browser-session", null),
    issuedAt: time,
    expiresAt: time,
    createdAt: time,
    absoluteExpiresAt: time,
    bookmark: fc.option(bookmarks, { nil: undefined }),
    client: fc.option(fc.string({ minLength: 1, unit: "binary", maxLength: 200 }), { nil: undefined }),
  })

  test("comes back as it was, whichever implementation sealed and opens it", () => {
    fc.assert(
      fc.property(seals, (seal) => {
        const valid = {
          ...seal,
          issuedAt: 0,
          expiresAt: Math.max(seal.expiresAt, 1),
          absoluteExpiresAt: 2 ** 48 - 1,
        }
        for (const [sealing, opening] of [
          [ring, other],
          [other, ring],
        ] as const) {
          const opened = opening.open("id", sealing.seal("id", valid), 0)
          expect(opened).toEqual({ ...valid, id: deriveId(seal.ticket), underNewestKey: true })
        }
      }),
    )
  })

  test("is valid exactly when it was issued, at most 60 s of skew ahead, and has not expired", () => {
    const near = fc.integer({ min: now - 120_000, max: now + 120_000 })
    fc.assert(
      fc.property(
        near,
        near,
        near,
        fc.constantFrom(undefined, "{}"),
        (issuedAt, expiresAt, absoluteExpiresAt, client) => {
          const seal = sealAt(now, { issuedAt, expiresAt, absoluteExpiresAt, client })
          const valid = issuedAt <= now + 60_000 && expiresAt > now && absoluteExpiresAt > now
          expect(ring.open("id", ring.seal("id", seal), now) !== undefined).toBe(valid)
        },
      ),
    )
  })

  test.each([undefined, "{}"])("G8: ends at its expiry to the millisecond (client state %s)", (client) => {
    const value = ring.seal(
      "id",
      sealAt(now, { client, expiresAt: now + 5000, absoluteExpiresAt: now + 9000 }),
    )
    expect(ring.open("id", value, now + 4999)).toBeDefined()
    expect(ring.open("id", value, now + 5000)).toBeUndefined()
    const capped = ring.seal(
      "id",
      sealAt(now, { client, expiresAt: now + 9000, absoluteExpiresAt: now + 5000 }),
    )
    expect(ring.open("id", capped, now + 4999)).toBeDefined()
    expect(ring.open("id", capped, now + 5000)).toBeUndefined()
    const ahead = ring.seal("id", sealAt(now, { client, issuedAt: now + 60_000 }))
    expect(ring.open("id", ahead, now)).toBeDefined()
    expect(ring.open("id", ahead, now - 1)).toBeUndefined()
  })

  test("is the same without a bookmark as before there were bookmarks", () => {
    const seal = { ...sealAt(now), ticket: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" as Ticket }
    const before = [
      "AdornsQBAAECAwQFBgcICQoLDA0ODxAREhMUFRYXAZd0INwAAZd5RzgAAZd0INwAAZgOn6QATWgya-PzMXcrUf1Mubjq7ySoFBUp7RF42LnS5j0RPEQ",
      "AtornsRkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent51HpbqmRfNeZZs2YD7UEuq5WDQ5CkVJERL0PmqFek2nEjJ9Toq7S6nBe2DC-Hke-akSz-2TeIR1Nsdc8Mb6GSg_CY0u-M5p63b88n3pvBisE",
    ] as const
    const randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => 100 + index)
    const unchanged = KeyRing.create(["0123456789abcdef0123456789abcdef"], {
      primitives: { ...node, randomBytes },
    })
    for (const [index, client] of [undefined, '{"theme":"dark"}'].entries()) {
      expect(unchanged.seal("__Host-id", { ...seal, client })).toBe(before[index])
      expect(unchanged.open("__Host-id", before[index] as string, now)).toEqual({
        ...seal,
        client,
        bookmark: undefined,
        id: deriveId(seal.ticket),
        underNewestKey: true,
      })
    }
  })

  test("without client state is 115 characters long, and deterministic", () => {
    const seal = sealAt(now)
    expect(ring.seal("id", seal)).toHaveLength(115)
    expect(ring.seal("id", seal)).toBe(ring.seal("id", seal))
  })

  test("G7: with client state shows neither the state nor the ticket, and differs each time", () => {
    const seal = sealAt(now, { client: '{"secret":"hunter2"}' })
    const values = Array.from({ length: 50 }, () => ring.seal("id", seal))
    expect(new Set(values.map((value) => value.slice(8))).size).toBe(50)
    for (const value of values) {
      const bytes = Buffer.from(value, "base64url")
      expect(bytes.includes("hunter2")).toBe(false)
      expect(bytes.includes(Buffer.from(seal.ticket, "base64url"))).toBe(false)
    }
  })

  test("is as long as foretold", () => {
    for (const client of [
      undefined,
      "{}",
      '{"name":"Zoë 🧥"}',
      ...Array.from({ length: 9 }, (_, n) => "x".repeat(n + 1)),
    ]) {
      expect(sealedLength(client)).toBe(ring.seal("id", sealAt(now, { client })).length)
      for (const length of [1, 2, 3, 255, 256]) {
        const seal = sealAt(now, { client, bookmark: "b".repeat(length) })
        expect(sealedLength(client, length)).toBe(ring.seal("id", seal).length)
      }
    }
  })

  test("fills the largest cookie to the last byte", () => {
    const name = "__Host-id"
    const sealed = (length: number): string => ring.seal(name, sealAt(now, { client: "x".repeat(length) }))
    const [largest, tooLarge] = [sealed(2970), sealed(2971)]
    expect(`${name}=${largest}`).toHaveLength(4096)
    expect(`${name}=${tooLarge}`).toHaveLength(4097)
    expect(ring.open(name, largest, now)).toBeDefined()
    expect(ring.open(name, tooLarge, now)).toBeUndefined()
  })

  test.each([
    ["a time that is no whole number", { issuedAt: now + 0.5 }],
    ["a time that is no number", { expiresAt: NaN }],
    ["a time before 1970", { createdAt: -1 }],
    ["a time without end", { absoluteExpiresAt: Infinity }],
    ["a time that six bytes cannot hold", { absoluteExpiresAt: 2 ** 48 }],
  ])("is not made with %s", (_what, changes) => {
    expect(() => ring.seal("id", sealAt(now, changes))).toThrow(RangeError)
  })

  test.each([
    ["no character", ""],
    ["too many", "b".repeat(257)],
    ["a line break", "b\n"],
    ["what is not ASCII", "b\u0080"],
  ])("is not made with a bookmark of %s, which no error shows", (_what, bookmark) => {
    for (const client of [undefined, "{}"]) {
      const error = thrownBy(() => ring.seal("id", sealAt(now, { bookmark, client })))
      expect(error).toBeInstanceOf(RangeError)
      expect((error as Error).message).toBe("A sealed bookmark must be 1 to 256 printable ASCII characters.")
    }
  })

  test("is not made with a ticket that is none", () => {
    expect(() => ring.seal("id", sealAt(now, { ticket: "short" as Ticket }))).toThrow(TypeError)
  })
})

describe("what only a holder of the key could have made is refused as well", () => {
  const ring = KeyRing.create([newKey])

  test.each([0b110, 0b111, 0b1000, 0b1_0000, 0b1000_0000, 0xff])(
    "flags of %i, which this version cannot know",
    (flags) => {
      const signed = spelledOut({ key: newKey, cookieName: "id", salt: "", seal: sealAt(now), flags })
      expect(ring.open("id", signed, now)).toBeUndefined()
      const encrypted = spelledOut({
        key: newKey,
        cookieName: "id",
        salt: "00".repeat(24),
        seal: sealAt(now, { client: "{}" }),
        flags,
      })
      expect(ring.open("id", encrypted, now)).toBeUndefined()
    },
  )

  test.each(["ff", "c3", "eda080", "c0af", "7bff7d"])(
    "client state of the bytes %s, which are no UTF-8",
    (bytes) => {
      const vector = { key: newKey, cookieName: "id", salt: "00".repeat(24) }
      const forged = spelledOut({
        ...vector,
        seal: sealAt(now, { client: "x" }),
        client: Buffer.from(bytes, "hex"),
      })
      expect(ring.open("id", forged, now)).toBeUndefined()
      const sound = spelledOut({ ...vector, seal: sealAt(now, { client: "x" }), client: Buffer.from("{}") })
      expect(ring.open("id", sound, now)?.client).toBe("{}")
    },
  )
})

describe("a bookmark", () => {
  const ring = KeyRing.create([newKey])
  const vector = { key: newKey, cookieName: "id", salt: "00".repeat(24) }
  const bookmark = "0000007b-0000b26e-00004c5f-0cab3af7b2b1f0d8"

  test.each([undefined, '{"theme":"dark"}'])("is authentic (client state %s)", (client) => {
    const seal = sealAt(now, { bookmark, client })
    const value = ring.seal("id", seal)
    expect(ring.open("id", value, now)).toMatchObject({ bookmark, client })
    const bytes = Buffer.from(value, "base64url")
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes)
      forged[bit >> 3]! ^= 1 << (bit & 7)
      expect(ring.open("id", forged.toString("base64url"), now)).toBeUndefined()
    }
  })

  test("of one cookie cannot be given to another, taken away, or added", () => {
    const seal = sealAt(now)
    const parts = (text: string | undefined): { start: Buffer; bookmark: Buffer; mac: Buffer } => {
      const bytes = Buffer.from(ring.seal("id", { ...seal, bookmark: text }), "base64url")
      return { start: bytes.subarray(0, 54), bookmark: bytes.subarray(54, -32), mac: bytes.subarray(-32) }
    }
    const [none, one, other] = [parts(undefined), parts(bookmark), parts(bookmark.toUpperCase())]
    const open = (...bytes: Buffer[]): unknown =>
      ring.open("id", Buffer.concat(bytes).toString("base64url"), now)
    expect(open(one.start, one.bookmark, one.mac)).toBeDefined()
    expect(open(one.start, other.bookmark, one.mac)).toBeUndefined()
    expect(open(one.start, other.bookmark, other.mac.subarray(1))).toBeUndefined()
    expect(open(one.start, one.mac)).toBeUndefined()
    expect(open(none.start, one.mac)).toBeUndefined()
    expect(open(none.start, one.bookmark, none.mac)).toBeUndefined()
    expect(open(one.start, one.bookmark, none.mac)).toBeUndefined()
  })

  test("with client state does not show", () => {
    const value = ring.seal("id", sealAt(now, { bookmark, client: "{}" }))
    expect(Buffer.from(value, "base64url").includes(bookmark)).toBe(false)
  })

  test.each([
    ["that ends before its length", "2aff", undefined],
    ["that ends before its length, in client state", "2aff", "{}"],
    ["and no client state after it where there must be some", "0061", ""],
    ["without a length", "", undefined],
    ["of a line break", "000a", undefined],
    ["of a line break, before client state", "000a", "{}"],
    ["of a byte that is not ASCII", "0080", undefined],
  ])("%s is refused, although only a holder of the key could have made it", (_what, tail, client) => {
    const seal = sealAt(now, { client })
    expect(ring.open("id", spelledOut({ ...vector, seal, flags: 0b1001, tail }), now)).toBeUndefined()
  })

  test("of one character is not", () => {
    for (const client of [undefined, "{}"]) {
      const value = spelledOut({ ...vector, seal: sealAt(now, { client }), flags: 0b1001, tail: "0061" })
      expect(ring.open("id", value, now)?.bookmark).toBe("a")
    }
  })
})

describe.each(implementations)("a token for a session, over %s", (_name, primitives) => {
  const ring = KeyRing.create([newKey, oldKey], { primitives })
  const id = "the session's id"

  test("is what the format says, spelled out", () => {
    const salt = new Uint8Array(16).fill(7)
    const fixed = KeyRing.create([newKey], { primitives: { ...primitives, randomBytes: () => salt } })
    const key = nodeCrypto.hkdfSync("sha256", newKey, "", "coatcheck csrf token", 32)
    const mac = nodeCrypto.createHmac("sha256", Buffer.from(key)).update(salt).update(id).digest()
    expect(fixed.token(id)).toBe(Buffer.concat([salt, mac]).toString("base64url"))
  })

  test("verifies for its session alone, whichever implementation made it", () => {
    const texts = fc.string({ unit: "binary", maxLength: 60 })
    fc.assert(
      fc.property(texts, texts, (one, other) => {
        for (const making of [node, noble]) {
          const token = KeyRing.create([newKey], { primitives: making }).token(one)
          expect(ring.verifyToken(one, token)).toBe(true)
          expect(ring.verifyToken(other, token)).toBe(Buffer.from(one).equals(Buffer.from(other)))
        }
      }),
    )
  })

  test("has a salt of its own, so that a compressed page does not give it away", () => {
    const tokens = new Set(Array.from({ length: 100 }, () => ring.token(id)))
    expect(tokens.size).toBe(100)
    expect(new Set([...tokens].map((token) => token.slice(0, 21))).size).toBe(100)
  })

  test("is made under the newest key, and verifies under each that is still there", () => {
    const [oldRing, newRing] = [oldKey, newKey].map((key) => KeyRing.create([key], { primitives })) as [
      KeyRing,
      KeyRing,
    ]
    expect(newRing.verifyToken(id, ring.token(id))).toBe(true)
    expect(oldRing.verifyToken(id, ring.token(id))).toBe(false)
    expect(ring.verifyToken(id, oldRing.token(id))).toBe(true)
    expect(newRing.verifyToken(id, oldRing.token(id))).toBe(false)
  })

  test("is refused with a bit more, less or other than it was made with", () => {
    const bytes = Buffer.from(ring.token(id), "base64url")
    expect(bytes).toHaveLength(48)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(ring.verifyToken(id, changed.toString("base64url"))).toBe(false)
    }
    for (const length of [0, 1, 16, 32, 47])
      expect(ring.verifyToken(id, bytes.subarray(0, length).toString("base64url"))).toBe(false)
    for (const tail of [Buffer.from([0]), bytes])
      expect(ring.verifyToken(id, Buffer.concat([bytes, tail]).toString("base64url"))).toBe(false)
  })

  test("is canonical base64url, in no other form, and what is too long is not even decoded", () => {
    let token = ""
    do token = ring.token(id)
    while (!/[-_]/.test(token))
    const standard = token.replaceAll("-", "+").replaceAll("_", "/")
    for (const form of [
      standard,
      `${token}=`,
      `${token}==`,
      ` ${token}`,
      `${token}\n`,
      token.toLowerCase(),
      `${token}A`,
    ])
      expect(ring.verifyToken(id, form)).toBe(false)
    const decoded: string[] = []
    const spying = KeyRing.create([newKey], {
      primitives: {
        ...primitives,
        decodeBase64url: (text) => (decoded.push(text), primitives.decodeBase64url(text)),
      },
    })
    expect(spying.verifyToken(id, "A".repeat(65))).toBe(false)
    expect(decoded).toEqual([])
  })

  test("is no seal, nor is a seal one", () => {
    const seal = sealAt(now)
    const value = ring.seal("__Host-id", seal)
    expect(ring.verifyToken(deriveId(seal.ticket), value)).toBe(false)
    expect(ring.open("__Host-id", ring.token(id), now)).toBeUndefined()
  })
})

describe("a key ring", () => {
  test("seals with the first key and opens with all of them", () => {
    const before = KeyRing.create([oldKey])
    const during = KeyRing.create([newKey, oldKey])
    const after = KeyRing.create([newKey])
    for (const client of [undefined, "{}"]) {
      const old = before.seal("id", sealAt(now, { client }))
      expect(before.open("id", old, now)?.underNewestKey).toBe(true)
      expect(during.open("id", old, now)?.underNewestKey).toBe(false)
      expect(after.open("id", old, now)).toBeUndefined()

      const fresh = during.seal("id", sealAt(now, { client }))
      expect(during.open("id", fresh, now)?.underNewestKey).toBe(true)
      expect(after.open("id", fresh, now)?.underNewestKey).toBe(true)
      expect(before.open("id", fresh, now)).toBeUndefined()
    }
  })

  test("takes a string for its UTF-8 bytes", () => {
    const text = "Schlüssel, zweiunddreißig Bytes!"
    const value = KeyRing.create([text]).seal("id", sealAt(now))
    expect(KeyRing.create([new TextEncoder().encode(text)]).open("id", value, now)).toBeDefined()
    expect(KeyRing.create([Buffer.from(text)]).open("id", value, now)).toBeDefined()
  })

  test("keeps its keys when the caller changes the array or its bytes", () => {
    const bytes = new Uint8Array(32).fill(7)
    const keys = [bytes]
    const ring = KeyRing.create(keys)
    const value = ring.seal("id", sealAt(now))
    bytes.fill(0)
    keys.length = 0
    expect(ring.open("id", value, now)).toBeDefined()
    expect(KeyRing.create([new Uint8Array(32).fill(7)]).open("id", value, now)).toBeDefined()
  })

  test("accepts keys of exactly 32 bytes, of many, and monotonous ones", () => {
    for (const key of ["x".repeat(32), new Uint8Array(32), "é".repeat(16), "long".repeat(1000)]) {
      expect(() => KeyRing.create([key])).not.toThrow()
    }
  })

  test("G7: shows no key when it is inspected or turned into text", () => {
    const ring = KeyRing.create(["a secret key of more than 32 bytes"])
    for (const text of [inspect(ring, { depth: 9, showHidden: true }), JSON.stringify(ring)]) {
      expect(text).not.toMatch(/secret|keys|\d{3}/)
    }
  })

  const short = "a secret that is too short"
  test.each<[string, unknown[], string, string]>([
    ["no key", [], "keys", "keys must hold at least one key."],
    ["a short string", [short], "keys[0]", "keys[0] must have at least 32 bytes, got 26."],
    ["31 bytes", [newKey, new Uint8Array(31)], "keys[1]", "keys[1] must have at least 32 bytes, got 31."],
    ["31 characters of 31 bytes", ["x".repeat(31)], "keys[0]", "got 31."],
    ["an empty string", [""], "keys[0]", "got 0."],
    ["a number", [newKey, 42], "keys[1]", "keys[1] must be a string or a Uint8Array, got number."],
    ["undefined", [undefined], "keys[0]", "got undefined."],
    ["null", [null], "keys[0]", "got null."],
    ["an array", [Array.from({ length: 32 }, () => 1)], "keys[0]", "got object."],
    ["a buffer without type", [new ArrayBuffer(32)], "keys[0]", "got object."],
    ["lone surrogates", [`secret${"\ud800".repeat(32)}`], "keys[0]", "got lone surrogates."],
    ["the same key twice", [newKey, oldKey, newKey], "keys[2]", "keys[2] is the same key as keys[0]."],
    [
      "the same key as text and bytes",
      [newKey, Buffer.from(newKey)],
      "keys[1]",
      "is the same key as keys[0].",
    ],
  ])("refuses %s without showing it", (_what, keys, option, message) => {
    const error = refusal(() => KeyRing.create(keys as string[]))
    expect(error.option).toBe(option)
    expect(error.message).toContain(message)
    expect(inspect(error)).not.toContain("secret")
  })

  test("refuses two keys that happen to have the same key id", () => {
    const colliding: Primitives = {
      ...node,
      hkdfSha256: (ikm, salt, info, length) =>
        length === 4 ? new Uint8Array(4) : node.hkdfSha256(ikm, salt, info, length),
    }
    const error = refusal(() => KeyRing.create([newKey, oldKey], { primitives: colliding }))
    expect(error.option).toBe("keys[1]")
    expect(error.message).toContain("keys[1] happens to have the same key id as keys[0]")
  })
})

function thrownBy(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return expect.fail("was accepted")
}

function refusal(create: () => unknown): ConfigError {
  try {
    create()
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  return expect.fail("was accepted")
}

interface Parts {
  readonly key: string
  readonly cookieName: string
  readonly salt: string
  readonly seal: Seal
  readonly flags?: number
  readonly client?: Uint8Array
  /** In place of what follows the times, in hexadecimal. */
  readonly tail?: string
}

/** The wire format once more, from its description alone and with what node:crypto brings. */
function spelledOut({ key, cookieName, salt, seal, flags, client, tail }: Parts): string {
  const derive = (info: string, length: number): Buffer =>
    Buffer.from(nodeCrypto.hkdfSync("sha256", key, "", info, length))
  const kind = { persistent: 2, "browser-session": 4 }
  const times = [seal.issuedAt, seal.expiresAt, seal.createdAt, seal.absoluteExpiresAt]
  const { bookmark } = seal
  const bits = (seal.hasRecord ? 1 : 0) + (seal.kind === null ? 0 : kind[seal.kind])
  const counted =
    bookmark === undefined ? [] : [Buffer.from([bookmark.length - 1]), Buffer.from(bookmark, "ascii")]
  const fixed = Buffer.concat([
    Buffer.from([flags ?? bits + (bookmark === undefined ? 0 : 8)]),
    Buffer.from(seal.ticket, "base64url"),
    Buffer.from(times.map((time) => time.toString(16).padStart(12, "0")).join(""), "hex"),
    ...(tail === undefined ? counted : [Buffer.from(tail, "hex")]),
  ])
  const keyId = derive("coatcheck key id", 4)
  const context = Buffer.from(`coatcheck session\0${cookieName}\0`)
  if (seal.client === undefined) {
    const body = Buffer.concat([Buffer.from([1]), keyId, fixed])
    const hmac = nodeCrypto.createHmac("sha256", derive("coatcheck signing", 32))
    return Buffer.concat([body, hmac.update(context).update(body).digest()]).toString("base64url")
  }
  const head = Buffer.concat([Buffer.from([2]), keyId, Buffer.from(salt, "hex")])
  const messageKey = nodeCrypto
    .createHmac("sha256", derive("coatcheck encryption", 32))
    .update("coatcheck message")
    .update(Buffer.from(salt, "hex"))
    .update(Buffer.from([1]))
    .digest()
  const cipher = nodeCrypto.createCipheriv(
    "aes-256-gcm",
    messageKey,
    Buffer.from(salt, "hex").subarray(0, 12),
  )
  cipher.setAAD(Buffer.concat([context, head]))
  const ciphertext = Buffer.concat([
    cipher.update(fixed),
    cipher.update(client ?? Buffer.from(seal.client)),
    cipher.final(),
  ])
  return Buffer.concat([head, ciphertext, cipher.getAuthTag()]).toString("base64url")
}

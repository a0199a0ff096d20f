import { describe, expect, test } from "vitest"
import { primitives, type Primitives } from "../crypto/index.ts"
import { primitives as noble } from "../crypto/noble.ts"
import { resolveCookie } from "./attributes.ts"
import { openCookies } from "./incoming.ts"
import { KeyRing } from "./key-ring.ts"
import { mutations, sealAt } from "./mutations.test-helper.ts"

const keys = ["the newest key, which seals and opens", "an older key, which opens alone: see"]
const settings = resolveCookie(undefined).standard
const now = 1_750_000_000_000

test("G9: of 200,000 different mutated cookies none opens and none throws", () => {
  const ring = KeyRing.create(keys)
  const seen = new Set<string>()
  const accepted: string[] = []
  const byKind = new Map<string, number>()
  for (const { kind, value } of mutations({ keys, cookieName: settings.name, now })) {
    if (seen.has(value)) continue
    seen.add(value)
    byKind.set(kind, (byKind.get(kind) ?? 0) + 1)
    if (ring.open(settings.name, value, now) !== undefined) accepted.push(`${kind}: ${value.slice(0, 300)}`)
  }
  expect(accepted).toEqual([])
  expect(seen.size).toBeGreaterThanOrEqual(200_000)
  expect([...byKind.keys()].toSorted()).toMatchInlineSnapshot(`
    [
      "base64 variant",
      "bit flipped",
      "bytes added",
      "bytes added in front",
      "bytes cut off",
      "bytes cut off in front",
      "character bit flipped",
      "character left out",
      "character put in",
      "expired",
      "from the future",
      "nonsense",
      "one character more",
      "other Unicode",
      "other cookie name",
      "other key",
      "other key under our key id",
      "other last character",
      "other purpose",
      "other version",
      "over-long",
      "past its absolute end",
      "random Latin-1",
      "random bytes",
      "spliced",
      "truncated",
      "zeros added",
    ]
  `)
})

test("G9: what the mutations start from does open", () => {
  const ring = KeyRing.create(keys)
  for (const client of [undefined, '{"theme":"dark"}']) {
    const seal = sealAt(now, { client })
    expect(ring.open(settings.name, ring.seal(settings.name, seal), now)).toMatchObject(seal)
  }
})

test("G9: nor does any open that comes in a Cookie header", () => {
  const ring = KeyRing.create(keys)
  const accepted = [...mutations({ keys, cookieName: settings.name, now, rounds: 2 })].filter(({ value }) => {
    const header = `theme=dark; ${settings.name}=${value}; last=1`
    const { opened, ambiguous } = openCookies(ring, settings, header, now)
    return opened !== undefined || ambiguous
  })
  expect(accepted).toEqual([])
})

test("G9: the same mutations are refused without node:crypto", () => {
  const ring = KeyRing.create(keys, { primitives: noble })
  const tried = [...mutations({ keys, cookieName: settings.name, now, rounds: 1 })]
  expect(tried.length).toBeGreaterThan(5000)
  expect(tried.filter(({ value }) => ring.open(settings.name, value, now) !== undefined)).toEqual([])
})

describe("G9: no cryptography is done for", () => {
  const { ring, calls } = watchedRing()
  const foreign = KeyRing.create(["a key of somebody else's, 32 bytes and more"])
  const [signed, encrypted] = [undefined, "{}"].map((client) =>
    foreign.seal(settings.name, sealAt(now, { client })),
  )
  const own = ring.seal(settings.name, sealAt(now))
  const ownEncrypted = ring.seal(settings.name, sealAt(now, { client: "{}" }))
  const bytes = (value: string): Buffer => Buffer.from(value, "base64url")

  test.each([
    ["an unknown key id, signed", signed!],
    ["an unknown key id, encrypted", encrypted!],
    ["an over-long value", own.padEnd(4096, "A")],
    ["a value of one megabyte", own.padEnd(1_048_576, "A")],
    ["an empty value", ""],
    ["what is no base64url", `${own.slice(0, -1)}=`],
    ["a truncated value", own.slice(0, -4)],
    ["a signed value of another length", Buffer.concat([bytes(own), bytes("AAAA")]).toString("base64url")],
    ["an encrypted value without client state", bytes(ownEncrypted).subarray(0, -2).toString("base64url")],
    [
      "an unknown version, encrypted",
      Buffer.concat([bytes("Aw"), bytes(ownEncrypted).subarray(1)]).toString("base64url"),
    ],
    [
      "an unknown version, signed",
      Buffer.concat([bytes("Aw"), bytes(own).subarray(1)]).toString("base64url"),
    ],
  ])("%s", (_what, value) => {
    calls.length = 0
    expect(ring.open(settings.name, value, now)).toBeUndefined()
    expect(calls).toEqual([])
  })

  test("but it is for a cookie of ours", () => {
    calls.length = 0
    expect(ring.open(settings.name, own, now)).toBeDefined()
    expect(calls).toEqual(["verify", "sha256Base64url"])
    calls.length = 0
    expect(ring.open(settings.name, ownEncrypted, now)).toBeDefined()
    expect(calls).toEqual(["sign", "aes256gcmOpen", "sha256Base64url"])
  })
})

function watchedRing(): { ring: KeyRing; calls: string[] } {
  const calls: string[] = []
  const real = primitives()
  const watched: Primitives = {
    ...real,
    sha256Base64url: (data) => (calls.push("sha256Base64url"), real.sha256Base64url(data)),
    hmacSha256: (key, data) => (calls.push("hmacSha256"), real.hmacSha256(key, data)),
    hkdfSha256: (...given) => (calls.push("hkdfSha256"), real.hkdfSha256(...given)),
    aes256gcmOpen: (...given) => (calls.push("aes256gcmOpen"), real.aes256gcmOpen(...given)),
    hmacKey: (bytes) => {
      const key = real.hmacKey(bytes)
      return {
        sign: (...given) => (calls.push("sign"), key.sign(...given)),
        verify: (...given) => (calls.push("verify"), key.verify(...given)),
      }
    },
  }
  return { ring: KeyRing.create(keys, { primitives: watched }), calls }
}

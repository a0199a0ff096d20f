import { primitives } from "../crypto/index.ts"
import { mintTicket } from "../id.ts"
import { KeyRing } from "./key-ring.ts"
import type { Seal } from "./seal.ts"

/** A cookie value that looks like one of ours and is none. */
export interface Mutation {
  /** What was done to it, such as `bit flipped`. */
  readonly kind: string
  readonly value: string
}

export interface MutationSource {
  /** The keys of the sessions under attack: some mutations are honestly sealed and yet not valid. */
  readonly keys: readonly (string | Uint8Array)[]
  /** The full name, prefix included. */
  readonly cookieName: string
  readonly now: number
  /** Each round starts from fresh cookies, signed, encrypted and with a bookmark, and makes some 15,000 mutations. */
  readonly rounds?: number | undefined
}

const DAY = 86_400_000

/**
 * Every one of these, presented at `now`, must be no cookie. None starts or ends with a blank or contains a semicolon
 * that was put there as such, so they can be sent in a `Cookie` header as well.
 */
export function* mutations(source: MutationSource): Generator<Mutation> {
  const ring = KeyRing.create(source.keys)
  for (let round = 0; round < (source.rounds ?? 20); round++) {
    const client = JSON.stringify({ theme: "dark", note: "ü".repeat(round) })
    const valid = [undefined, undefined, client, client].map((text) =>
      ring.seal(source.cookieName, sealAt(source.now, { client: text })),
    )
    const [signed, otherSigned, encrypted, otherEncrypted] = valid as [string, string, string, string]
    const [marked, otherMarked] = ["b1", "b2"].map((bookmark) =>
      ring.seal(source.cookieName, sealAt(source.now, { bookmark })),
    ) as [string, string]
    valid.push(marked, otherMarked)
    const all = [
      ...mutationsOf(signed),
      ...mutationsOf(encrypted),
      ...spliced(signed, otherSigned),
      ...spliced(encrypted, otherEncrypted),
      ...spliced(signed, encrypted),
      ...mutationsOf(marked),
      ...spliced(marked, otherMarked),
      ...spliced(signed, marked),
      ...foreign(source, undefined),
      ...foreign(source, client),
      ...untimely(source, ring, undefined),
      ...untimely(source, ring, client),
      ...nonsense(),
    ]
    for (const mutation of all) if (!valid.includes(mutation.value)) yield mutation
  }
  for (const client of [undefined, "{}"])
    yield* huge(ring.seal(source.cookieName, sealAt(source.now, { client })))
}

/** A seal that is valid at `now`, but for what `changes` says. */
export function sealAt(now: number, changes: Partial<Seal> = {}): Seal {
  return {
    ticket: mintTicket(),
    hasRecord: true,
    kind: null,
    issuedAt: now,
    expiresAt: now + DAY,
    createdAt: now,
    absoluteExpiresAt: now + 30 * DAY,
    bookmark: undefined,
    client: undefined,
    ...changes,
  }
}

function* mutationsOf(valid: string): Generator<Mutation> {
  const bytes = Buffer.from(valid, "base64url")
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    yield { kind: "bit flipped", value: flipped.toString("base64url") }
  }
  for (let format = 0; format < 256; format++) {
    const other = Buffer.from(bytes)
    other[0] = format
    yield { kind: "other version", value: other.toString("base64url") }
  }
  for (let length = 0; length < bytes.length; length++) {
    yield { kind: "bytes cut off", value: bytes.subarray(0, length).toString("base64url") }
    yield {
      kind: "bytes cut off in front",
      value: bytes.subarray(bytes.length - length).toString("base64url"),
    }
  }
  for (let length = 1; length <= 64; length++) {
    const more = primitives().randomBytes(length)
    yield { kind: "bytes added", value: Buffer.concat([bytes, more]).toString("base64url") }
    yield { kind: "bytes added in front", value: Buffer.concat([more, bytes]).toString("base64url") }
    yield { kind: "zeros added", value: Buffer.concat([bytes, new Uint8Array(length)]).toString("base64url") }
  }
  for (let index = 0; index < valid.length; index++) yield* mutationsAt(valid, index)
  yield* otherSpellings(valid)
}

function* mutationsAt(valid: string, index: number): Generator<Mutation> {
  const [before, after] = [valid.slice(0, index), valid.slice(index + 1)]
  const code = valid.charCodeAt(index)
  for (let bit = 0; bit < 8; bit++) {
    yield { kind: "character bit flipped", value: before + String.fromCharCode(code ^ (1 << bit)) + after }
  }
  yield { kind: "truncated", value: before }
  yield { kind: "character left out", value: before + after }
  for (const other of [code + 0x100, code + 0xfee0, 0xd800, 0xdc00, 0]) {
    yield { kind: "other Unicode", value: before + String.fromCharCode(other) + after }
  }
  if (index === 0) return
  for (const blank of [" ", "\t", "\n", "\r\n", "=", "%20", "\u200b", "\0"]) {
    yield { kind: "character put in", value: before + blank + valid.slice(index) }
  }
}

function* otherSpellings(valid: string): Generator<Mutation> {
  const standard = valid.replaceAll("-", "+").replaceAll("_", "/")
  const spellings = [
    `${valid}=`,
    `${valid}==`,
    `${valid}===`,
    standard,
    Buffer.from(valid, "base64url").toString("base64"),
    Buffer.from(valid, "base64url").toString("hex"),
    Buffer.from(valid).toString("base64url"),
    valid.toLowerCase(),
    valid.toUpperCase(),
    [...valid].toReversed().join(""),
    `"${valid}"`,
    `'${valid}'`,
    `${valid},${valid}`,
    valid + valid,
    `${valid}.${valid}`,
    `s:${valid}`,
    `=${valid}`,
    encodeURIComponent(`${valid}=`),
    `%${valid.charCodeAt(0).toString(16)}${valid.slice(1)}`,
  ]
  for (const value of spellings) yield { kind: "base64 variant", value }
  for (let code = 0x21; code < 0x7f; code++) {
    const last = String.fromCharCode(code)
    if (last !== ";") yield { kind: "other last character", value: valid.slice(0, -1) + last }
    if (last !== ";") yield { kind: "one character more", value: valid + last }
  }
}

function* spliced(one: string, other: string): Generator<Mutation> {
  for (let index = 8; index < one.length; index++) {
    yield { kind: "spliced", value: one.slice(0, index) + other.slice(index) }
    yield { kind: "spliced", value: other.slice(0, index) + one.slice(index) }
  }
}

/** Sealed with a key, for a name or to a purpose that is not ours. */
function* foreign(
  { keys, cookieName, now }: MutationSource,
  client: string | undefined,
): Generator<Mutation> {
  const seal = sealAt(now, { client })
  const genuine = KeyRing.create(keys)
  for (let index = 0; index < 20; index++) {
    const value = KeyRing.create([primitives().randomBytes(32)]).seal(cookieName, seal)
    yield { kind: "other key", value }
    // The attacker gives it the key id that our cookies show.
    const bytes = Buffer.from(value, "base64url")
    Buffer.from(genuine.seal(cookieName, seal), "base64url").copy(bytes, 0, 0, 5)
    yield { kind: "other key under our key id", value: bytes.toString("base64url") }
  }
  for (const name of ["id", "__Secure-id", "__Host-id", "__host-id", "ID", "csrf", "", `${cookieName}\0`]) {
    if (name !== cookieName) yield { kind: "other cookie name", value: genuine.seal(name, seal) }
  }
  for (const purpose of ["", "coatcheck", "coatcheck session 2", "coatcheck csrf", "coatcheck session\0"]) {
    yield { kind: "other purpose", value: KeyRing.create(keys, { purpose }).seal(cookieName, seal) }
  }
}

function* untimely(
  { cookieName, now }: MutationSource,
  ring: KeyRing,
  client: string | undefined,
): Generator<Mutation> {
  for (const late of [0, 1, 1000, DAY, 365 * DAY, now]) {
    const past = now - late
    yield { kind: "expired", value: ring.seal(cookieName, sealAt(now, { client, expiresAt: past })) }
    yield {
      kind: "past its absolute end",
      value: ring.seal(cookieName, sealAt(now, { client, absoluteExpiresAt: past })),
    }
  }
  for (const early of [60_001, 61_000, DAY, 365 * DAY, 2 ** 48 - 1 - now]) {
    yield {
      kind: "from the future",
      value: ring.seal(cookieName, sealAt(now, { client, issuedAt: now + early })),
    }
  }
}

function* nonsense(): Generator<Mutation> {
  for (const length of [1, 2, 3, 4, 24, 86, 87, 94, 95, 144, 500, 3000]) {
    const bytes = primitives().randomBytes(length)
    yield { kind: "random bytes", value: Buffer.from(bytes).toString("base64url") }
    yield { kind: "random Latin-1", value: Buffer.from(bytes).toString("latin1").replaceAll(";", "x") }
  }
  for (const value of [
    "undefined",
    "null",
    "[object Object]",
    "{}",
    "__proto__",
    "deleted",
    "🧥🎟️",
    "\ufeff",
  ]) {
    yield { kind: "nonsense", value }
  }
}

function* huge(valid: string): Generator<Mutation> {
  const megabyte = 1_048_576
  for (const value of [
    valid.repeat(Math.ceil(megabyte / valid.length)),
    valid.padEnd(megabyte, "A"),
    valid.padEnd(4096, "A"),
    valid.padEnd(4097, "A"),
    "A".repeat(megabyte),
    "=".repeat(megabyte),
    "\0".repeat(megabyte),
    "é".repeat(megabyte),
  ]) {
    yield { kind: "over-long", value }
  }
}

import {
  GCM_NONCE_BYTES,
  GCM_TAG_BYTES,
  type HmacKey,
  primitives,
  type Primitives,
  SHA256_BYTES,
} from "../crypto/index.ts"
import { ConfigError } from "../errors.ts"
import { byteLength } from "../json.ts"
import { MAX_COOKIE_BYTES } from "./attributes.ts"
import {
  type OpenedSeal,
  readSeal,
  type Seal,
  SEAL_BYTES,
  sealBytes,
  sealBytesAt,
  writeSeal,
} from "./seal.ts"

/*
 * The wire format, all of it base64url without padding:
 *
 *   signed     0x01 ‖ key id (4) ‖ seal (49, or 51 to 306) ‖ HMAC-SHA-256 (32) of context ‖ 0x01 ‖ key id ‖ seal
 *   encrypted  0x02 ‖ key id (4) ‖ salt (24) ‖ AES-256-GCM (seal ‖ client state, tag (16)),
 *              with context ‖ 0x02 ‖ key id ‖ salt as additional data
 *
 * The context is purpose ‖ NUL ‖ cookie name ‖ NUL. The first byte after it, and the flags that a seal begins with, say how
 * long the rest is, so no two different inputs are the same bytes. The first byte is version and mode in one, and the key
 * id says which key to try. So one attempt decides. A seal with a flag that a version does not know is none to it: whoever
 * adds to the format takes a flag, and whoever changes what is there takes new first bytes.
 */
const SIGNED = 1
const ENCRYPTED = 2
const KEY_ID_BYTES = 4
const HEAD_BYTES = 1 + KEY_ID_BYTES
const SALT_BYTES = 24
const CIPHERTEXT_START = HEAD_BYTES + SALT_BYTES
/** Client state is at least one byte, or the seal would have been signed. */
const LEAST_ENCRYPTED_BYTES = CIPHERTEXT_START + SEAL_BYTES + 1 + GCM_TAG_BYTES

const LEAST_KEY_BYTES = 32
const TOKEN_SALT_BYTES = 16
const MAX_TOKEN_LENGTH = 64
const PURPOSE = "coatcheck session"
const encoder = new TextEncoder()
const NO_SALT = new Uint8Array(0)
const KEY_ID_INFO = utf8("coatcheck key id")
const SIGNING_INFO = utf8("coatcheck signing")
const ENCRYPTION_INFO = utf8("coatcheck encryption")
const TOKEN_INFO = utf8("coatcheck csrf token")
const MESSAGE_INFO = utf8("coatcheck message")
/** The counter HKDF-Expand appends for its first 32 bytes of output. */
const FIRST_BLOCK = 1

// A byte order mark is text like any other here: what was sealed must come back unchanged.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

interface Key {
  /** Four bytes as an integer. Public: it is in every cookie. */
  readonly id: number
  readonly signing: HmacKey
  readonly signingBytes: Uint8Array
  readonly encryption: HmacKey
  readonly tokens: HmacKey
  readonly isNewest: boolean
}

/** What only tests choose. */
export interface KeyRingInternals {
  readonly primitives?: Primitives | undefined
  readonly purpose?: string | undefined
}

/** The keys that seal and open cookies: the first does both, the others only open. Shows no key when inspected. */
export class KeyRing {
  readonly #keys: readonly Key[]
  readonly #newest: Key
  readonly #crypto: Primitives
  readonly #purpose: string
  /** By cookie name. Names come from the configuration, so there are two at most. */
  readonly #contexts = new Map<string, Uint8Array>()

  private constructor(keys: readonly [Key, ...Key[]], crypto: Primitives, purpose: string) {
    this.#keys = keys
    this.#newest = keys[0]
    this.#crypto = crypto
    this.#purpose = purpose
  }

  /**
   * Keys are at least 32 bytes each, newest first; a string stands for its UTF-8 bytes. A ConfigError names the
   * position of one that is too short, doubled, or no key at all, and never shows it.
   */
  static create(keys: readonly (string | Uint8Array)[], internals: KeyRingInternals = {}): KeyRing {
    const crypto = internals.primitives ?? primitives()
    const [newest, ...older] = keys.map((key, index) => deriveKey(keyBytes(key, index), index === 0, crypto))
    if (newest === undefined) throw new ConfigError("keys must hold at least one key.", { option: "keys" })
    const derived = [newest, ...older] as const
    refuseEqual(derived, crypto)
    return new KeyRing(derived, crypto, internals.purpose ?? PURPOSE)
  }

  /** The cookie value for a seal: signed, or encrypted when there is client state. */
  seal(cookieName: string, seal: Seal): string {
    return this.#crypto.encodeBase64url(
      seal.client === undefined ? this.#sign(cookieName, seal) : this.#encrypt(cookieName, seal, seal.client),
    )
  }

  /**
   * The seal of a cookie value; undefined for whatever was not sealed by one of these keys, for this cookie name, in
   * exactly these characters, or is not valid at `now`. Never throws, never says which.
   */
  open(cookieName: string, value: string, now: number): OpenedSeal | undefined {
    // Longer than any we could have sent: not worth decoding.
    if (cookieName.length + 1 + value.length > MAX_COOKIE_BYTES) return undefined
    const bytes = this.#crypto.decodeBase64url(value)
    if (bytes === undefined || bytes.length < HEAD_BYTES) return undefined
    const id = readKeyId(bytes)
    const key = this.#keys.find((candidate) => candidate.id === id)
    if (key === undefined) return undefined
    if (bytes[0] === SIGNED) return this.#verify(cookieName, bytes, key, now)
    if (bytes[0] === ENCRYPTED) return this.#decrypt(cookieName, bytes, key, now)
    return undefined
  }

  /** A text that only this ring can make for a session: salt ‖ HMAC-SHA-256 of it. The salt has each differ, so that a compressed page does not give it away (BREACH). */
  token(id: string): string {
    const salt = this.#crypto.randomBytes(TOKEN_SALT_BYTES)
    const mac = this.#newest.tokens.sign(salt, utf8(id))
    const bytes = new Uint8Array(TOKEN_SALT_BYTES + SHA256_BYTES)
    bytes.set(salt)
    bytes.set(mac, TOKEN_SALT_BYTES)
    return this.#crypto.encodeBase64url(bytes)
  }

  /** Whether `token` was made for this session, under any of the keys. Compares in constant time. */
  verifyToken(id: string, token: string): boolean {
    if (token.length > MAX_TOKEN_LENGTH) return false
    const bytes = this.#crypto.decodeBase64url(token)
    if (bytes?.length !== TOKEN_SALT_BYTES + SHA256_BYTES) return false
    const [salt, mac] = [bytes.subarray(0, TOKEN_SALT_BYTES), bytes.subarray(TOKEN_SALT_BYTES)]
    return this.#keys.some((key) => key.tokens.verify(salt, utf8(id), mac))
  }

  #sign(cookieName: string, seal: Seal): Uint8Array {
    const macStart = HEAD_BYTES + sealBytes(seal.bookmark?.length ?? 0)
    const bytes = new Uint8Array(macStart + SHA256_BYTES)
    const key = this.#newest
    writeHead(bytes, SIGNED, key.id)
    writeSeal(bytes, HEAD_BYTES, seal, this.#crypto)
    bytes.set(key.signing.sign(this.#context(cookieName), bytes.subarray(0, macStart)), macStart)
    return bytes
  }

  #verify(cookieName: string, bytes: Uint8Array, key: Key, now: number): OpenedSeal | undefined {
    const macStart = HEAD_BYTES + sealBytesAt(bytes, HEAD_BYTES)
    if (bytes.length !== macStart + SHA256_BYTES) return undefined
    const signed = bytes.subarray(0, macStart)
    if (!key.signing.verify(this.#context(cookieName), signed, bytes.subarray(macStart))) return undefined
    return readSeal(bytes, HEAD_BYTES, undefined, key.isNewest, now, this.#crypto)
  }

  #encrypt(cookieName: string, seal: Seal, client: string): Uint8Array {
    const crypto = this.#crypto
    const key = this.#newest
    const clientBytes = utf8(client)
    const clientStart = sealBytes(seal.bookmark?.length ?? 0)
    const plaintext = new Uint8Array(clientStart + clientBytes.length)
    writeSeal(plaintext, 0, seal, crypto)
    plaintext.set(clientBytes, clientStart)

    const bytes = new Uint8Array(CIPHERTEXT_START + plaintext.length + GCM_TAG_BYTES)
    writeHead(bytes, ENCRYPTED, key.id)
    bytes.set(crypto.randomBytes(SALT_BYTES), HEAD_BYTES)
    const message = this.#message(cookieName, bytes, key)
    bytes.set(crypto.aes256gcmSeal(message.key, message.nonce, plaintext, message.aad), CIPHERTEXT_START)
    return bytes
  }

  #decrypt(cookieName: string, bytes: Uint8Array, key: Key, now: number): OpenedSeal | undefined {
    if (bytes.length < LEAST_ENCRYPTED_BYTES) return undefined
    const message = this.#message(cookieName, bytes, key)
    const ciphertext = bytes.subarray(CIPHERTEXT_START)
    const plaintext = this.#crypto.aes256gcmOpen(message.key, message.nonce, ciphertext, message.aad)
    if (plaintext === undefined) return undefined
    const clientStart = sealBytesAt(plaintext, 0)
    if (!(plaintext.length > clientStart)) return undefined
    const client = textOf(plaintext.subarray(clientStart))
    if (client === undefined) return undefined
    return readSeal(plaintext, 0, client, key.isNewest, now, this.#crypto)
  }

  /**
   * A key for this message alone: HKDF-Expand (RFC 5869, section 2.3) of the encryption key, with 192 random bits in
   * its info. Salts repeat after some 2^96 messages, so the 2^32 that NIST SP 800-38D allows under one key with random
   * nonces are out of sight. With a key used once the nonce could as well be constant.
   */
  #message(
    cookieName: string,
    bytes: Uint8Array,
    key: Key,
  ): { key: Uint8Array; nonce: Uint8Array; aad: Uint8Array } {
    const salt = bytes.subarray(HEAD_BYTES, CIPHERTEXT_START)
    const saltAndBlock = new Uint8Array(SALT_BYTES + 1)
    saltAndBlock.set(salt)
    saltAndBlock[SALT_BYTES] = FIRST_BLOCK
    const context = this.#context(cookieName)
    const aad = new Uint8Array(context.length + CIPHERTEXT_START)
    aad.set(context)
    aad.set(bytes.subarray(0, CIPHERTEXT_START), context.length)
    return {
      key: key.encryption.sign(MESSAGE_INFO, saltAndBlock),
      nonce: salt.subarray(0, GCM_NONCE_BYTES),
      aad,
    }
  }

  #context(cookieName: string): Uint8Array {
    const known = this.#contexts.get(cookieName)
    if (known !== undefined) return known
    const context = utf8(`${this.#purpose}\0${cookieName}\0`)
    this.#contexts.set(cookieName, context)
    return context
  }
}

/** How many characters the cookie value of a seal has, with this client state and a bookmark of that length. */
export function sealedLength(client: string | undefined, bookmarkLength = 0): number {
  const seal = sealBytes(bookmarkLength)
  const bytes =
    client === undefined
      ? HEAD_BYTES + seal + SHA256_BYTES
      : CIPHERTEXT_START + seal + byteLength(client) + GCM_TAG_BYTES
  return Math.ceil((bytes * 4) / 3)
}

/** The bytes of a configured key; a ConfigError for what is none. */
function keyBytes(key: unknown, index: number): Uint8Array {
  const option = `keys[${index}]`
  const bytes = typeof key === "string" ? utf8(key) : key
  if (!(bytes instanceof Uint8Array)) {
    const got = key === null ? "null" : typeof key
    throw new ConfigError(`${option} must be a string or a Uint8Array, got ${got}.`, { option })
  }
  if (typeof key === "string" && !key.isWellFormed()) {
    // As UTF-8 all lone surrogates are the same, so the key would be weaker than it looks.
    throw new ConfigError(`${option} must be well-formed text, got lone surrogates.`, { option })
  }
  if (bytes.length < LEAST_KEY_BYTES) {
    throw new ConfigError(
      `${option} must have at least ${LEAST_KEY_BYTES} bytes, got ${bytes.length}. \`npx coatcheck key\` prints a fresh one.`,
      { option },
    )
  }
  return bytes
}

function deriveKey(bytes: Uint8Array, isNewest: boolean, crypto: Primitives): Key {
  const signingBytes = crypto.hkdfSha256(bytes, NO_SALT, SIGNING_INFO, 32)
  const idBytes = crypto.hkdfSha256(bytes, NO_SALT, KEY_ID_INFO, KEY_ID_BYTES)
  return {
    id: new DataView(idBytes.buffer, idBytes.byteOffset).getUint32(0),
    signing: crypto.hmacKey(signingBytes),
    signingBytes,
    encryption: crypto.hmacKey(crypto.hkdfSha256(bytes, NO_SALT, ENCRYPTION_INFO, 32)),
    tokens: crypto.hmacKey(crypto.hkdfSha256(bytes, NO_SALT, TOKEN_INFO, 32)),
    isNewest,
  }
}

function refuseEqual(keys: readonly Key[], crypto: Primitives): void {
  for (const [index, key] of keys.entries()) {
    const twin = keys.findIndex((other) => other.id === key.id)
    if (twin === index) continue
    const option = `keys[${index}]`
    throw new ConfigError(
      crypto.equal(key.signingBytes, keys[twin]!.signingBytes)
        ? `${option} is the same key as keys[${twin}].`
        : `${option} happens to have the same key id as keys[${twin}], as one pair in four billion does. Make a fresh one.`,
      { option },
    )
  }
}

function writeHead(bytes: Uint8Array, format: number, keyId: number): void {
  bytes[0] = format
  bytes[1] = keyId >>> 24
  bytes[2] = keyId >>> 16
  bytes[3] = keyId >>> 8
  bytes[4] = keyId
}

function readKeyId(bytes: Uint8Array): number {
  return ((bytes[1]! << 24) | (bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!) >>> 0
}

function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

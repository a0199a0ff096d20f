/**
 * The cryptography this library rests on. All of it is synchronous, so that opening a session never waits.
 *
 * Two implementations give the same bytes: `node.ts` over `node:crypto`, and `noble.ts` over pure TypeScript for
 * runtimes without it.
 */
export interface Primitives {
  /** Which implementation this is, for tests and diagnostics. */
  readonly name: string
  /** Bytes of the system's cryptographically secure random number generator. */
  randomBytes(length: number): Uint8Array
  /** SHA-256 (FIPS 180-4). */
  sha256(data: Uint8Array): Uint8Array
  /** The same digest as unpadded base64url text. */
  sha256Base64url(data: Uint8Array): string
  /** HMAC-SHA-256 (RFC 2104). For more than one message under a key, `hmacKey` is faster. */
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array
  /** A key prepared once for many messages. */
  hmacKey(key: Uint8Array): HmacKey
  /** HKDF-SHA-256 (RFC 5869), extract and expand. `length` is at most 8160. */
  hkdfSha256(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array
  /** AES-256-GCM (NIST SP 800-38D) with a 12-byte nonce. Returns the ciphertext followed by the 16-byte tag. */
  aes256gcmSeal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array
  /** The plaintext, or undefined if `sealed` is not authentic. */
  aes256gcmOpen(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array | undefined
  /** Compares in a time that depends on the lengths alone. */
  equal(a: Uint8Array, b: Uint8Array): boolean
  /** Unpadded base64url (RFC 4648, section 5). */
  encodeBase64url(bytes: Uint8Array): string
  /**
   * The bytes of canonical unpadded base64url, undefined for everything else: padding, whitespace, characters
   * outside the alphabet, impossible lengths, and last characters whose unused bits are not zero.
   */
  decodeBase64url(text: string): Uint8Array | undefined
}

/** An HMAC-SHA-256 key. The message is given in two parts, so that a fixed beginning needs no copy by the caller. */
export interface HmacKey {
  sign(beginning: Uint8Array, rest: Uint8Array): Uint8Array
  /** Whether `mac` is the code of the message; compared in constant time. */
  verify(beginning: Uint8Array, rest: Uint8Array, mac: Uint8Array): boolean
}

export const SHA256_BYTES = 32
export const GCM_NONCE_BYTES = 12
export const GCM_TAG_BYTES = 16

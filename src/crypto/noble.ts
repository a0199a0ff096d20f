import { gcm } from "@noble/ciphers/aes.js"
import { equalBytes } from "@noble/ciphers/utils.js"
import { hkdf } from "@noble/hashes/hkdf.js"
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import { decodeBase64url, encodeBase64url } from "./base64url.ts"
import type { HmacKey, Primitives } from "./primitives.ts"

/** The primitives in pure TypeScript, for every runtime with Web Crypto's random numbers. */
export const primitives: Primitives = {
  name: "@noble",
  randomBytes: (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
  sha256: (data) => sha256(data),
  sha256Base64url: (data) => encodeBase64url(sha256(data)),
  hmacSha256: (key, data) => hmac(sha256, key, data),
  hmacKey,
  hkdfSha256: (ikm, salt, info, length) => hkdf(sha256, ikm, salt, info, length),
  aes256gcmSeal: (key, nonce, plaintext, aad) => gcm(key, nonce, aad).encrypt(plaintext),
  aes256gcmOpen: (key, nonce, sealed, aad) => {
    const cipher = gcm(key, nonce, aad)
    try {
      return cipher.decrypt(sealed)
    } catch {
      return undefined
    }
  },
  equal: equalBytes,
  encodeBase64url,
  decodeBase64url,
}

function hmacKey(key: Uint8Array): HmacKey {
  // The state after the padded key; a copy of it spares each message one of the four compressions.
  const keyed = hmac.create(sha256, key)
  const sign = (beginning: Uint8Array, rest: Uint8Array): Uint8Array =>
    keyed.clone().update(beginning).update(rest).digest()
  return {
    sign,
    verify: (beginning, rest, mac) => equalBytes(sign(beginning, rest), mac),
  }
}

import { Buffer } from "node:buffer"
// A namespace, because a runtime that emulates node:crypto without `hash` would refuse to link a named import of it.
import * as nodeCrypto from "node:crypto"
import { GCM_TAG_BYTES, type HmacKey, type Primitives, SHA256_BYTES } from "./primitives.ts"

type TextEncoding = "binary" | "base64url"
/** `crypto.hash`: a digest in one call, several times faster than a Hash object. */
type OneShotHash = (algorithm: string, data: Uint8Array, encoding: TextEncoding) => string

const BLOCK_BYTES = 64
const NOTHING = new Uint8Array(0)

/** The primitives over `node:crypto`: Node.js, Bun, Deno, and workerd when asked for. */
export const primitives: Primitives = nodePrimitives(nodeCrypto.hash)

/** @param oneShotHash `crypto.hash`, where the runtime has it. */
export function nodePrimitives(oneShotHash: OneShotHash | undefined): Primitives {
  const hash = oneShotHash ?? hashInSteps
  return {
    name: "node:crypto",

    randomBytes: (length) => nodeCrypto.randomFillSync(new Uint8Array(length)),

    sha256: (data) => bytesOf(hash("sha256", data, "binary")),

    sha256Base64url: (data) => hash("sha256", data, "base64url"),

    hmacSha256: (key, data) => new TwoHashes(hash, key).sign(NOTHING, data),

    hmacKey: (key) => new TwoHashes(hash, key),

    hkdfSha256: (ikm, salt, info, length) => {
      const expand = new TwoHashes(hash, new TwoHashes(hash, salt).sign(NOTHING, ikm))
      const output = new Uint8Array(Math.ceil(length / SHA256_BYTES) * SHA256_BYTES)
      const counter = new Uint8Array(1)
      let previous: Uint8Array = NOTHING
      for (let offset = 0; offset < length; offset += SHA256_BYTES) {
        counter[0] = offset / SHA256_BYTES + 1
        previous = expand.sign(previous, Buffer.concat([info, counter]))
        output.set(previous, offset)
      }
      return output.subarray(0, length)
    },

    aes256gcmSeal: (key, nonce, plaintext, aad) => {
      // Node.js 24 takes five times as long with a raw key as with a key object made for this one message.
      const cipher = nodeCrypto.createCipheriv("aes-256-gcm", nodeCrypto.createSecretKey(key), nonce)
      cipher.setAAD(aad)
      return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    },

    aes256gcmOpen: (key, nonce, sealed, aad) => {
      const tagStart = sealed.length - GCM_TAG_BYTES
      if (tagStart < 0) return undefined
      const decipher = nodeCrypto.createDecipheriv("aes-256-gcm", nodeCrypto.createSecretKey(key), nonce)
      decipher.setAAD(aad)
      decipher.setAuthTag(sealed.subarray(tagStart))
      const plaintext = decipher.update(sealed.subarray(0, tagStart))
      try {
        decipher.final()
      } catch {
        return undefined
      }
      return plaintext
    },

    equal: (a, b) => a.length === b.length && nodeCrypto.timingSafeEqual(a, b),

    encodeBase64url: (bytes) =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url"),

    decodeBase64url: (text) => {
      const bytes = Buffer.from(text, "base64url")
      // Node's decoder skips what it does not know; only canonical text survives the way back.
      return bytes.toString("base64url") === text ? bytes : undefined
    },
  }
}

/**
 * HMAC written out as the two hashes it is made of (RFC 2104), because two one-shot hashes take half the time of one
 * Hmac object. Holds the padded keys and the last message it has seen.
 */
class TwoHashes implements HmacKey {
  readonly #hash: OneShotHash
  /** Key and inner padding, followed by the message. */
  #inner: Uint8Array
  /** Key and outer padding, followed by the inner digest. */
  readonly #outer: Buffer
  readonly #computed: Buffer = Buffer.alloc(SHA256_BYTES)

  constructor(hash: OneShotHash, key: Uint8Array) {
    this.#hash = hash
    const short = key.length > BLOCK_BYTES ? bytesOf(hash("sha256", key, "binary")) : key
    this.#inner = new Uint8Array(BLOCK_BYTES).fill(0x36)
    this.#outer = Buffer.alloc(BLOCK_BYTES + SHA256_BYTES, 0x5c)
    for (let index = 0; index < short.length; index++) {
      this.#inner[index]! ^= short[index]!
      this.#outer[index]! ^= short[index]!
    }
  }

  sign(beginning: Uint8Array, rest: Uint8Array): Uint8Array {
    return bytesOf(this.#compute(beginning, rest))
  }

  verify(beginning: Uint8Array, rest: Uint8Array, mac: Uint8Array): boolean {
    this.#computed.write(this.#compute(beginning, rest), "latin1")
    return mac.length === SHA256_BYTES && nodeCrypto.timingSafeEqual(this.#computed, mac)
  }

  #compute(beginning: Uint8Array, rest: Uint8Array): string {
    const restStart = BLOCK_BYTES + beginning.length
    const length = restStart + rest.length
    // Cookies of one kind are all of one length, so this hardly ever happens twice.
    if (this.#inner.length !== length) this.#inner = resized(this.#inner, length)
    this.#inner.set(beginning, BLOCK_BYTES)
    this.#inner.set(rest, restStart)
    this.#outer.write(this.#hash("sha256", this.#inner, "binary"), BLOCK_BYTES, "latin1")
    return this.#hash("sha256", this.#outer, "binary")
  }
}

function resized(padded: Uint8Array, length: number): Uint8Array {
  const next = new Uint8Array(length)
  next.set(padded.subarray(0, BLOCK_BYTES))
  return next
}

function bytesOf(binary: string): Uint8Array {
  return Buffer.from(binary, "latin1")
}

function hashInSteps(algorithm: string, data: Uint8Array, encoding: TextEncoding): string {
  return nodeCrypto.createHash(algorithm).update(data).digest(encoding)
}

import { primitives } from "../crypto/index.ts"

const KEY_BYTES = 32

/** A fresh key for the `keys` option: 32 random bytes as 43 characters of base64url. */
export function freshKey(): string {
  return primitives().encodeBase64url(primitives().randomBytes(KEY_BYTES))
}

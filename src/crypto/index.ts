import { primitives as native } from "#crypto"
import type { Primitives } from "./primitives.ts"

export type { HmacKey, Primitives } from "./primitives.ts"
export { GCM_NONCE_BYTES, GCM_TAG_BYTES, SHA256_BYTES } from "./primitives.ts"

let current: Primitives = native

/** The cryptography in use: the runtime's own, unless an opt-in entry has chosen another. */
export function primitives(): Primitives {
  return current
}

/** Makes what is created from now on use `chosen`. What exists keeps what it has; both give the same bytes. */
export function usePrimitives(chosen: Primitives): void {
  current = chosen
}

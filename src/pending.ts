import type { SessionId } from "./id.ts"
import { byteLength } from "./json.ts"
import type { Identity, Knowledge } from "./plan.ts"
import type { Changes } from "./state.ts"
import type { RecordExpiry, UserChange } from "./store.ts"

/** What is known of a record besides its state and its end. */
export interface Facts {
  readonly userId: string | null
  readonly signedInAt: Date | null
  /** Undefined when someone else may have written since the state was read. */
  readonly version: number | undefined
  readonly expiry: RecordExpiry
  /** What the fixed end of `expiry` is counted from. */
  readonly knownAt: number
}

export interface PendingSignIn {
  readonly userId: string
  readonly label: string | null
  readonly keep: Keep
  /** What was pending at the call, and has not been saved since. */
  before: Changes
  /** What was written since, in case nothing from before may stay. */
  readonly after: Changes
  readonly clientBefore: Changes
  readonly clientAfter: Changes
  /** The expiry that was pending at the call. */
  readonly expiryBefore: PendingExpiry | undefined
  /** Whether it is known for certain who was bound before, so that what is kept is decided. */
  resolved: boolean
}

export interface PendingExpiry {
  readonly expiry: RecordExpiry
  readonly askedAt: number
}

/** A session that this request has ended, and that the store has still to be told about. */
export interface Doomed {
  readonly id: SessionId
  readonly identity: Identity
  readonly knowledge: Knowledge
}

/** What a store call was sent with, so that what is asked for while it runs is not taken for saved. */
export interface Sent {
  readonly changes: Changes
  readonly pending: Changes
  readonly signIn: PendingSignIn | undefined
  readonly cycle: { readonly grace: number } | undefined
  readonly user: UserChange | undefined
  readonly expiry: PendingExpiry | undefined
  readonly signOut: object | undefined
  readonly deletion: object | undefined
  readonly generation: number
}

export function pendingExpiry(pending: PendingExpiry | undefined, now: number): RecordExpiry | undefined {
  if (pending === undefined) return undefined
  const { expiry, askedAt } = pending
  // A time that has passed ends the session at once.
  return expiry.fixedTtl === null
    ? expiry
    : { ...expiry, fixedTtl: Math.max(1, expiry.fixedTtl - (now - askedAt)) }
}

type Keep = boolean | readonly string[]

/** A copy of what was changed, without what is not kept, and with the rest dropped from what is there. */
export function narrowed(changes: Changes, keep: Keep): Changes {
  const copy = changes.copy()
  if (keep !== true) copy.dropAll(keep === false ? undefined : keep)
  return copy
}

/** What both keep. */
export function narrower(one: Keep, two: Keep): Keep {
  if (one === true) return two
  if (two === true || one === false) return one
  return two === false ? false : one.filter((key) => two.includes(key))
}

/** The key whose value takes most room. */
export function largestOf(texts: readonly (readonly [key: string, text: string])[]): string | undefined {
  return texts.toSorted(([, a], [, b]) => byteLength(b) - byteLength(a))[0]?.[0]
}

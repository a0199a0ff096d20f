import type { Gone } from "./errors.ts"

/**
 * Decide, then do. This module decides: from who the request is, what it knows of the server state and what it wants to change, to one store
 * operation and one cookie. It is pure, so that every combination can be tested; `session.ts` carries the plan out.
 */

/** `rotated`: existing, with a new ticket pending. */
export type Identity = "new" | "existing" | "rotated"

/**
 * What is known of the server state. `recordless`: there never was a record, or it was deleted by its own request; the cookie says so.
 * `missing`: looked for and gone without a trace. A new session has none: `absent`.
 */
export type Knowledge = "absent" | "unknown" | "present" | "recordless" | "missing"

/** What the request wants of the server state. `delete`: drop the record, nothing set since. */
export type ServerWish = "none" | "change" | "delete"

export interface Policy {
  readonly serverStateCreation: "never-skip" | "skip-if-empty"
  readonly missingServerState: "renew" | "reject" | "allow"
}

export interface Situation {
  readonly identity: Identity
  readonly knowledge: Knowledge
  readonly server: ServerWish
  readonly clientChanged: boolean
  /** Whether there is any client state, changes included. */
  readonly clientNonEmpty: boolean
  readonly invalidated: boolean
  /** Whether the session was used, and is below the threshold. With unknown state only after a save in this request. */
  readonly extensionDue: boolean
  /** Whether the seal should live longer, if a store call confirms that the session lives. */
  readonly sealDue: boolean
  /** Whether the cookie was sealed under a key that is no longer the newest. */
  readonly resealDue: boolean
  /** Whether the change moves the end of the session, or its kind of cookie; or one saved earlier in this request did. */
  readonly expiryChanged: boolean
  /** Whether something saved earlier in this request has still to be told: a new ticket, a record that came or went. */
  readonly unannounced: boolean
  /**
   * Whether the next request has to be told how far the store had come, so that it sees what this one wrote. `after-write`: if something is
   * written now. `due`: something was, earlier in this request. Always `none` for a store without bookmarks.
   */
  readonly bookmark: "none" | "after-write" | "due"
  /** Whether the ticket is the old one of a session that has moved, in its grace. */
  readonly inGrace: boolean
  /** Whether this request may start a session by mere writes. */
  readonly mayCreate: boolean
}

export interface Plan {
  readonly store: "none" | "create" | "update" | "updateTtl" | "changeId" | "delete"
  /** Whether a new ticket is minted: under `create` and `changeId`, and for a session that goes on without a record. */
  readonly mint: boolean
  /** `refresh`: send it only if it outlives the one that the browser has. */
  readonly cookie: "none" | "send" | "refresh" | "remove"
}

const NOTHING: Plan = { store: "none", mint: false, cookie: "none" }

/** The decision table. */
export function decide(situation: Situation, policy: Policy): Plan {
  const { identity, knowledge } = situation
  if (situation.invalidated) return decideInvalidated(situation)
  if (identity === "new") return decideNew(situation, policy)
  if (knowledge === "missing") {
    if (policy.missingServerState === "reject") return { ...NOTHING, cookie: "remove" }
    if (policy.missingServerState === "renew") return decideRenewed(situation, policy)
    return decideRecordless(situation, policy)
  }
  if (knowledge === "recordless") return decideRecordless(situation, policy)
  if (situation.server === "delete") {
    const isQuiet = situation.inGrace && identity === "existing"
    return { store: "delete", mint: identity === "rotated", cookie: isQuiet ? "none" : "send" }
  }
  if (identity === "rotated") return { store: "changeId", mint: true, cookie: "send" }
  return decideExisting(situation)
}

function decideInvalidated({ identity, knowledge }: Situation): Plan {
  if (identity === "new") return NOTHING
  const hasRecord = knowledge === "unknown" || knowledge === "present"
  return { store: hasRecord ? "delete" : "none", mint: false, cookie: "remove" }
}

function decideNew(situation: Situation, policy: Policy): Plan {
  if (!situation.mayCreate || situation.server === "delete") return NOTHING
  if (situation.server === "change") return { store: "create", mint: true, cookie: "send" }
  if (!situation.clientNonEmpty) return NOTHING
  const store = policy.serverStateCreation === "never-skip" ? "create" : "none"
  return { store, mint: true, cookie: "send" }
}

/** The cookie was good and the record is gone: the request starts afresh, and a new ticket it asked for is given. */
function decideRenewed(situation: Situation, policy: Policy): Plan {
  const plan = decideNew({ ...situation, mayCreate: true }, policy)
  if (plan !== NOTHING || situation.identity !== "rotated") return plan
  return { store: "none", mint: true, cookie: "send" }
}

function decideRecordless(situation: Situation, policy: Policy): Plan {
  if (situation.server === "change") return { store: "create", mint: true, cookie: "send" }
  if (situation.clientChanged && situation.clientNonEmpty && policy.serverStateCreation === "never-skip") {
    return { store: "create", mint: true, cookie: "send" }
  }
  if (situation.identity === "rotated") return { store: "none", mint: true, cookie: "send" }
  const { clientChanged, resealDue, extensionDue, unannounced } = situation
  return {
    ...NOTHING,
    cookie: clientChanged || resealDue || unannounced ? "send" : extensionDue ? "refresh" : "none",
  }
}

function decideExisting(situation: Situation): Plan {
  const { inGrace, unannounced } = situation
  // In its grace the old ticket speaks for a session whose cookie another response has set.
  const clientChanged = situation.clientChanged && !inGrace
  const resealDue = situation.resealDue && !inGrace
  const sealDue = situation.sealDue && !inGrace
  const expiryChanged = situation.expiryChanged && !inGrace
  const bookmark = inGrace ? "none" : situation.bookmark
  const news = clientChanged || resealDue || expiryChanged || unannounced || bookmark !== "none"
  const cookie = news ? "send" : sealDue ? "refresh" : "none"

  if (situation.server === "change") return { store: "update", mint: false, cookie }
  // What was written long ago in this request is no word that the session still lives.
  const bookmarkDue = bookmark === "due" && !unannounced
  if (clientChanged || resealDue || expiryChanged || situation.extensionDue || bookmarkDue) {
    return { store: "updateTtl", mint: false, cookie }
  }
  // A ticket that was made in this request needs no store call to be told.
  return { ...NOTHING, cookie: unannounced ? "send" : "none" }
}

/** What "unknown id" means for the request that got it. */
export type Fate =
  /** Another request ended it: discard, send no cookie. */
  | "ended"
  /** Another request rotated it: the old ticket is anonymous, discard, send no cookie. */
  | "moved"
  /** In its grace: go on under the id that it moved to. */
  | "follow"
  /** No trace: `missingServerState` applies. */
  | "missing"

/** How many hops of grace one request follows. */
export const MAX_HOPS = 8

/** @param seen whether the record was loaded, or its ticket followed, in this request. @param hops how many were followed so far. */
export function fateOf(gone: Gone | undefined, seen: boolean, hops: number): Fate {
  if (gone === undefined) return seen || hops > 0 ? "ended" : "missing"
  if (gone.ended === true) return "ended"
  return gone.graceExpiresIn > 0 && !gone.privilegeChanged && hops < MAX_HOPS ? "follow" : "moved"
}

/** Everything a request may have pending. */
export interface Pending {
  readonly server: ServerWish
  readonly client: boolean
  readonly cycleId: boolean
  readonly signIn: boolean
  readonly signOut: boolean
  readonly invalidate: boolean
}

/** What of it is carried out when the response is a server error: what takes rights away, and `cycleId` if the new ticket can be told. */
export function afterServerError(pending: Pending, headersLost: boolean): Pending {
  return {
    ...pending,
    server: pending.signOut ? "change" : "none",
    client: pending.signOut,
    cycleId: pending.cycleId && !headersLost,
    signIn: false,
  }
}

/** When a session is below its threshold and would gain by living longer. All in milliseconds. */
export function isDue(remaining: number, renewed: number, ttl: number, threshold: number): boolean {
  return remaining < renewed && remaining < threshold * ttl
}

/** Whether a cross-site request without our cookie may have one that its browser withheld (RFC 6265bis, `SameSite`). */
export function cookieMayBeWithheld(
  sameSite: "strict" | "lax" | "none",
  secFetchSite: string | null | undefined,
  method: string | undefined,
): boolean {
  if (secFetchSite !== "cross-site" || sameSite === "none") return false
  return sameSite === "strict" || !/^(?:GET|HEAD|OPTIONS|TRACE)$/.test(method ?? "GET")
}

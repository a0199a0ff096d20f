import type { Gone } from "./errors.ts"
import type { JsonObject } from "./json.ts"

export type { Gone } from "./errors.ts"

/** The name of a session: 43 base64url characters derived one-way from its ticket, so it is safe in logs. */
export type SessionId = string

/**
 * Where server state lives.
 *
 * Every operation is atomic for the session it names, and takes one round trip wherever the engine can.
 * All times to live are relative milliseconds: the store computes each deadline with its own clock where it has one,
 * as the earliest of `now + idleTtl`, the fixed end and the absolute end. A record past its deadline does not exist for any
 * operation, swept or not. An operation that rejects has either happened as a whole or not at all.
 *
 * A store may throw any error; whatever is not a `SessionError` reaches the user as the cause of a `StoreError`.
 */
export interface SessionStore {
  /** A short name for errors and events, such as `sqlite`. */
  readonly name: string
  readonly capabilities: StoreCapabilities

  /**
   * Stores a record under an id minted in this request.
   * @throws {DuplicateIdError} if a live record or a live tombstone has the id; an expired one is replaced. A store whose engine would go on
   * remembering that nothing was there, such as Cloudflare KV, does not look, and says so.
   */
  create(id: SessionId, record: NewRecord): Promise<void>

  /**
   * Reads a record without touching it. The state handed out belongs to the caller.
   * @param options `fresh`: ask the authority, not a cache or a replica. A store that has neither need not look at it.
   * @returns the live record, what is left of it, or undefined when there is no trace.
   * @throws {RecordCorruptError} if what is stored is not a record.
   */
  load(id: SessionId, options?: { fresh?: boolean | undefined }): Promise<SessionRecord | Gone | undefined>

  /**
   * Merges a change into a live record: concurrent changes to different keys both survive, the last writer of one key wins.
   * Extends the deadline and moves `lastSeenAt` forward, even when the change is empty. Adds one to the version. Never creates.
   * @throws {UnknownIdError} with what is left of the record, if no live record has the id.
   * @throws {VersionConflictError} if `ifVersion` is given and is not the record's version; nothing has changed.
   */
  update(id: SessionId, change: Change, options?: { ifVersion?: number | undefined }): Promise<Written>

  /**
   * Extends the deadline of a live record and moves `lastSeenAt` forward; state and version stay.
   * @throws {UnknownIdError} as `update`.
   */
  updateTtl(id: SessionId): Promise<Written>

  /**
   * Moves a live record to a new id, with a change if one is given, and leaves a tombstone under the old id. One atomic step:
   * a rotation that races with `deleteByUser` never escapes it. Extends, touches and counts the version as `update` does.
   * @throws {UnknownIdError} if no live record has the old id.
   * @throws {DuplicateIdError} if a live record or tombstone has the new id; nothing has changed.
   * @throws {VersionConflictError} as `update`.
   */
  changeId(oldId: SessionId, newId: SessionId, options: ChangeIdOptions): Promise<Written>

  /**
   * Removes a record. With `tombstone` it ends the session: leaves word of it under the id and, on an id that has moved, ends the session
   * it moved to, through every hop that was no privilege change (in or out of grace), leaving the tombstones on the way as they are.
   * Without `tombstone` it is about the record alone, and follows no move.
   * @throws {UnknownIdError} if there is no live record, with what stands under the last id looked at.
   */
  delete(id: SessionId, options?: { tombstone?: Tombstone | undefined }): Promise<void>

  /**
   * Removes expired records and tombstones, at most `limit` of them (a batch of the store's own choosing if not given).
   * @returns how many were removed; 0 where the engine expires by itself.
   */
  deleteExpired(options?: { limit?: number | undefined }): Promise<number>

  /** The live sessions bound to a user, the most recently seen first. */
  listByUser(userId: string): Promise<SessionSummary[]>

  /**
   * Ends the sessions bound to a user, but for the one named by `except`, which may have moved since, by hops that were no privilege change. Every session that was bound to the user when this was called is
   * dead when it resolves, rotated meanwhile or not. A sign-in that commits while it runs may survive.
   * @returns how many sessions it ended.
   */
  deleteByUser(userId: string, options?: DeleteByUserOptions): Promise<number>

  /**
   * This store as one request sees it, for a store that reads from replicas. What it hands out reads at least what the bookmark stands
   * for, and at least what it has itself written, and knows the bookmark that the next request needs. The sealed cookie carries it there.
   * Called at most once for each request, before its first operation. Does no I/O.
   * @param bookmark of an earlier request of the same browser; undefined, or what is no bookmark of this store: its first read is from the primary
   */
  follow?(bookmark: string | undefined): FollowingStore
}

/** A store for one request. */
export interface FollowingStore extends SessionStore {
  /**
   * What the next request must at least see, of all the operations so far: 1 to 256 printable ASCII characters. Anything else is left
   * out of the cookie. Undefined before the first operation.
   */
  readonly bookmark: string | undefined
}

/** What a store can promise. A call that needs what is missing is refused with a `CapabilityError`. */
export interface StoreCapabilities {
  /** Concurrent updates of different keys both survive. */
  readonly merge: boolean
  /** `ifVersion` is exact, so `transact` and `consume` are. */
  readonly compareAndSet: boolean
  /** A revoked session is dead for every reader as soon as the call resolves: no read is stale, so every one is as good as `fresh`. */
  readonly promptRevocation: boolean
  /** `listByUser` and `deleteByUser` work. */
  readonly userIndex: boolean
  /** `changeId` is one atomic step. */
  readonly atomicRotation: boolean
  /** Whose clock computes the deadlines: the engine's, or this process's. */
  readonly clock: "store" | "app"
}

/** Whether a cookie outlives the browser's session. */
export type CookieKind = "persistent" | "browser-session"

/** When a record ends, besides its absolute end. Kept in the record, so that it holds on later requests. */
export interface RecordExpiry {
  /** Idle timeout in milliseconds; null: activity does not matter. */
  readonly idleTtl: number | null
  /** Milliseconds from now to a fixed end; null: none. */
  readonly fixedTtl: number | null
  /** What kind of cookie this session asked for; null: the configured kind. */
  readonly cookieKind: CookieKind | null
}

/** What `create` stores. */
export interface NewRecord extends RecordExpiry {
  /** Key to JSON text, as `JSON.stringify` writes it: well-formed Unicode, lone surrogates and NUL escaped. */
  readonly state: ReadonlyMap<string, string>
  readonly userId: string | null
  /** A name for a list of devices, at most 256 characters. */
  readonly label: string | null
  /** Milliseconds from now to the hard end. */
  readonly absoluteTtl: number
}

/** What a store keeps for one id. */
export interface SessionRecord {
  /** A fresh plain object, as from `JSON.parse`: any key may be an own property, `__proto__` included. */
  readonly state: JsonObject
  /** 1 after `create`; one more after each `update` and `changeId`. */
  readonly version: number
  readonly userId: string | null
  readonly label: string | null
  readonly createdAt: Date
  /** When the user was bound; null while nobody is. */
  readonly signedInAt: Date | null
  /** When the record was last written or touched. Never goes back. */
  readonly lastSeenAt: Date
  readonly idleTtl: number | null
  /** Milliseconds to the fixed end; null: none. */
  readonly fixedExpiresIn: number | null
  readonly cookieKind: CookieKind | null
  /** Milliseconds to the deadline: the earliest of idle, fixed and absolute end. Always above 0. */
  readonly expiresIn: number
  /** Milliseconds to the hard end. */
  readonly absoluteExpiresIn: number
}

/** What one request wants to do to a record: first `clear`, then `remove`, then `set`. No key is in both `remove` and `set`. */
export interface Change {
  /** Drop every key, or every key but these. */
  readonly clear?: true | { readonly except: readonly string[] } | undefined
  /** Key to JSON text, as in `NewRecord.state`. */
  readonly set: ReadonlyMap<string, string>
  /** Keys to drop; one that is not there is no error. */
  readonly remove: ReadonlySet<string>
  readonly user?: UserChange | undefined
  readonly expiry?: RecordExpiry | undefined
}

/** Binds a record to a user, or unbinds it. `signedInAt` becomes now, or null. */
export interface UserChange {
  readonly userId: string | null
  readonly label: string | null
  /** Milliseconds from now to a new hard end; null: the hard end stays. */
  readonly absoluteTtl: number | null
}

/** What a write left behind. */
export interface Written {
  readonly version: number
  /** Milliseconds to the record's new deadline. */
  readonly expiresIn: number
}

/** Word of a session that has ended. */
export interface Tombstone {
  /** How long it is kept, in milliseconds. */
  readonly ttl: number
}

/** Word of a session that has moved. */
export interface MoveTombstone extends Tombstone {
  /** How long the old id still stands for the new one, in milliseconds; 0: not at all. */
  readonly grace: number
  /** Whether the move changed who the session belongs to. */
  readonly privilegeChanged: boolean
}

export interface ChangeIdOptions {
  readonly change?: Change | undefined
  readonly ifVersion?: number | undefined
  readonly tombstone: MoveTombstone
}

export interface DeleteByUserOptions {
  readonly except?: SessionId | undefined
  readonly tombstone?: Tombstone | undefined
}

/** One of a user's sessions, for a "your devices" page. */
export interface SessionSummary {
  readonly id: SessionId
  readonly label: string | null
  readonly createdAt: Date
  readonly signedInAt: Date | null
  readonly lastSeenAt: Date
  readonly expiresAt: Date
}

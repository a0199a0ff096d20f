/** The base of every error this library throws: branch on `code`, or on the subclass. No message holds a ticket, an id or a stored value. */
export class SessionError extends Error {
  /** A literal that stays the same across releases and bundles. */
  readonly code: string = "ERR_SESSION"

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "SessionError"
  }
}

/** An option is wrong. Thrown at start-up, never by a request. */
export class ConfigError extends SessionError {
  override readonly code: "ERR_SESSION_CONFIG" = "ERR_SESSION_CONFIG"
  /** The option's path as you would write it, such as `cookie.sameSite`. */
  readonly option: string | undefined

  constructor(message: string, options?: ErrorOptions & { option?: string | undefined }) {
    super(message, options)
    this.name = "ConfigError"
    this.option = options?.option
  }
}

/** A value or key that JSON cannot hold unchanged, or that is too large. Thrown by `set`; nothing has changed. */
export class ValueSerializationError extends SessionError {
  override readonly code: "ERR_SESSION_VALUE_SERIALIZATION" = "ERR_SESSION_VALUE_SERIALIZATION"
  /** The key of the session state that was being set. */
  readonly key: string
  /** Where inside the value, such as `.items[3].price`; empty for the value itself. */
  readonly path: string

  constructor(message: string, options: ErrorOptions & { key: string; path?: string | undefined }) {
    super(message, options)
    this.name = "ValueSerializationError"
    this.key = options.key
    this.path = options.path ?? ""
  }
}

/** What a schema said about a value: a message and the way to the member, as in Standard Schema. */
export interface ValidationIssue {
  readonly message: string
  readonly path?: readonly PropertyKey[] | undefined
}

/** A value does not fit its schema: thrown by `set` for a new value, by a read for a stored one. */
export class ValueValidationError extends SessionError {
  override readonly code: "ERR_SESSION_VALUE_VALIDATION" = "ERR_SESSION_VALUE_VALIDATION"
  readonly key: string
  /** Whether the value came from the store or the cookie rather than from the caller. */
  readonly stored: boolean
  readonly issues: readonly ValidationIssue[]

  constructor(
    message: string,
    options: ErrorOptions & { key: string; stored: boolean; issues: readonly ValidationIssue[] },
  ) {
    super(message, options)
    this.name = "ValueValidationError"
    this.key = options.key
    this.stored = options.stored
    this.issues = options.issues
  }
}

/** The cookie would be larger than browsers keep (RFC 6265bis: 4096 bytes). Thrown before anything is stored. */
export class CookieTooLargeError extends SessionError {
  override readonly code: "ERR_SESSION_COOKIE_TOO_LARGE" = "ERR_SESSION_COOKIE_TOO_LARGE"
  /** The client state key that takes most room, if client state is what makes the cookie large. */
  readonly largestKey: string | undefined
  /** Bytes of `name=value`. */
  readonly size: number
  readonly limit: number

  constructor(
    message: string,
    options: ErrorOptions & { largestKey: string | undefined; size: number; limit: number },
  ) {
    super(message, options)
    this.name = "CookieTooLargeError"
    this.largestKey = options.largestKey
    this.size = options.size
    this.limit = options.limit
  }
}

/** The session was read for the first time, or changed, after its response had begun. */
export class SessionFinalizedError extends SessionError {
  override readonly code: "ERR_SESSION_FINALIZED" = "ERR_SESSION_FINALIZED"

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "SessionFinalizedError"
  }
}

/** The session was ended, or its ticket replaced, by another request, so what this one asked for cannot be done. */
export class SessionEndedError extends SessionError {
  override readonly code: "ERR_SESSION_ENDED" = "ERR_SESSION_ENDED"
  /** The session's id: safe in logs, not a ticket. */
  readonly id: string | undefined

  constructor(message: string, options?: ErrorOptions & { id?: string | undefined }) {
    super(message, options)
    this.name = "SessionEndedError"
    this.id = options?.id
  }
}

/** The store failed or did not answer in time. The stored session is either as before or as after the operation. */
export class StoreError extends SessionError {
  override readonly code: "ERR_SESSION_STORE" = "ERR_SESSION_STORE"
  /** The operation of the store contract that failed, such as `update`. */
  readonly operation: string
  /** The store's name, such as `sqlite`. */
  readonly store: string

  constructor(message: string, options: ErrorOptions & { operation: string; store: string }) {
    super(message, options)
    this.name = "StoreError"
    this.operation = options.operation
    this.store = options.store
  }
}

/** The session of this request can only be read: no response of its own could carry what a change brings. */
export class SessionReadOnlyError extends SessionError {
  override readonly code: "ERR_SESSION_READ_ONLY" = "ERR_SESSION_READ_ONLY"

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "SessionReadOnlyError"
  }
}

/** Who asks must sign in first, or again. Thrown by `requireUser` and `requireFresh`; its status is what most frameworks answer it with. */
export class SignInRequiredError extends SessionError {
  override readonly code: "ERR_SESSION_SIGN_IN_REQUIRED" = "ERR_SESSION_SIGN_IN_REQUIRED"
  /** `anonymous`: nobody is signed in. `stale`: somebody is, but for too long for what is asked. */
  readonly reason: "anonymous" | "stale"
  readonly status: 401 = 401
  readonly statusCode: 401 = 401
  /** To Koa and others: the message may be shown. */
  readonly expose: true = true

  constructor(message: string, options: ErrorOptions & { reason: "anonymous" | "stale" }) {
    super(message, options)
    this.name = "SignInRequiredError"
    this.reason = options.reason
  }
}

/** A request that changes something came from another site, or cannot show that it did not. */
export class CsrfError extends SessionError {
  override readonly code: "ERR_SESSION_CSRF" = "ERR_SESSION_CSRF"
  /** `cross-site`: the browser says so. `token`: it says nothing, and the token is missing or wrong. */
  readonly reason: "cross-site" | "token"
  readonly status: 403 = 403
  readonly statusCode: 403 = 403
  readonly expose: true = true

  constructor(message: string, options: ErrorOptions & { reason: "cross-site" | "token" }) {
    super(message, options)
    this.name = "CsrfError"
    this.reason = options.reason
  }
}

/** Thrown by a store: no live record has this id. `gone` tells what it left behind, if anything. */
export class UnknownIdError extends SessionError {
  override readonly code: "ERR_SESSION_UNKNOWN_ID" = "ERR_SESSION_UNKNOWN_ID"
  readonly id: string
  /** The tombstone found under the id; undefined when there is no trace. */
  readonly gone: Gone | undefined

  constructor(options: ErrorOptions & { id: string; gone?: Gone | undefined }) {
    super("No live session has this id.", options)
    this.name = "UnknownIdError"
    this.id = options.id
    this.gone = options.gone
  }
}

/** What is left of a session that was ended, or that moved to another id. */
export type Gone =
  | { readonly ended: true }
  | {
      readonly ended?: false | undefined
      /** The id the session moved to. It may have ended or moved on since. */
      readonly movedTo: string
      /** How many milliseconds the old id still stands for the new one; 0 when it does not. */
      readonly graceExpiresIn: number
      /** Whether the rotation changed who the session belongs to (sign-in, sign-out). */
      readonly privilegeChanged: boolean
    }

/** Thrown by a store: a live record or a tombstone already has this id. */
export class DuplicateIdError extends SessionError {
  override readonly code: "ERR_SESSION_DUPLICATE_ID" = "ERR_SESSION_DUPLICATE_ID"
  readonly id: string

  constructor(options: ErrorOptions & { id: string }) {
    super("A session already has this id.", options)
    this.name = "DuplicateIdError"
    this.id = options.id
  }
}

/** The record changed since it was read. Thrown by a store for a stale `ifVersion`, and by `transact` when its time is over. */
export class VersionConflictError extends SessionError {
  override readonly code: "ERR_SESSION_VERSION_CONFLICT" = "ERR_SESSION_VERSION_CONFLICT"
  readonly id: string

  constructor(message: string, options: ErrorOptions & { id: string }) {
    super(message, options)
    this.name = "VersionConflictError"
    this.id = options.id
  }
}

/** The store in use cannot give this guarantee; its `capabilities` say so. */
export class CapabilityError extends SessionError {
  override readonly code: "ERR_SESSION_CAPABILITY" = "ERR_SESSION_CAPABILITY"
  /** The missing capability, such as `compareAndSet`. */
  readonly capability: string

  constructor(message: string, options: ErrorOptions & { capability: string }) {
    super(message, options)
    this.name = "CapabilityError"
    this.capability = options.capability
  }
}

/** What the store holds under this id is not a record it could have written. */
export class RecordCorruptError extends SessionError {
  override readonly code: "ERR_SESSION_RECORD_CORRUPT" = "ERR_SESSION_RECORD_CORRUPT"
  readonly id: string
  readonly store: string

  constructor(message: string, options: ErrorOptions & { id: string; store: string }) {
    super(message, options)
    this.name = "RecordCorruptError"
    this.id = options.id
    this.store = options.store
  }
}

export type {
  AnyState,
  CsrfOptions,
  Entry,
  Finalized,
  HandleOptions,
  HeaderChange,
  Key,
  Outcome,
  RequestFacts,
  Revocation,
  Session,
  SessionOf,
  Sessions,
  SignInOptions,
  StateView,
  UserId,
} from "./api.ts"
export type { SessionsOptions } from "./config.ts"
export type { CookieOptions } from "./cookie/attributes.ts"
export type { SessionEvent } from "./diagnostics.ts"
export {
  CapabilityError,
  ConfigError,
  CookieTooLargeError,
  CsrfError,
  DuplicateIdError,
  RecordCorruptError,
  SessionEndedError,
  SessionError,
  SessionFinalizedError,
  SessionReadOnlyError,
  SignInRequiredError,
  StoreError,
  UnknownIdError,
  type ValidationIssue,
  ValueSerializationError,
  ValueValidationError,
  VersionConflictError,
} from "./errors.ts"
export type { Duration, Expiry, ResolvedExpiry } from "./expiry.ts"
export { type FreshOptions, type GuardedSession, requireFresh, requireUser } from "./guards.ts"
export { applyFinalized, type HeaderTarget, headersTarget } from "./headers.ts"
export type { JsonObject, JsonValue } from "./json.ts"
export { errorResponse, type ErrorResponse, isSessionError, sessionErrorResponse } from "./refusal.ts"
export { isRevoked } from "./revocation.ts"
export type { InputOf, OutputOf, SchemaMap, StandardSchema } from "./schema.ts"
export { createSessions } from "./sessions.ts"
export type {
  Change,
  ChangeIdOptions,
  CookieKind,
  DeleteByUserOptions,
  FollowingStore,
  Gone,
  MoveTombstone,
  NewRecord,
  RecordExpiry,
  SessionId,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoreCapabilities,
  Tombstone,
  UserChange,
  Written,
} from "./store.ts"

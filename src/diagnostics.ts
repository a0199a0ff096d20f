import type { SessionId } from "./store.ts"

/** What happened, for logs and metrics. No event holds a ticket, a value or a cookie. Ids are safe to log. */
export type SessionEvent =
  /** A cookie of ours was sent that does not open: forged, foreign, expired, truncated. The request is anonymous. */
  | { readonly type: "cookie-rejected"; readonly count: number }
  /** Several cookies of ours open, for different sessions. The request is anonymous. */
  | { readonly type: "cookies-ambiguous"; readonly count: number }
  /** A record was made under this id. */
  | { readonly type: "created"; readonly id: SessionId }
  /** A session moved to a new id. */
  | { readonly type: "rotated"; readonly id: SessionId; readonly movedTo: SessionId }
  /** A session was ended by the request that had it. */
  | { readonly type: "invalidated"; readonly id: SessionId }
  /** A session was ended by `revoke`, or sessions by `revokeByUser` or `revokeOthers`. */
  | { readonly type: "revoked"; readonly id?: SessionId | undefined; readonly count: number }
  /** A session's record was looked for and is gone without a trace. */
  | { readonly type: "record-missing"; readonly id: SessionId }
  /** Changes to a session that another request ended, or moved, were dropped. */
  | { readonly type: "write-discarded"; readonly id: SessionId; readonly reason: "ended" | "moved" }
  /** Pending changes were dropped because the response is a server error. */
  | { readonly type: "dropped-on-error"; readonly status: number | undefined }
  /** A cross-site request without a cookie wanted to start a session by mere writes. */
  | { readonly type: "creation-denied" }
  /** A change to client state was refused, because the ticket is the old one of a session in its grace. */
  | { readonly type: "client-write-refused"; readonly id: SessionId; readonly key: string }
  /** `setExpiry` asked for an end beyond the absolute end, which holds. */
  | { readonly type: "expiry-capped"; readonly id: SessionId | undefined }
  /** A stored value no longer fits its schema and reads as undefined. */
  | { readonly type: "stored-value-invalid"; readonly key: string; readonly state: "server" | "client" }
  /** A store operation failed or timed out. */
  | { readonly type: "store-failed"; readonly operation: string; readonly error: Error }
  /** The sweeper removed expired records. */
  | { readonly type: "swept"; readonly count: number }

/** Where events and warnings go. */
export interface Diagnostics {
  emit(event: SessionEvent): void
  /** Warns once per code and `createSessions`. */
  warn(code: string, message: string): void
}

interface WarningProcess {
  readonly process?: {
    emitWarning?: ((message: string, options: { type: string; code: string }) => void) | undefined
  }
}

/** What is warned of, once, when a listener fails: it must break no request, and end no process. */
export const LISTENER_FAILED = [
  "COATCHECK_LISTENER_FAILED",
  "A listener of onEvent or onRevoked threw, or its promise was rejected. What it throws is dropped: catch it in the listener.",
] as const

/** What is warned of, once, when a store hands out a bookmark that no cookie can carry: what was saved by then stays saved. */
export const BOOKMARK_UNFIT = [
  "COATCHECK_BOOKMARK",
  "The session store handed out a bookmark that is not 1 to 256 printable ASCII characters. It is left out of the cookie, so the next request reads from the primary.",
] as const

/** Makes where events and warnings go. */
export function createDiagnostics(options: {
  onEvent?: ((event: SessionEvent) => void) | undefined
  onWarning?: ((message: string, code: string) => void) | undefined
}): Diagnostics {
  const { onEvent, onWarning = emitWarning } = options
  const warned = new Set<string>()
  return {
    emit(event) {
      if (onEvent !== undefined) tell(onEvent, event, () => this.warn(...LISTENER_FAILED))
    },
    warn(code, message) {
      if (warned.has(code)) return
      warned.add(code)
      tell(
        (text) => onWarning(text, code),
        message,
        () => emitWarning(message, code),
      )
    },
  }
}

/** Tells a listener, and calls `failed` if it throws, or returns a promise that is rejected. */
export function tell<Told>(listener: (told: Told) => unknown, told: Told, failed: () => void): void {
  try {
    const later = listener(told)
    // A listener may be asynchronous whatever its type says, and a rejection that nobody handles ends the process.
    if (isThenable(later)) Promise.resolve(later).catch(failed)
  } catch {
    failed()
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"
}

function emitWarning(message: string, code: string): void {
  ;(globalThis as WarningProcess).process?.emitWarning?.(message, { type: "CoatcheckWarning", code })
}

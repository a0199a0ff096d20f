import type { Duration, Expiry, ResolvedExpiry } from "./expiry.ts"
import type { JsonValue } from "./json.ts"
import type { SessionId, SessionSummary } from "./store.ts"

/** What server or client state holds when no type is given. */
export type AnyState = Record<string, JsonValue>

/** The keys of a state type. */
export type Key<State> = keyof State & string

/** The pairs of a state type. */
export type Entry<State> = { [K in Key<State>]-?: [key: K, value: Exclude<State[K], undefined>] }[Key<State>]

/** A key-value state that is read and written at once, without I/O. */
export interface StateView<State extends object, Input extends object = State> {
  /** The value, or undefined if the key is not set. A copy: changing it changes nothing that is stored. */
  get<K extends Key<State>>(key: K): State[K] | undefined
  has(key: Key<State>): boolean
  keys(): Key<State>[]
  entries(): Entry<State>[]
  isEmpty(): boolean
  /**
   * Records a change.
   * @throws {ValueSerializationError} if JSON cannot hold the value unchanged; nothing has changed.
   */
  set<K extends Key<Input>>(key: K, value: Exclude<Input[K], undefined>): void
  remove(key: Key<State>): void
  /** Removes every key. */
  clear(): void
  /** Reads a value and removes it. */
  take<K extends Key<State>>(key: K): State[K] | undefined
}

/** Whom a session may be bound to. Kept as a string. */
export type UserId = string | number | bigint

export interface SignInOptions<State extends object> {
  /** A name for a list of devices; cut at 256 characters. */
  readonly label?: string | undefined
  /** Which keys of an anonymous session's server and client state stay: `true` (the default) all, `false` none. */
  readonly keep?: boolean | readonly Key<State>[] | undefined
}

/** What became of the response, as far as the adapter knows when it finalizes. */
export interface Outcome {
  /** The status it will be sent with. */
  readonly status?: number | undefined
  /** The response cannot carry our headers (it failed, or another one will be sent), so no new ticket may be made for it. */
  readonly headersLost?: boolean | undefined
}

/** A header for the response. */
export interface HeaderChange {
  readonly name: "Set-Cookie" | "Vary" | "Cache-Control" | "CDN-Cache-Control" | "Surrogate-Control"
  /** Empty, with mode `set`: remove the header. */
  readonly value: string
  /**
   * `append`: one more header line. `set`: in place of what is there.
   * `merge`: for `Vary`, added to its list unless there or `*`; for `Cache-Control`, only where the response has none.
   */
  readonly mode: "append" | "set" | "merge"
}

/** What the response has to say about the session. */
export interface Finalized {
  readonly headers: readonly HeaderChange[]
  /** The value of the `Set-Cookie` header, if there is one. */
  readonly setCookie?: string | undefined
}

/** One request's session. Reads of server state are asynchronous, for they may load it, once; writes only record a change. */
export interface Session<
  State extends object = AnyState,
  ClientState extends object = AnyState,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  get<K extends Key<State>>(key: K): Promise<State[K] | undefined>
  has(key: Key<State>): Promise<boolean>
  keys(): Promise<Key<State>[]>
  entries(): Promise<Entry<State>[]>
  isEmpty(): Promise<boolean>

  /**
   * Records a change, stored before the response is sent. Costs no I/O.
   * @throws {ValueSerializationError} if JSON cannot hold the value unchanged; nothing has changed.
   * @throws {SessionFinalizedError} once the response has begun.
   */
  set<K extends Key<Input>>(key: K, value: Exclude<Input[K], undefined>): void
  remove(key: Key<State>): void
  clear(): void

  /** Reads a value and removes it with the other changes: flash messages. */
  take<K extends Key<State>>(key: K): Promise<State[K] | undefined>
  /**
   * Reads a value and removes it atomically, at once: of concurrent callers exactly one gets it.
   * @throws {CapabilityError} if the store cannot compare and set.
   */
  consume<K extends Key<State>>(key: K): Promise<State[K] | undefined>

  /**
   * Loads now, and gives the same reads and writes without `await`. With `fresh`, what is known afterwards came from the store's authority:
   * if it is from a cache or a replica, it is loaded once more. Pending changes stay.
   */
  load(options?: { readonly fresh?: boolean | undefined }): Promise<StateView<State, Input>>

  /**
   * Runs `change` on the newest state, this request's pending changes included, and commits at once. Exact under any concurrency:
   * `change` may run several times, so it must be synchronous and do nothing else. Where the request may start no session
   * (`crossSiteCreation`), nothing is committed, as for any other write.
   * @throws {VersionConflictError} when `transactTimeout` is over.
   * @throws {SessionEndedError} if the session is dead.
   * @throws {CapabilityError} if the store cannot compare and set.
   */
  transact<T>(change: (state: StateView<State, Input>) => T): Promise<T>

  /** Drops the server-side record and the user, keeps the session and its client state. */
  delete(): void

  /**
   * Small state that lives in the cookie, encrypted. Served before any store check: never put authorisation there. Of concurrent responses
   * the last one wins, whole.
   */
  readonly client: StateView<ClientState, ClientInput>

  /** The session's public name; safe in logs. Stays the stored one until a rotation is carried out; undefined for a session without one yet. */
  readonly id: SessionId | undefined
  /** Whether the request came without a session. */
  readonly isNew: boolean
  /** Whether there are changes that have not been saved. */
  readonly isModified: boolean
  /** Whether the session was invalidated by this request or found dead. */
  readonly isInvalidated: boolean
  /** Whether this request has used its session at all. For adapters: an untouched session has nothing to finalize. */
  readonly isTouched: boolean

  /** A new ticket for the same state, when the response is sent. With `grace`, the old ticket works that much longer, for parallel requests. */
  cycleId(options?: { readonly grace?: Duration | undefined }): void
  /** Binds the session to a user, under a new ticket and with a new absolute end. Takes effect when the response is sent, or at `save`. */
  signIn(userId: UserId, options?: SignInOptions<State & ClientState>): void
  /** Unbinds the user, clears server and client state, and changes the ticket. */
  signOut(): void
  /** The bound user, or null. */
  userId(): Promise<string | null>
  /** When the user signed in, or null. */
  signedInAt(): Promise<Date | null>
  /** Saves, confirms that the session lives, then ends the user's other sessions. @returns how many it ended. @throws {SessionEndedError} */
  revokeOthers(): Promise<number>
  /** Milliseconds since the user signed in, or null. */
  signedInFor(): Promise<number | null>
  /** Ends the session: record deleted, cookie removed. Afterwards everything but `signIn` does nothing. */
  invalidate(): void

  /** When this session ends, from now on and on later requests; null for the configured default. Capped at the absolute end; `at` is kept to within the store's latency. */
  setExpiry(expiry: Expiry | "browser-session" | null): void
  /** What `setExpiry` was given, or null for the default. */
  expiry(): Promise<ResolvedExpiry | null>
  /** When the session will end if nothing more happens after this request. */
  expiresAt(): Promise<Date>
  /** Milliseconds until then. */
  expiresIn(): Promise<number>

  /**
   * A token for forms and scripts that shows that a request comes from a page of this session's (OWASP: HMAC-based token pattern), for browsers that tell
   * no origin: see `CsrfOptions.token`. Another text each time, for the same session. Take it after `signIn` and other changes, which it
   * saves: it is bound to the session's id. A new visitor gets a session.
   * @throws {SessionReadOnlyError} @throws {SessionFinalizedError} if it takes a change to make it.
   */
  csrfToken(): Promise<string>
  /** Whether `csrfToken` made this for the session whose cookie came in. Costs no I/O. */
  verifyCsrfToken(token: string): boolean

  /** Writes now what is pending, before long work or a stream. @throws {SessionEndedError} if that cannot be done, for the session is dead. */
  save(): Promise<void>
  /** Decides, saves, and tells the response what to send. Once per request, by the adapter. */
  finalize(outcome?: Outcome): Promise<Finalized>
}

/** What an adapter knows of a request. Members are read only when needed, so getters are welcome. */
export interface RequestFacts {
  readonly method?: string | undefined
  /** The `Sec-Fetch-Site` header. */
  readonly secFetchSite?: string | null | undefined
  /** Whether the client speaks https to us or to a trusted proxy; undefined if that is not known. */
  readonly secure?: boolean | undefined
  /** The `Host` header or `:authority`. */
  readonly host?: string | null | undefined
  /** The `Origin` header. */
  readonly origin?: string | null | undefined
  /** Whether this asks for another protocol, such as WebSocket. Its session can only be read. */
  readonly isUpgrade?: boolean | undefined
  /** Why the session can only be read, such as "a server component sends no cookies": a change throws, and nothing is extended. */
  readonly readOnly?: string | undefined
  /** Which setting tells whether the client speaks https, for the warning when a `Secure` cookie seems to go out over plain http. */
  readonly httpsSetting?: string | undefined
}

/** How `sessions.handle` looks at requests. */
export interface HandleOptions {
  /** Refuse unsafe requests from other sites with 403. Default false. */
  readonly csrf?: boolean | CsrfOptions | undefined
  /** Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. */
  readonly trustProxy?: boolean | undefined
}

/** Which unsafe requests are taken, beside those of the own origin. */
export interface CsrfOptions {
  /** Other origins whose pages may send unsafe requests, such as `"https://admin.shop.example"`, scheme and port included. */
  readonly trustedOrigins?: readonly string[] | undefined
  /**
   * Ask browsers that tell neither `Sec-Fetch-Site` nor `Origin` (none since 2020 on unsafe methods) for `session.csrfToken()`, in the header
   * `X-CSRF-Token` or the form field `_csrf`, if they come with a session. Default false: such a request passes, for programs tell neither, too.
   */
  readonly token?: boolean | undefined
}

/** What a listener of `onRevoked` is told: one session, or a user's sessions but for `except`. */
export type Revocation =
  | { readonly id: SessionId; readonly userId?: undefined }
  | { readonly userId: string; readonly except: SessionId | undefined; readonly id?: undefined }

/** What `createSessions` makes: the sessions of one application. */
export interface Sessions<
  State extends object = AnyState,
  ClientState extends object = AnyState,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** The session of a request. Synchronous, without I/O and without cryptography. */
  open(
    cookieHeader: string | readonly string[] | null | undefined,
    request?: RequestFacts,
  ): Session<State, ClientState, Input, ClientInput>
  /** Gives a `Request → Response` handler its session. Further arguments of the runtime are handed on. */
  handle<Rest extends unknown[]>(
    handler: (
      request: Request,
      session: Session<State, ClientState, Input, ClientInput>,
      ...rest: Rest
    ) => Response | Promise<Response>,
    options?: HandleOptions,
  ): (request: Request, ...rest: Rest) => Promise<Response>

  /** The live sessions of a user, the most recently seen first. */
  listByUser(userId: UserId): Promise<SessionSummary[]>
  /** Ends one session. @returns whether there was one to end. */
  revoke(id: SessionId): Promise<boolean>
  /**
   * Ends every session that is bound to the user when this is called, rotated meanwhile or not. A sign-in that commits
   * while it runs may survive. @returns how many it ended.
   */
  revokeByUser(userId: UserId, options?: { readonly except?: SessionId | undefined }): Promise<number>
  /**
   * Tells when this process has ended sessions: by `revoke`, `revokeByUser`, `revokeOthers` and `invalidate`, by `delete`, which unbinds the
   * user, and by `signOut` and `signIn`, which end them under the id they had: see `isRevoked`. @returns a function that stops listening.
   */
  onRevoked(listener: (revocation: Revocation) => void): () => void
  /** Removes expired records. Never needed for safety: an expired record is not loaded. @returns how many. */
  deleteExpired(options?: { readonly limit?: number | undefined }): Promise<number>
  /** Removes expired records every so often, without keeping the process alive. @returns a function that stops it. */
  startSweeper(options?: {
    readonly every?: Duration | undefined
    readonly limit?: number | undefined
  }): () => void
}

/** The type of a session that `createSessions` opens: `SessionOf<typeof sessions>`. */
export type SessionOf<S extends { open: (...input: never[]) => unknown }> = ReturnType<S["open"]>

import type { AnyState, HandleOptions, RequestFacts, Revocation, Session, Sessions, UserId } from "./api.ts"
import { type Config, resolveConfig, type SessionsOptions } from "./config.ts"
import { csrfProtection, csrfTokenOf } from "./csrf.ts"
import { LISTENER_FAILED, tell } from "./diagnostics.ts"
import { UnknownIdError } from "./errors.ts"
import { durationOption } from "./expiry.ts"
import { CapabilityError } from "./errors.ts"
import { abandon, FetchFacts, finishResponse } from "./fetch.ts"
import { Gateway } from "./gateway.ts"
import { isSessionId, type SessionId } from "./id.ts"
import type { JsonState } from "./json.ts"
import { Lanes } from "./lanes.ts"
import type { InputOf, OutputOf, SchemaMap } from "./schema.ts"
import { RequestSession } from "./session.ts"
import type { Core } from "./standing.ts"
import type { SessionSummary } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"
import { sessionErrorResponse } from "./refusal.ts"
import { startSweeper } from "./sweeper.ts"
import { userKey } from "./user.ts"

interface Schemas {
  readonly server?: SchemaMap | undefined
  readonly client?: SchemaMap | undefined
}

type ServerOf<S extends Schemas> = S["server"] extends SchemaMap ? S["server"] : undefined
type ClientOf<S extends Schemas> = S["client"] extends SchemaMap ? S["client"] : undefined
type Out<Map> = Map extends SchemaMap ? OutputOf<Map> : AnyState
type In<Map> = Map extends SchemaMap ? InputOf<Map> : AnyState

/**
 * The sessions of one application. State types come from the type parameters, or from `schema`.
 * @throws {ConfigError} if an option is wrong.
 */
export function createSessions<const S extends Schemas>(
  options: SessionsOptions & { readonly schema: S },
): Sessions<Out<ServerOf<S>>, Out<ClientOf<S>>, In<ServerOf<S>>, In<ClientOf<S>>>
export function createSessions<
  State extends JsonState<State> & object = AnyState,
  ClientState extends JsonState<ClientState> & object = AnyState,
>(options?: SessionsOptions & { readonly schema?: undefined }): Sessions<State, ClientState>
export function createSessions(options: SessionsOptions = {}): Sessions {
  return new SessionManager(resolveConfig(options, (clock) => memoryStore({ clock })))
}

class SessionManager implements Sessions {
  readonly #core: Core
  readonly #listeners = new Set<(revocation: Revocation) => unknown>()
  readonly #handled = new WeakSet<Request>()

  constructor(config: Config) {
    this.#core = {
      config,
      gateway: new Gateway(config.store, config.storeTimeout, config.diagnostics),
      lanes: new Lanes(),
      announce: (revocation) => this.#announce(revocation),
    }
  }

  readonly open = (
    cookieHeader: string | readonly string[] | null | undefined,
    request?: RequestFacts,
  ): Session => new RequestSession(this.#core, cookieHeader, request)

  readonly handle = <Rest extends unknown[]>(
    handler: (request: Request, session: Session, ...rest: Rest) => Response | Promise<Response>,
    options: HandleOptions = {},
  ): ((request: Request, ...rest: Rest) => Promise<Response>) => {
    if (typeof handler !== "function")
      throw new TypeError("handle takes a function (request, session) => Response.")
    const csrf = csrfProtection(options.csrf)
    const { trustProxy } = options
    const httpsSetting =
      trustProxy === true ? "let it send X-Forwarded-Proto" : "sessions.handle(handler, { trustProxy: true })"
    return async (request, ...rest) => {
      if (this.#handled.has(request)) {
        throw new TypeError("This request already has a session: sessions.handle is nested in itself.")
      }
      this.#handled.add(request)
      const facts = new FetchFacts(request, { trustProxy, httpsSetting })
      const session = this.open(request.headers.get("cookie"), facts)
      const response = await answer(
        session,
        () => handler(request, session, ...rest),
        () => csrf?.check(facts, session, () => csrfTokenOf(request)),
      )
      return finishResponse(response, session)
    }
  }

  readonly listByUser = async (userId: UserId): Promise<SessionSummary[]> => {
    this.#requireUserIndex("listByUser")
    return this.#core.gateway.listByUser(userKey(userId))
  }

  readonly revoke = async (id: SessionId): Promise<boolean> => {
    if (!isSessionId(id)) return false
    const { config, gateway } = this.#core
    try {
      await gateway.delete(id, { tombstone: { ttl: config.tombstoneTtl } })
    } catch (error) {
      if (error instanceof UnknownIdError) return false
      throw error
    }
    config.diagnostics.emit({ type: "revoked", id, count: 1 })
    this.#announce({ id })
    return true
  }

  readonly revokeByUser = async (
    userId: UserId,
    options: { readonly except?: SessionId | undefined } = {},
  ): Promise<number> => {
    this.#requireUserIndex("revokeByUser")
    const user = userKey(userId)
    // What is no id names no session.
    const except = isSessionId(options.except) ? options.except : undefined
    const { config, gateway } = this.#core
    const count = await gateway.deleteByUser(user, { except, tombstone: { ttl: config.tombstoneTtl } })
    config.diagnostics.emit({ type: "revoked", count })
    this.#announce({ userId: user, except })
    return count
  }

  readonly onRevoked = (listener: (revocation: Revocation) => void): (() => void) => {
    // A listener of its own for each call, so that the same function may listen twice and stop once.
    const own = (revocation: Revocation): unknown => listener(revocation)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  readonly deleteExpired = async (options: { readonly limit?: number | undefined } = {}): Promise<number> => {
    const limit = sweepLimit("deleteExpired", options.limit)
    return this.#core.gateway.deleteExpired({ limit })
  }

  readonly startSweeper: Sessions["startSweeper"] = (options = {}) => {
    const limit = sweepLimit("startSweeper", options.limit) ?? 1000
    const every = durationOption("startSweeper: every", options.every ?? "10m")
    return startSweeper({
      every,
      limit,
      gateway: this.#core.gateway,
      diagnostics: this.#core.config.diagnostics,
    })
  }

  #announce(revocation: Revocation): void {
    for (const listener of this.#listeners) {
      tell(listener, revocation, () => this.#core.config.diagnostics.warn(...LISTENER_FAILED))
    }
  }

  #requireUserIndex(call: string): void {
    const { capabilities, name } = this.#core.gateway
    if (capabilities.userIndex) return
    throw new CapabilityError(`The store ${name} cannot do ${call} (capabilities.userIndex).`, {
      capability: "userIndex",
    })
  }
}

function sweepLimit(call: string, limit: number | undefined): number | undefined {
  if (limit === undefined || (Number.isSafeInteger(limit) && limit > 0)) return limit
  throw new TypeError(`${call}: limit is a whole number above 0.`)
}

/** Runs the handler. What it throws goes to the runtime's own error page, which cannot carry our headers. */
async function answer(
  session: Session,
  handler: () => Response | Promise<Response>,
  check: () => Promise<void> | undefined,
): Promise<Response> {
  try {
    await check()
  } catch (error) {
    const refusal = sessionErrorResponse(error)
    if (refusal === undefined) throw error
    return refusal
  }
  try {
    const response = (await handler()) as Response | undefined
    if (response?.headers !== undefined) return response
    throw new TypeError("The handler given to sessions.handle returned no Response.")
  } catch (error) {
    await abandon(session)
    throw error
  }
}

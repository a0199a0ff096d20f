import type { IncomingMessage, ServerResponse } from "node:http"
import type { Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { SignInRequiredError } from "../errors.ts"
import { freshness } from "../guards.ts"
import { errorResponse } from "../refusal.ts"
import {
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  PROXY_IS_TRUSTED,
  type PropertyOptions,
} from "./shared-adapter.ts"
import {
  attachSession,
  csrfTokenIn,
  first,
  gateOf,
  NodeRequestFacts,
  sessionOfRequest,
} from "./shared-node.ts"

export type { FreshGuardOptions, GuardOptions }

/** A middleware of Express 4 and 5. */
export type ExpressMiddleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

/** An error handler of Express 4 and 5. */
export type ExpressErrorHandler = (
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

export type ExpressSessionsOptions = PropertyOptions<string>

/** The sessions of an Express application. Its members may be taken out of it. */
export interface ExpressSessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `req.session`, and saves it before the first byte of the answer leaves. Mount it once, before what uses it. */
  readonly middleware: ExpressMiddleware
  /** The session of a request, typed. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (request: IncomingMessage) => Session<State, ClientState, Input, ClientInput>
  /** A middleware that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => ExpressMiddleware
  /** A middleware that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => ExpressMiddleware
}

/**
 * Sessions for Express 4 and 5. What fails goes to `next`, saving included, whose failure comes before anything has been sent. Whether the client
 * speaks https, and to which host, is what `app.set("trust proxy", …)` makes of it.
 */
export function expressSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: ExpressSessionsOptions = {},
): ExpressSessions<State, ClientState, Input, ClientInput> {
  type Own = ExpressSessions<State, ClientState, Input, ClientInput>
  const { property = "session" } = options
  const csrf = csrfProtection(options.csrf)

  function open(request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void {
    const facts = new ExpressFacts(request)
    const onError = (error: unknown): Promise<void> => handOver(error, response, next)
    const session = attachSession(sessions, request, response, { onError, keepHeaders: true }, facts)
    expose(request, property, session)
    // Nothing is waited for: where there is a token, it has been read.
    void csrf?.check(facts, session, () => csrfTokenIn(request, (request as ExpressRequest).body))
  }

  const getSession: Own["getSession"] = (request) =>
    found(sessionOfRequest(sessions, request), "Mount the middleware of expressSessions before what uses it.")

  function guarding(
    within: FreshGuardOptions["within"] | undefined,
    to: string | undefined,
  ): ExpressMiddleware {
    return (request, response, next) => {
      settle(
        async () => guard(getSession(request), within),
        next,
        () => {
          if (to === undefined) return false
          // Somebody else may have run out of patience.
          if (!response.headersSent && !response.writableEnded)
            response.writeHead(303, { Location: locationOf(to) }).end()
          return true
        },
      )
    }
  }

  return {
    getSession,
    middleware: (request, response, next) => {
      try {
        open(request, response, next)
      } catch (error) {
        next(error)
        return
      }
      next()
    },
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * An error handler that answers what sessions fail with: 503 with `Retry-After` while the store is unavailable, 401, 403. Other errors, mistakes
 * in the program included, go on to the next handler. Mount it after the routes, if you want that.
 */
export const sessionErrors: ExpressErrorHandler = (error, _request, response, next) => {
  const { status, headers, body } = errorResponse(error)
  if (status === 500 || response.headersSent) next(error)
  else response.writeHead(status, headers).end(body)
}

/** Runs a guard. Not in a `try` with `next`: what the next handler throws is not for us to catch. */
function settle(check: () => Promise<unknown>, next: (error?: unknown) => void, divert: () => boolean): void {
  check().then(
    () => next(),
    (error: unknown) => {
      let isDiverted = false
      try {
        isDiverted = error instanceof SignInRequiredError && divert()
      } catch (failure) {
        next(failure)
        return
      }
      if (!isDiverted) next(error)
    },
  )
}

/** To the application's error handlers, which answer in time or not at all: what they leave unanswered is answered for them. */
function handOver(error: unknown, response: ServerResponse, next: (error?: unknown) => void): Promise<void> {
  return new Promise((resolve) => {
    response.once("finish", resolve)
    response.once("close", resolve)
    next(error)
    // Who has not ended the first answer may write into it meanwhile, so nobody waits for one that comes later.
    if (response.writableEnded || !gateOf(response).isEnded) resolve()
  })
}

/** What Express adds to a request. */
interface ExpressRequest extends IncomingMessage {
  readonly secure?: boolean
  readonly app?: { get?(setting: string): unknown }
  readonly body?: unknown
}

/** Express knows whom it trusts, and takes their word as `X-Forwarded-Proto` and `X-Forwarded-Host` alone. */
class ExpressFacts extends NodeRequestFacts {
  readonly #request: ExpressRequest
  readonly #trusted: boolean

  constructor(request: ExpressRequest) {
    super(request, {})
    this.#request = request
    this.#trusted = trustsProxy(request)
  }

  override get secure(): boolean | undefined {
    if (this.#request.secure === true) return true
    return this.#trusted && this.#told("proto") !== undefined ? false : super.secure
  }

  override get host(): string | undefined {
    return (this.#trusted ? this.#told("host") : undefined) ?? super.host
  }

  override get httpsSetting(): string {
    return this.#trusted ? PROXY_IS_TRUSTED : 'app.set("trust proxy", 1)'
  }

  #told(what: "proto" | "host"): string | undefined {
    const told = first(this.#request.headers[`x-forwarded-${what}`])?.split(",", 1)[0]?.trim()
    return told === "" ? undefined : told
  }
}

function trustsProxy(request: ExpressRequest): boolean {
  const trust = request.app?.get?.("trust proxy fn")
  return typeof trust === "function" && trust(request.socket.remoteAddress, 0) === true
}

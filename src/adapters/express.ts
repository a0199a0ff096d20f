import type { IncomingMessage, ServerResponse } from "node:http"
import type { Session, Sessions } from "../api.ts"
import { CSRF_FIELD, CSRF_HEADER, csrfProtection } from "../csrf.ts"
import { SessionError } from "../errors.ts"
import { freshness } from "../guards.ts"
import { errorResponse } from "../refusal.ts"
import {
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  type PropertyOptions,
} from "./shared-adapter.ts"
import { attachSession, first, gateOf, NodeRequestFacts, sessionOfRequest } from "./shared-node.ts"

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

  function open(
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ): Promise<void> | undefined {
    const facts = new ExpressFacts(request)
    const onError = (error: unknown): Promise<void> => handOver(error, response, next)
    const session = attachSession(sessions, request, response, { onError }, facts)
    expose(request, property, session)
    return csrf?.check(facts, session, () => tokenOf(request))
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
          response.writeHead(303, { Location: to }).end()
          return true
        },
      )
    }
  }

  return {
    getSession,
    middleware: (request, response, next) => {
      let checking: Promise<void> | undefined
      try {
        checking = open(request, response, next)
      } catch (error) {
        next(error)
        return
      }
      if (checking === undefined) next()
      else checking.then(() => next(), next)
    },
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * An error handler that answers what sessions fail with: 503 with `Retry-After` while the store is unavailable, 401, 403. Other errors go on to
 * the next handler. Mount it after the routes, if you want that.
 */
export const sessionErrors: ExpressErrorHandler = (error, _request, response, next) => {
  if (!(error instanceof SessionError) || response.headersSent) {
    next(error)
    return
  }
  const { status, headers, body } = errorResponse(error)
  response.writeHead(status, headers).end(body)
}

/** Runs a guard. Not in a `try` with `next`: what the next handler throws is not for us to catch. */
function settle(check: () => Promise<unknown>, next: (error?: unknown) => void, divert: () => boolean): void {
  check().then(
    () => next(),
    (error: unknown) => {
      const isRefusal = error instanceof SessionError && error.code === "ERR_SESSION_SIGN_IN_REQUIRED"
      if (!isRefusal || !divert()) next(error)
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

/** Express knows whom it trusts. */
class ExpressFacts extends NodeRequestFacts {
  readonly #request: ExpressRequest

  constructor(request: ExpressRequest) {
    super(request, { trustProxy: trustsProxy(request) })
    this.#request = request
  }

  override get secure(): boolean | undefined {
    return this.#request.secure === true ? true : super.secure
  }

  override get httpsSetting(): string {
    return 'app.set("trust proxy", 1)'
  }
}

function trustsProxy(request: ExpressRequest): boolean {
  const trust = request.app?.get?.("trust proxy fn")
  return typeof trust === "function" && trust(request.socket.remoteAddress, 0) === true
}

function tokenOf(request: ExpressRequest): string | undefined {
  const header = first(request.headers[CSRF_HEADER])
  if (header !== undefined) return header
  const field: unknown = (request.body as Record<string, unknown> | null | undefined)?.[CSRF_FIELD]
  return typeof field === "string" ? field : undefined
}

import type { Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { CsrfError, SessionError, SignInRequiredError } from "../errors.ts"
import type { Duration } from "../expiry.ts"
import { abandon, finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { errorResponse, sessionErrorResponse } from "../refusal.ts"
import {
  type AdapterOptions,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  heldBy,
  proxySetting,
  MOUNTED_TWICE,
} from "./shared-adapter.ts"
import { openWeb } from "./shared-web.ts"

export type { FreshGuardOptions, GuardOptions }

// The types of React Router do not compile without those of browsers, so what is used of them is said here.

/** Where a value is found in a context: what React Router's `createContext` makes. */
export interface SessionContext<T> {
  defaultValue?: T
}

/** What loaders, actions and middleware are given as `context`. */
export interface ReactRouterContext {
  get<T>(key: SessionContext<T>): T
  set<Key extends SessionContext<unknown>>(key: Key, value: ValueOf<Key>): void
}

type ValueOf<Key> = Key extends SessionContext<infer T> ? T : never

/** A middleware of a route. */
export type ReactRouterMiddleware = (
  input: { readonly request: Request; readonly context: ReactRouterContext },
  next: () => Promise<Response>,
) => Promise<Response>

export interface ReactRouterSessionsOptions extends AdapterOptions {
  /** Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. */
  readonly trustProxy?: boolean | undefined
}

/** The sessions of a React Router application. Its members may be taken out of it. */
export interface ReactRouterSessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request, and saves it when the routes have answered. Mount it once, in `root.tsx`, before what uses it. */
  readonly middleware: ReactRouterMiddleware
  /** Where loaders, actions and middleware find the session: `context.get(sessionContext)`. */
  readonly sessionContext: SessionContext<Session<State, ClientState, Input, ClientInput>>
  /** The same, with a better message. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (context: ReactRouterContext) => Session<State, ClientState, Input, ClientInput>
  /**
   * Lets only requests of signed-in users pass. In a route's `middleware` it protects the routes below too; in a loader that one alone.
   * @returns the user's id.
   * @throws a `Response` of 401, or with `redirectTo` a redirect.
   */
  readonly requireUser: (context: ReactRouterContext, options?: GuardOptions) => Promise<string>
  /** The same for who has signed in that recently. */
  readonly requireFresh: (context: ReactRouterContext, options: FreshGuardOptions) => Promise<string>
}

/**
 * Sessions for React Router 8 in framework mode. What fails is thrown, saving included, and so reaches an `ErrorBoundary` and `handleError`;
 * what a browser did wrong is thrown as a `Response` of 401 or 403, whose status React Router keeps.
 */
export function reactRouterSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: ReactRouterSessionsOptions = {},
): ReactRouterSessions<State, ClientState, Input, ClientInput> {
  type Own = ReactRouterSessions<State, ClientState, Input, ClientInput>
  const csrf = csrfProtection(options.csrf)
  const factsOptions = {
    trustProxy: options.trustProxy,
    httpsSetting: proxySetting("reactRouterSessions", options.trustProxy),
  }
  const sessionContext: Own["sessionContext"] = {}

  const getSession: Own["getSession"] = (context) =>
    found(
      lookUp(context, sessionContext),
      "Mount the middleware of reactRouterSessions in root.tsx, before what uses it.",
    )

  async function pass(
    context: ReactRouterContext,
    within: Duration | undefined,
    to: string | undefined,
  ): Promise<string> {
    try {
      return await guard(getSession(context), within)
    } catch (error) {
      if (!(error instanceof SignInRequiredError)) throw error
      // oxlint-disable-next-line typescript/only-throw-error -- a response is what React Router takes for an answer
      throw to === undefined
        ? refusal(error)
        : new Response(null, { status: 303, headers: { Location: locationOf(to) } })
    }
  }

  return {
    sessionContext,
    getSession,
    middleware: async ({ request, context }, next) => {
      if (heldBy(context, sessions) !== undefined) {
        throw new SessionError(
          `${MOUNTED_TWICE} If getLoadContext gives several requests one context: make a new context for each request in getLoadContext.`,
        )
      }
      const readOnly = isPrerendering() ? "this page is made when the application is built" : undefined
      const { session, check } = openWeb(sessions, request, csrf, { ...factsOptions, readOnly }, context)
      context.set(sessionContext, session)
      let response: Response
      try {
        await check()
        response = await next()
      } catch (error) {
        await abandon(session)
        throw error instanceof CsrfError ? refusal(error) : error
      }
      return finishResponse(response, session)
    },
    requireUser: (context, { redirectTo } = {}) => pass(context, undefined, redirectTo),
    requireFresh: (context, { within, redirectTo }) => pass(context, freshness(within), redirectTo),
  }
}

/** The value of a context, if it has one: React Router throws if not. */
function lookUp<T>(context: ReactRouterContext, key: SessionContext<T>): T | undefined {
  try {
    return context.get(key)
  } catch {
    return undefined
  }
}

/** What requests that have failed are to be answered with. */
const answers = new WeakMap<object, Response>()

/**
 * Tells `sessionErrors` what a request has failed with. Call it in `handleError` of `entry.server.tsx`: nobody else is told what a loader has
 * thrown.
 */
export function noteSessionError(error: unknown, context: ReactRouterContext): void {
  const answer = sessionErrorResponse(error)
  if (answer !== undefined) answers.set(context, answer)
}

/**
 * A middleware that gives what sessions fail with its status: 503 with `Retry-After` while the store is unavailable, 401, 403. The
 * `ErrorBoundary` is rendered all the same. Mount it before the middleware of the sessions, if you want that.
 */
export const sessionErrors: ReactRouterMiddleware = async ({ context }, next) => {
  let response: Response
  try {
    response = await next()
  } catch (error) {
    // Those of resource routes, which have no page to render.
    const answer = sessionErrorResponse(error)
    // One of status 500 is a mistake of the application, which handleError is to be told of.
    if (answer === undefined || answer.status === 500) throw error
    return answer
  }
  const answer = answers.get(context)
  return answer === undefined || response.status !== 500 ? response : withStatus(response, answer)
}

/** The page of one response, with what another says of its failure. */
function withStatus(page: Response, { status, headers }: Response): Response {
  const copy = new Response(page.body, { status, headers: page.headers })
  for (const name of ["Cache-Control", "Retry-After"]) {
    const value = headers.get(name)
    if (value !== null) copy.headers.set(name, value)
  }
  return copy
}

/** What React Router answers an error with, for it takes a status from a `Response` alone. */
function refusal(error: SignInRequiredError | CsrfError): Response {
  const { status, headers = {}, body } = errorResponse(error)
  const statusText = status === 401 ? "Unauthorized" : "Forbidden"
  return new Response(body as string, { status, statusText, headers })
}

/** React Router's build says so. There no response reaches a browser, and no session may begin. */
function isPrerendering(): boolean {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } }
  return process?.env?.["IS_RR_BUILD_REQUEST"] === "yes"
}

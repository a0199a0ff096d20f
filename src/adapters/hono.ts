import type { Context, Env, ErrorHandler, MiddlewareHandler } from "hono"
import type { Session, Sessions } from "../api.ts"
import { CSRF_FIELD, csrfProtection, csrfTokenOf, type TokenSource } from "../csrf.ts"
import { CsrfError, SignInRequiredError } from "../errors.ts"
import { abandon, finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { sessionErrorResponse } from "../refusal.ts"
import {
  type AdapterOptions,
  ANSWER_HEADERS,
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  heldBy,
  proxySetting,
} from "./shared-adapter.ts"
import { openWeb } from "./shared-web.ts"

export type { FreshGuardOptions, GuardOptions }

export interface HonoSessionsOptions<
  Property extends string | false = string | false,
> extends AdapterOptions {
  /** What the session is called in `c.var`: another name for each sessions of an application; `false` for none. Default `"session"`. */
  readonly property?: Property | undefined
  /** Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. */
  readonly trustProxy?: boolean | undefined
}

/** The sessions of a Hono application. Its members may be taken out of it. */
export interface HonoSessions<
  Property extends string | false,
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `c.var.session`, and saves it when the handlers have answered. Mount it once, before what uses it. */
  readonly middleware: MiddlewareHandler<{
    Variables: Property extends string
      ? { [K in Property]: Session<State, ClientState, Input, ClientInput> }
      : object
  }>
  /** The session of a request, typed whatever the context's type. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (c: Pick<Context, "req">) => Session<State, ClientState, Input, ClientInput>
  /** A middleware that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => MiddlewareHandler
  /** A middleware that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => MiddlewareHandler
}

/**
 * Sessions for Hono 4, on Node.js, Bun, Deno and Workers. What fails is thrown, saving included, and so goes to `app.onError`: see
 * `sessionErrors`. What `csrf` and the guards refuse has its status without that.
 */
export function honoSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
  const Property extends string | false = "session",
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: HonoSessionsOptions<Property> = {},
): HonoSessions<Property, State, ClientState, Input, ClientInput> {
  type Own = HonoSessions<Property, State, ClientState, Input, ClientInput>
  const { trustProxy } = options
  const property: string | false = options.property ?? "session"
  const csrf = csrfProtection(options.csrf)
  const httpsSetting = proxySetting("honoSessions", trustProxy)
  const factsOptions = { trustProxy, httpsSetting }

  const getSession: Own["getSession"] = (c) =>
    found(
      heldBy(c.req, sessions) as ReturnType<Own["getSession"]> | undefined,
      "Mount the middleware of honoSessions before what uses it.",
    )

  function guarding(
    within: FreshGuardOptions["within"] | undefined,
    to: string | undefined,
  ): MiddlewareHandler {
    return async (c, next) => {
      try {
        await guard(getSession(c), within)
      } catch (error) {
        if (to !== undefined && error instanceof SignInRequiredError) return c.redirect(to, 303)
        throw refusalOf(error)
      }
      return next()
    }
  }

  return {
    getSession,
    middleware: async (c, next) => {
      const { session, check } = openWeb(sessions, c.req.raw, csrf, factsOptions, c.req)
      const variables: Record<string, unknown> = {}
      if (property !== false) {
        variables[property] = c.get(property as never)
        expose(variables, property, session)
        c.set(property as never, session as never)
      }
      try {
        await check(() => tokenOf(c))
      } catch (error) {
        throw refusalOf(error)
      }
      try {
        await next()
      } catch (error) {
        // Hono answers errors; what else is thrown goes past it, to the server.
        await abandon(session)
        throw error
      }
      const answer = c.res
      try {
        const finished = await finishResponse(answer, session)
        if (finished !== answer) replace(c, finished)
      } catch (error) {
        replace(c, withoutAnswer(answer))
        throw error
      }
    },
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * An error handler for `app.onError`: what sessions fail with is answered with 503 and `Retry-After` while the store is unavailable, 401, 403.
 * @param otherwise answers other errors, as a handler without sessions would
 */
export function sessionErrors<E extends Env>(otherwise: ErrorHandler<E>): ErrorHandler<E> {
  return (error, c) => {
    const response = sessionErrorResponse(error)
    if (response === undefined || response.status === 500) return otherwise(error, c)
    // With the headers that middleware has prepared.
    return c.newResponse(response.body, response)
  }
}

/** Hono adds the headers of a response that is there to the one that takes its place. */
function replace(c: Context, response: Response): void {
  c.res = undefined
  c.res = response
}

/** What is left of an answer that is not sent: headers that are right of any answer to this request, such as those of CORS. */
function withoutAnswer({ body, headers }: Response): Response {
  // Whoever writes a stream learns that nobody reads it.
  void body?.cancel().catch(() => undefined)
  const kept = new Headers(headers)
  for (const name of ANSWER_HEADERS) kept.delete(name)
  kept.set("Cache-Control", "no-store")
  return new Response(null, { headers: kept })
}

/** The same error, with what Hono asks errors for that nobody needs to be told of. */
function refusalOf(error: unknown): unknown {
  if (!(error instanceof SignInRequiredError || error instanceof CsrfError)) return error
  return Object.defineProperty(error, "getResponse", { value: () => sessionErrorResponse(error) })
}

/** Of a body that was read before, Hono keeps what was read. */
function tokenOf(c: Context): TokenSource {
  return csrfTokenOf(c.req.raw) ?? (c.req.raw.bodyUsed ? parsedField(c) : undefined)
}

async function parsedField(c: Context): Promise<string | undefined> {
  try {
    const { [CSRF_FIELD]: field } = await c.req.parseBody()
    return typeof field === "string" ? field : undefined
  } catch {
    // What is no form, or was read past Hono, brings no token.
    return undefined
  }
}

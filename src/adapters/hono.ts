import type { Context, MiddlewareHandler } from "hono"
import type { Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { SignInRequiredError } from "../errors.ts"
import { finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import {
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  heldBy,
  type PropertyOptions,
} from "./shared-adapter.ts"
import { openWeb } from "./shared-web.ts"

export type { FreshGuardOptions, GuardOptions }

export interface HonoSessionsOptions<Property extends string = "session"> extends PropertyOptions<Property> {
  /** Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. */
  readonly trustProxy?: boolean | undefined
}

/** The sessions of a Hono application. Its members may be taken out of it. */
export interface HonoSessions<
  Property extends string,
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `c.var.session`, and saves it when the handlers have answered. Mount it once, before what uses it. */
  readonly middleware: MiddlewareHandler<{
    Variables: { [K in Property]: Session<State, ClientState, Input, ClientInput> }
  }>
  /** The session of a request, typed whatever the context's type. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (c: Pick<Context, "req">) => Session<State, ClientState, Input, ClientInput>
  /** A middleware that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => MiddlewareHandler
  /** A middleware that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => MiddlewareHandler
}

/**
 * Sessions for Hono 4, on Node.js, Bun, Deno and Workers. What fails is thrown, saving included, and so goes to `app.onError`, where
 * `sessionErrorResponse(error)` of `coatcheck` has an answer for what sessions fail with.
 */
export function honoSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
  const Property extends string = "session",
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: HonoSessionsOptions<Property> = {},
): HonoSessions<Property, State, ClientState, Input, ClientInput> {
  type Own = HonoSessions<Property, State, ClientState, Input, ClientInput>
  const { property = "session", trustProxy } = options
  const csrf = csrfProtection(options.csrf)
  const factsOptions = { trustProxy, httpsSetting: "honoSessions(sessions, { trustProxy: true })" }

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
        throw error
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
      await check()
      await next()
      const finished = await finishResponse(c.res, session)
      if (finished === c.res) return
      // Hono adds the headers of a response that is there to the one that takes its place.
      c.res = undefined
      c.res = finished
    },
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

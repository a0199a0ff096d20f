import { type H3Event, HTTPError, type Middleware, toResponse } from "h3"
import type { Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { CsrfError, SessionError, SignInRequiredError } from "../errors.ts"
import { finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { type ErrorResponse, sessionErrorResponse } from "../refusal.ts"
import {
  ANSWER_HEADERS,
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  heldBy,
  type PropertyOptions,
  proxySetting,
} from "./shared-adapter.ts"
import { gateKey, type NodeResponse, ResponseGate } from "./shared-response.ts"
import { openWeb } from "./shared-web.ts"

export type { FreshGuardOptions, GuardOptions }

export interface H3SessionsOptions extends PropertyOptions<string> {
  /**
   * Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. Not needed where the
   * server does it, as with `serve(app, { trustProxy: true })`.
   */
  readonly trustProxy?: boolean | undefined
}

/** The sessions of an h3 application. Its members may be taken out of it. */
export interface H3Sessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `event.context.session`, and saves it when the handlers have answered. Mount it once, before everything else. */
  readonly middleware: Middleware
  /** The session of a request, typed. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (event: Pick<H3Event, "context">) => Session<State, ClientState, Input, ClientInput>
  /** A middleware that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => Middleware
  /** A middleware that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => Middleware
}

/**
 * Sessions for h3 2, on Node.js, Bun, Deno and Workers. An error of what comes after the middleware is answered there, by `onError` of the
 * application as ever, for the answer's status decides what is saved. A save that fails is thrown, and so goes to `onError`, too: see `sessionErrors`.
 */
export function h3Sessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: H3SessionsOptions = {},
): H3Sessions<State, ClientState, Input, ClientInput> {
  type Own = H3Sessions<State, ClientState, Input, ClientInput>
  const { property = "session", trustProxy } = options
  const csrf = csrfProtection(options.csrf)
  const httpsSetting = proxySetting("h3Sessions", trustProxy)
  const factsOptions = { trustProxy, httpsSetting }

  // Kept by the context, which an application mounted by its `fetch` shares.
  const getSession: Own["getSession"] = ({ context }) =>
    found(
      heldBy(context, sessions) as ReturnType<Own["getSession"]> | undefined,
      "Mount the middleware of h3Sessions before what uses it.",
    )

  function guarding(within: FreshGuardOptions["within"] | undefined, to: string | undefined): Middleware {
    return async (event, next) => {
      try {
        await guard(getSession(event), within)
      } catch (error) {
        if (to === undefined || !(error instanceof SignInRequiredError)) throw refusalOf(error)
        return new Response(null, { status: 303, headers: { Location: locationOf(to) } })
      }
      return next()
    }
  }

  return {
    getSession,
    middleware: async (event, next) => {
      const { session, check } = openWeb(sessions, event.req, csrf, factsOptions, event.context)
      expose(event.context, property, session)
      const gate = gateOf(event)
      gate?.add({ sessions, session, report: (error) => reportTo(event, error) })
      const answering = answer(next, check)
      await answering.catch(() => undefined)
      if (gate?.isOpen === false) return answering
      gate?.remove(session)
      if (!session.isTouched) {
        void session.finalize()
        return answering
      }
      const errHeaders = [...event.res.errHeaders]
      const response = await respond(event, answering)
      try {
        return await finishResponse(response, session)
      } catch (error) {
        // What was prepared for errors went into the answer that is not sent.
        for (const [name, value] of errHeaders) event.res.errHeaders.append(name, value)
        throw error
      }
    },
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * An `onError` for `new H3({ onError })`: what sessions fail with is answered with 503 and `Retry-After` while the store is unavailable, 401, 403.
 * Undefined for other errors, which stay as they are.
 */
export function sessionErrors(error: Error): HTTPError | undefined {
  const cause = sessionErrorIn(error)
  const response = cause === undefined ? undefined : sessionErrorResponse(cause)
  if (response === undefined || response.status === 500) return undefined
  const { status, headers } = response
  headers.delete("Content-Type")
  return new HTTPError({ status, headers, cause, ...(status === 503 ? UNAVAILABLE : undefined) })
}

/** To clients a message about the store is of no use. */
const UNAVAILABLE = { message: "Service Unavailable" }

async function answer(next: () => unknown, check: () => Promise<void> | undefined): Promise<unknown> {
  try {
    await check()
    return await next()
  } catch (error) {
    throw refusalOf(error)
  }
}

/** A handler of Node.js, under `fromNodeHandler`, answers without h3, and may begin before the session is saved. Undefined on other runtimes. */
function gateOf(event: H3Event): ResponseGate | undefined {
  const response = event.runtime?.node?.res as unknown as NodeResponse | undefined
  return response && (response[gateKey] ??= new ResponseGate(response))
}

/** What h3 answers an error with that none of its functions is there to throw. */
async function reportTo(event: H3Event, error: unknown): Promise<ErrorResponse> {
  // Prepared for the answer that is not sent, h3 would add them to a response of `onError`.
  for (const name of ANSWER_HEADERS) event.res.headers.delete(name)
  const response = await respond(event, error)
  const { status, headers } = response
  const body = new Uint8Array(await response.arrayBuffer())
  return { status, headers: Object.fromEntries(headers), body }
}

/** Makes the answer that h3 would make of a value or an error. Hooks for responses come later, when it has the session's headers. */
async function respond(event: H3Event, answering: unknown): Promise<Response> {
  const { onResponse: _, ...config } = event.app?.config ?? {}
  return toResponse(answering, event, config)
}

/** To h3, an error that is not its own is one that nobody expected. */
function refusalOf(error: unknown): unknown {
  if (!(error instanceof SignInRequiredError || error instanceof CsrfError)) return error
  return new HTTPError(error)
}

/** An error of h3 has as its cause what it was made of, which may have one in turn. */
function sessionErrorIn(error: unknown): unknown {
  for (let cause = error, depth = 0; depth < 4; depth++) {
    if (cause instanceof SessionError) return cause
    cause = (cause as { readonly cause?: unknown } | null | undefined)?.cause
  }
  return undefined
}

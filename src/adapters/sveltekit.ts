import { error as httpError, redirect } from "@sveltejs/kit"
import type { Session, Sessions } from "../api.ts"
import { csrfProtection, csrfTokenOf } from "../csrf.ts"
import { CsrfError, SessionError, SignInRequiredError } from "../errors.ts"
import type { Duration } from "../expiry.ts"
import { abandon, FetchFacts, finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { errorResponse } from "../refusal.ts"
import {
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  heldBy,
  hold,
  type PropertyOptions,
} from "./shared-adapter.ts"

export type { FreshGuardOptions, GuardOptions }

/** What is used of an event: SvelteKit's own differ from version to version, and from route to route. */
export interface SvelteKitEvent {
  readonly locals: object
}

/** What `handle` uses of an event. */
export interface SvelteKitHandleEvent extends SvelteKitEvent {
  readonly request: Request
  readonly url: URL
  readonly isDataRequest: boolean
  readonly fetch: typeof globalThis.fetch
  readonly cookies: { set(name: string, value: string, options: SvelteKitCookieOptions): void }
}

/** What a cookie is set with. */
export interface SvelteKitCookieOptions {
  path: string
  domain?: string
  maxAge?: number
  expires?: Date
  httpOnly: boolean
  secure: boolean
  sameSite?: "lax" | "strict" | "none"
  partitioned: boolean
  priority?: "low" | "medium" | "high"
  encode(value: string): string
}

/** A `handle` hook of SvelteKit 2 and 3, to be exported or given to `sequence`. */
export type SvelteKitHandle = <Event extends SvelteKitHandleEvent>(input: {
  event: Event
  resolve: (event: Event) => Promise<Response> | Response
}) => Promise<Response>

export type SvelteKitSessionsOptions = PropertyOptions<string>

/** The sessions of a SvelteKit application. Its members may be taken out of it. */
export interface SvelteKitSessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /**
   * Opens the session of each request as `event.locals.session`, and saves it when the route has answered. First in a `sequence`, once: what
   * the hooks behind it do to the session is saved as well.
   */
  readonly handle: SvelteKitHandle
  /** The session of a request, in load functions, actions, endpoints and hooks. @throws {SessionError} if `handle` has not run. */
  readonly getSession: (event: SvelteKitEvent) => Session<State, ClientState, Input, ClientInput>
  /** Lets only requests of signed-in users pass: `redirect(303, redirectTo)`, or else `error(401)`. @returns the user's id. */
  readonly requireUser: (event: SvelteKitEvent, options?: GuardOptions) => Promise<string>
  /** Lets only requests pass whose user has signed in that recently. @returns the user's id. */
  readonly requireFresh: (event: SvelteKitEvent, options: FreshGuardOptions) => Promise<string>
}

/**
 * Sessions for SvelteKit 2 and 3. What fails is thrown, saving included, and so goes to `handleError` and the error page, where `sessionErrors`
 * has an answer for what sessions fail with. Whether the client speaks https, and to which host, is what the deployment adapter makes of it.
 */
export function svelteKitSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: SvelteKitSessionsOptions = {},
): SvelteKitSessions<State, ClientState, Input, ClientInput> {
  type Own = SvelteKitSessions<State, ClientState, Input, ClientInput>
  type OwnSession = Session<State, ClientState, Input, ClientInput>
  /** By requests that are made while another one is answered: its session, which a new visitor can start but once. */
  const starting = new WeakMap<Request, () => OwnSession>()
  const { property = "session" } = options
  const csrf = csrfProtection(options.csrf)

  const getSession: Own["getSession"] = ({ locals }) => {
    const choose = heldBy(locals, sessions) as (() => OwnSession) | undefined
    return found(
      choose,
      "Export the handle of svelteKitSessions from src/hooks.server.ts, before the hooks that use it.",
    )()
  }

  async function pass(
    event: SvelteKitEvent,
    within: Duration | undefined,
    to: string | undefined,
  ): Promise<string> {
    try {
      return await guard(getSession(event), within)
    } catch (error) {
      if (!(error instanceof SignInRequiredError)) throw error
    }
    turnAway(to)
  }

  return {
    getSession,
    handle: async ({ event, resolve }) => {
      if (isPrerendering(event)) {
        hold(event.locals, sessions, noVisitor)
        if (property !== false) exposeLater(event.locals, property, noVisitor)
        return resolve(event)
      }
      const { request, locals, cookies } = event
      // SvelteKit replaces it when it has answered, though a hook may redirect after that, with what was set.
      const setCookie = cookies.set.bind(cookies)
      const facts = new FetchFacts(request, FACTS)
      const own: OwnSession = sessions.open(request.headers.get("cookie"), facts)
      const outer = starting.get(request)
      let chosen: OwnSession | undefined
      const choose = (): OwnSession => (chosen ??= outer !== undefined && own.isNew ? outer() : own)
      const isOuters = (): boolean => chosen !== undefined && chosen !== own
      hold(locals, sessions, choose)
      expose(locals, property, own)
      // Whether the visitor is new is known when the cookie is opened, which nobody may need.
      if (property !== false && outer !== undefined) exposeLater(locals, property, choose)
      let isAnswered = false
      watchRequests(
        event,
        () => !isAnswered && (!own.isTouched || own.isNew),
        (inner) => void starting.set(inner, choose),
      )
      let response: Response
      try {
        await csrf?.check(facts, own, () => csrfTokenOf(request))
        response = await resolve(event)
      } catch (error) {
        if (error instanceof CsrfError) {
          await abandon(own)
          return refusal(event, failureOf(error) as Failure)
        }
        if (isOuters()) throw error
        throw await end(error, own, setCookie)
      } finally {
        isAnswered = true
      }
      return isOuters() ? response : finishResponse(response, own)
    },
    requireUser: (event, { redirectTo } = {}) => pass(event, undefined, redirectTo),
    requireFresh: async (event, { within, redirectTo }) => pass(event, freshness(within), redirectTo),
  }
}

/**
 * A `handle` hook that answers what sessions fail with: 503 with `Retry-After` while the store is unavailable, also where SvelteKit has made an
 * error page of it. First in the `sequence`, together with `withSessionErrors`, if you want that.
 */
export const sessionErrors: SvelteKitHandle = async ({ event, resolve }) => {
  let response: Response
  try {
    response = await resolve(event)
  } catch (error) {
    const failure = failureOf(error)
    if (failure === undefined) throw error
    return refusal(event, failure)
  }
  const failure = failures.get(event.locals)
  // The status is SvelteKit's where `handleError` has none to give, before version 3.
  if (failure === undefined || (response.status !== failure.status && response.status !== 500))
    return response
  const headers = new Headers(response.headers)
  for (const [name, value] of Object.entries(failure.headers)) headers.set(name, value)
  return new Response(response.body, { status: failure.status, headers })
}

/**
 * A `handleError` hook that tells the status of what sessions fail with, 503, 401 or 403, and for everything else what yours says.
 * @param handleError is told all errors, so that it can log them
 */
export function withSessionErrors<Input extends SvelteKitCaughtError, Body>(
  handleError: (input: Input) => Body,
): (input: Input) => Body {
  return (input) => {
    const { error: cause } = input
    // SvelteKit has no errors for what it understands.
    const body = handleError(
      turnedAway.has(Object(cause) as object)
        ? { ...input, error: new SessionError(NOT_UNDERSTOOD, { cause }) }
        : input,
    )
    const failure = failureOf(input.error)
    if (failure === undefined) return body
    failures.set(input.event.locals, failure)
    const { status, message } = failure
    const complete = (own: unknown): object => ({ ...(own as object | undefined), status, message })
    return (body instanceof Promise ? body.then(complete) : complete(body)) as Body
  }
}

/** What `handleError` uses of what it is given. */
export interface SvelteKitCaughtError {
  readonly error: unknown
  readonly event: SvelteKitEvent
}

/** An error that has an answer of its own. */
interface Failure {
  readonly status: number
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

/** What SvelteKit has made an error page of, by the `locals` of the event. */
const failures = new WeakMap<object, Failure>()

function failureOf(error: unknown): Failure | undefined {
  const { status, headers, body } = errorResponse(error)
  if (status === 500) return undefined
  const { "Content-Type": _, ...others } = headers ?? {}
  return { status, headers: others, message: String(body).trim() }
}

/** In the form that the client awaits: navigations and enhanced forms read JSON. */
function refusal(event: SvelteKitHandleEvent, { status, message, headers }: Failure): Response {
  const { headers: asked } = event.request
  const error = { status, message }
  if (asked.has("x-sveltekit-action")) {
    return Response.json({ type: "error", status, error }, { status, headers })
  }
  const wantsJson = event.isDataRequest || /^application\/json\b/.test(asked.get("accept") ?? "")
  return wantsJson
    ? Response.json(error, { status, headers })
    : new Response(`${message}\n`, { status, headers })
}

const FACTS = {
  httpsSetting:
    "PROTOCOL_HEADER=x-forwarded-proto HOST_HEADER=x-forwarded-host, or the origin itself (paths.origin of SvelteKit 3, ORIGIN before)",
}

/** What guards have thrown to turn somebody away. */
const turnedAway = new WeakSet<object>()

/** Throws SvelteKit's redirect or error, which says what is wrong should SvelteKit not know it for one. */
function turnAway(to: string | undefined): never {
  try {
    if (to !== undefined) redirect(303, locationOf(to))
    httpError(401, "Unauthorized")
  } catch (thrown) {
    // A path that is none is an error of SvelteKit's that says so.
    if ("status" in Object(thrown)) {
      turnedAway.add(thrown as object)
      // Where there is no `handleError`, SvelteKit logs this.
      Object.defineProperty(thrown, "toString", { value: () => NOT_UNDERSTOOD })
    }
    throw thrown
  }
}

const NOT_UNDERSTOOD =
  'SvelteKit has not understood the redirect or error of a guard. Unless a promise that a page streams has thrown it, where it is too late, the build has left this library out, and so it has another SvelteKit than the application. Have it bundled, by { ssr: { noExternal: ["coatcheck"] } } in vite.config.ts.'

/** In place of a session, where pages are made when the application is built. */
function noVisitor(): never {
  throw new SessionError(NO_VISITOR)
}

const NO_VISITOR =
  "This page is prerendered: there is no visitor whose session it could show. Set `export const prerender = false` for it, or ask `building` first."

/** SvelteKit tells libraries no other way: of a page that is prerendered, `url.search` must not be read, for there is none. */
function isPrerendering({ url }: SvelteKitHandleEvent): boolean {
  try {
    return typeof url.search !== "string"
  } catch {
    return true
  }
}

/** Puts into `locals` what is found out when it is asked for. */
function exposeLater(locals: object, property: string, get: () => unknown): void {
  Object.defineProperty(locals, property, { configurable: true, get })
}

/** Tells of the requests that SvelteKit may answer itself, with an event of their own, as long as `isWanted`. */
function watchRequests(
  event: SvelteKitHandleEvent,
  isWanted: () => boolean,
  tell: (request: Request) => void,
): void {
  const { fetch } = event
  const watched: typeof fetch = (input, init) => {
    const request = isWanted() ? ownRequest(event, input, init) : undefined
    if (request === undefined) return fetch(input, init)
    tell(request)
    return fetch(request)
  }
  Object.assign(event, { fetch: watched })
}

/** The request, if it is to the application itself, with the visitor's cookies. Undefined also for what is none, which is for SvelteKit to say. */
function ownRequest(
  { url }: SvelteKitHandleEvent,
  input: RequestInfo | URL,
  init: RequestInit | undefined,
): Request | undefined {
  try {
    const isRequest = input instanceof Request
    const to = new URL(isRequest ? input.url : input, url)
    const { credentials = "same-origin" } = isRequest ? input : (init ?? {})
    if (credentials === "omit" || to.origin !== url.origin) return undefined
    if (isRequest) return input
    // SvelteKit reads both, but for some runtimes a request has neither: see its own `fetch`.
    return Object.defineProperties(new Request(to, init), {
      credentials: { value: credentials },
      mode: { value: init?.mode ?? "cors" },
    })
  } catch {
    return undefined
  }
}

type SetCookie = SvelteKitHandleEvent["cookies"]["set"]

/**
 * Ends the session of a request that `resolve`, or a hook behind ours, has failed.
 * @returns what is to be thrown on
 */
async function end(error: unknown, session: Pick<Session, "finalize">, set: SetCookie): Promise<unknown> {
  if (!looksLikeRedirect(error)) {
    await abandon(session)
    return error
  }
  const { headers, setCookie } = await session.finalize({ status: error.status })
  // SvelteKit makes the redirect, in the form that the client awaits. It adds the cookies that are set, and no other headers.
  if (setCookie !== undefined) putCookie(setCookie, set)
  return headers.length === 0 ? error : temporary(error)
}

/** Not by its class, for the build may give this library another SvelteKit than the application has. */
function looksLikeRedirect(error: unknown): error is { status: number } {
  const { status, location } = Object(error) as { status?: unknown; location?: unknown }
  return typeof location === "string" && typeof status === "number" && status >= 300 && status <= 308
}

/** The same redirect for this visitor alone: permanent ones are kept by caches that nobody forbids it. */
function temporary(thrown: { status: number }): object {
  const status = { 300: 302, 301: 302, 308: 307 }[thrown.status]
  if (status === undefined) return thrown
  const copy = Object.create(Object.getPrototypeOf(thrown) as object) as object
  return Object.assign(copy, thrown, { status })
}

function putCookie(line: string, set: SetCookie): void {
  const [pair = "", ...attributes] = line.split("; ")
  const [name, value] = pairOf(pair)
  const given = new Map(attributes.map(pairOf).map(([key, text]) => [key.toLowerCase(), text]))
  const domain = given.get("domain")
  const maxAge = given.get("max-age")
  const expires = given.get("expires")
  const sameSite = given.get("samesite")?.toLowerCase()
  const priority = given.get("priority")?.toLowerCase()
  set(name, value, {
    path: given.get("path") ?? "/",
    ...(domain === undefined ? undefined : { domain }),
    ...(maxAge === undefined ? undefined : { maxAge: Number(maxAge) }),
    ...(expires === undefined ? undefined : { expires: new Date(expires) }),
    ...(sameSite === undefined ? undefined : { sameSite: sameSite as "lax" }),
    ...(priority === undefined ? undefined : { priority: priority as "low" }),
    httpOnly: given.has("httponly"),
    secure: given.has("secure"),
    partitioned: given.has("partitioned"),
    encode: (text) => text,
  })
}

function pairOf(text: string): [name: string, value: string] {
  const at = text.indexOf("=")
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)]
}

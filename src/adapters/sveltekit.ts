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
  /** By requests that are made while one of a new visitor is answered: its session, which only one of them can start. */
  const starting = new WeakMap<Request, OwnSession>()
  const { property = "session" } = options
  const csrf = csrfProtection(options.csrf)

  const getSession: Own["getSession"] = ({ locals }) => {
    const session = heldBy(locals, sessions)
    if (session === PRERENDERED) throw new SessionError(NO_VISITOR)
    return found(
      session as OwnSession | undefined,
      "Export the handle of svelteKitSessions from src/hooks.server.ts, before the hooks that use it.",
    )
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
      refused.add(event.locals)
      if (to !== undefined) redirect(303, to)
      httpError(401, "Unauthorized")
    }
  }

  return {
    getSession,
    handle: async ({ event, resolve }) => {
      if (isPrerendering(event)) {
        hold(event.locals, sessions, PRERENDERED)
        if (property !== false) refuse(event.locals, property)
        return resolve(event)
      }
      const { request, locals } = event
      const facts = new FetchFacts(request, FACTS)
      const open = (): OwnSession => sessions.open(request.headers.get("cookie"), facts)
      const outer = starting.get(request)
      const isShared = outer !== undefined && open().isNew
      const session = isShared ? outer : open()
      hold(locals, sessions, session)
      expose(locals, property, session)
      let isAnswered = false
      watchRequests(event, (inner) => {
        if (!isAnswered && open().isNew) starting.set(inner, session)
      })
      let response: Response
      try {
        await csrf?.check(facts, session, () => csrfTokenOf(request))
        response = await resolve(event)
      } catch (error) {
        if (!isShared) await end(error, event, session)
        if (error instanceof CsrfError) return refusal(event, failureOf(error) as Failure)
        throw error
      }
      isAnswered = true
      if (response.status === 500 && refused.has(locals)) throw new SessionError(FOREIGN)
      return isShared ? response : finishResponse(response, session)
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
    const body = handleError(input)
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

/** The `locals` of events that a guard has turned away. */
const refused = new WeakSet<object>()

const FOREIGN =
  'SvelteKit has not understood the redirect or error of a guard: the build has left this library out, and so it has another SvelteKit than the application. Have it bundled, by { ssr: { noExternal: ["coatcheck"] } } in vite.config.ts.'

/** In place of a session, where pages are made when the application is built. */
const PRERENDERED = {}

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

function refuse(locals: object, property: string): void {
  Object.defineProperty(locals, property, {
    configurable: true,
    get() {
      throw new SessionError(NO_VISITOR)
    },
  })
}

/** Undefined for what is none, which is for SvelteKit to say. */
function requestOf(
  { url }: SvelteKitHandleEvent,
  input: RequestInfo | URL,
  init: RequestInit | undefined,
): Request | undefined {
  try {
    return input instanceof Request ? input : new Request(new URL(input, url), init)
  } catch {
    return undefined
  }
}

/** Tells of the requests that SvelteKit may answer itself, with an event of their own. */
function watchRequests(event: SvelteKitHandleEvent, tell: (request: Request) => void): void {
  const { fetch } = event
  const watched: typeof fetch = (input, init) => {
    const request = requestOf(event, input, init)
    if (request === undefined) return fetch(input, init)
    // Without cookies it is anybody's.
    if (request.credentials !== "omit" && new URL(request.url).origin === event.url.origin) tell(request)
    return fetch(request)
  }
  Object.assign(event, { fetch: watched })
}

/** Ends the session of a request that `resolve`, a hook behind ours or the check of its origin has failed. */
async function end(
  error: unknown,
  event: SvelteKitHandleEvent,
  session: Pick<Session, "finalize">,
): Promise<void> {
  if (!looksLikeRedirect(error)) {
    await abandon(session)
    return
  }
  const { setCookie } = await session.finalize({ status: error.status })
  // SvelteKit makes the redirect, in the form that the client awaits, and adds what was set here.
  if (setCookie !== undefined) putCookie(event, setCookie)
}

/** Not by its class, for the build may give this library another SvelteKit than the application has. */
function looksLikeRedirect(error: unknown): error is { status: number } {
  const { status, location } = Object(error) as { status?: unknown; location?: unknown }
  return typeof location === "string" && typeof status === "number" && status >= 300 && status <= 308
}

function putCookie({ cookies }: SvelteKitHandleEvent, line: string): void {
  const [pair = "", ...attributes] = line.split("; ")
  const [name, value] = pairOf(pair)
  const given = new Map(attributes.map(pairOf).map(([key, text]) => [key.toLowerCase(), text]))
  const domain = given.get("domain")
  const maxAge = given.get("max-age")
  const expires = given.get("expires")
  const sameSite = given.get("samesite")?.toLowerCase()
  const priority = given.get("priority")?.toLowerCase()
  cookies.set(name, value, {
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

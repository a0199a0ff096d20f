import type { Session, Sessions } from "../api.ts"
import { csrfProtection, csrfTokenOf } from "../csrf.ts"
import { SessionError, SignInRequiredError } from "../errors.ts"
import { abandon, FetchFacts, finishResponse } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { applyFinalized, headersTarget } from "../headers.ts"
import { sessionErrorResponse } from "../refusal.ts"
import {
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  MOUNTED_TWICE,
  type PropertyOptions,
} from "./shared-adapter.ts"

export type { FreshGuardOptions, GuardOptions }

/** What finds a request's session: the `Astro` of pages and components, the context of endpoints, actions and middleware. */
export interface AstroRequest {
  readonly locals: object
  readonly isPrerendered: boolean
}

/** What is used of the context that Astro hands to a middleware. */
export interface AstroContext extends AstroRequest {
  readonly request: Request
}

/** A middleware of Astro, for `onRequest` and `sequence`. */
export type AstroMiddleware = (context: AstroContext, next: () => Promise<Response>) => Promise<Response>

export interface AstroSessionsOptions extends PropertyOptions<string> {
  /**
   * Whether the head of an HTML page may be sent before its last component has run. Default `"unless-used"`: a page that has not used its session
   * when its frontmatter has run is streamed; of any other, every component may read and change the session, however late it runs. With `true`
   * all are streamed, and only what runs before the first byte may change the session; with `false` none is.
   */
  readonly streaming?: boolean | "unless-used" | undefined
}

/** The sessions of an Astro application. Its members may be taken out of it. */
export interface AstroSessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `Astro.locals.session`, and saves it before the head of the response leaves. */
  readonly onRequest: AstroMiddleware
  /** The session of a request, typed. @throws {SessionError} if onRequest has not run, or the page is prerendered. */
  readonly getSession: (request: AstroRequest) => Session<State, ClientState, Input, ClientInput>
  /**
   * Who is signed in. With `redirectTo`, onRequest answers with a redirect if nobody is, as long as nothing has been sent.
   * @throws {SignInRequiredError}
   */
  readonly requireUser: (request: AstroRequest, options?: GuardOptions) => Promise<string>
  /** Who has signed in that recently; else as `requireUser`. */
  readonly requireFresh: (request: AstroRequest, options: FreshGuardOptions) => Promise<string>
}

/** Sessions for Astro 7, on-demand rendering. What fails is thrown, saving included, and so becomes Astro's page for status 500. */
export function astroSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: AstroSessionsOptions = {},
): AstroSessions<State, ClientState, Input, ClientInput> {
  type Own = Session<State, ClientState, Input, ClientInput>
  const { property = "session", streaming = "unless-used" } = options
  const csrf = csrfProtection(options.csrf)
  // By their locals, which pages, components and actions of a request all have, while each is given another context.
  const visits = new WeakMap<object, Visit<Own>>()

  function getSession(request: AstroRequest): Own {
    const visit = visits.get(request.locals)
    if (visit?.isShared === true) throw new SessionError(SHARED_LOCALS)
    return found(visit?.session, request.isPrerendered ? PRERENDERED : NOT_MOUNTED)
  }

  /** Opens a session, and makes it the one of a request. */
  function open(context: AstroContext, cookies = cookiesOf(context.request)): Visit<Own> {
    const { request } = context
    const facts = new FetchFacts(request, { httpsSetting: HTTPS_SETTING })
    const session = sessions.open(cookies, facts)
    expose(context.locals, property, session)
    const visit = { context, request, facts, session }
    visits.set(context.locals, visit)
    return visit
  }

  /** Opens it once more for an error page, for the first one is finished. */
  async function reopen(context: AstroContext, earlier: Visit<Own>): Promise<Visit<Own>> {
    if (property !== false) Reflect.deleteProperty(context.locals, property)
    return open(context, await cookiesAfter(earlier))
  }

  async function answer(visit: Visit<Own>, next: () => Promise<Response>): Promise<Response> {
    try {
      const response = await next()
      const mayStream = streaming === "unless-used" ? !visit.session.isTouched : streaming
      return mayStream ? response : await whole(response)
    } catch (error) {
      const location = redirects.get(error as object)
      if (location !== undefined) return new Response(null, { status: 303, headers: { Location: location } })
      await abandon(visit.session)
      throw error
    }
  }

  async function run(
    visit: Visit<Own>,
    next: () => Promise<Response>,
    earlier?: Visit<Own>,
  ): Promise<Response> {
    try {
      const response = await answer(visit, next)
      visit.response = await finishResponse(response, visit.session)
      if (earlier?.response !== undefined) await tellToo(earlier.response, visit.session)
      return visit.response
    } finally {
      visit.isOver = true
      mark(visit.request)
    }
  }

  async function guarding(
    request: AstroRequest,
    within: FreshGuardOptions["within"] | undefined,
    to: string | undefined,
  ): Promise<string> {
    try {
      return await guard(getSession(request), within)
    } catch (error) {
      if (to !== undefined && error instanceof SignInRequiredError) redirects.set(error, locationOf(to))
      throw error
    }
  }

  return {
    getSession,
    async onRequest(context, next) {
      if (context.isPrerendered) {
        if (property !== false)
          refuse(context.locals, property, `This request has no session. ${PRERENDERED}`)
        return next()
      }
      const earlier = visits.get(context.locals)
      if (earlier === undefined) {
        const visit = open(context)
        return run(visit, async () => {
          await csrf?.check(visit.facts, visit.session, () => csrfTokenOf(context.request))
          return next()
        })
      }
      if (!isSameRequest(earlier, context)) {
        // From now on whoever looks there would find another visitor's session.
        earlier.isShared = true
        if (property !== false) refuse(context.locals, property, SHARED_LOCALS)
        throw new SessionError(SHARED_LOCALS)
      }
      // An error page, or another locale's, after the one that was to be shown.
      if (earlier.isOver === true) return run(await reopen(context, earlier), next, earlier)
      if (earlier.context === context) throw new SessionError(MOUNTED_TWICE)
      // A rewrite: its response is that of the page which asked for it.
      return next()
    },
    requireUser: (request, { redirectTo } = {}) => guarding(request, undefined, redirectTo),
    requireFresh: (request, { within, redirectTo }) => guarding(request, freshness(within), redirectTo),
  }
}

/**
 * A middleware that answers what sessions fail with: 503 with `Retry-After` while the store is unavailable, 401, 403. Put it before onRequest:
 * `sequence(sessionErrors, onRequest)`.
 */
export const sessionErrors: AstroMiddleware = async (_context, next) => {
  try {
    return await next()
  } catch (error) {
    const response = sessionErrorResponse(error)
    // What is a mistake in the program is for Astro to log, and for its page for 500.
    if (response === undefined || response.status === 500) throw error
    return response
  }
}

/** Where the errors of guards lead. Of all sessions, so that the innermost answers, and the others are saved with its answer. */
const redirects = new WeakMap<object, string>()

const NOT_MOUNTED = "Export the onRequest of astroSessions from src/middleware.ts."
const PRERENDERED =
  "The page is prerendered, for everybody alike. Add `export const prerender = false` to it, or move what is personal to a server island."
const SHARED_LOCALS =
  "These locals belong to another request: hand the handler of the Node adapter a new object for each, handler(request, response, next, {})."

const HTTPS_SETTING = 'security: { allowedDomains: [{ hostname: "shop.example" }] } in astro.config'

/** What is remembered of a request. Astro may run its middleware several times for one: for rewrites, and for error pages. */
interface Visit<S> {
  readonly context: AstroContext
  /** What the context began with: for a rewrite Astro gives it another. */
  readonly request: Request
  readonly facts: FetchFacts
  readonly session: S
  response?: Response
  isOver?: boolean
  isShared?: boolean
}

type Finalizable = Pick<Session, "finalize">

/**
 * Whether a run of the middleware goes on with the request of an earlier one with the same locals. Locals that requests share look the same, so
 * only what no other request can have counts: whatever proves nothing is another visitor's.
 */
function isSameRequest(earlier: Visit<unknown>, context: AstroContext): boolean {
  if (earlier.isShared === true) return false
  const state = stateOf(context)
  if (state !== undefined && state === stateOf(earlier.context)) return true
  return isMarkedAs(earlier.request, context.request) || context.request === earlier.request
}

/** Astro's own record of a request, which outlives rewrites, if this Astro has one. */
function stateOf(context: AstroContext): object | undefined {
  const state: unknown = Reflect.get(context, Symbol.for("astro.fetchState"))
  return typeof state === "object" && state !== null ? state : undefined
}

/** What tells Astro's copies of a request from other requests. No client knows the mark of a request, not even its own. */
const marks = new WeakMap<Request, string>()
const MARK = "coatcheck-request"

/**
 * Marks a request that has been answered: behind a proxy, Astro gives its error page a copy of it, and of all that a copy takes along only the
 * headers can carry something.
 */
function mark(request: Request): void {
  if (marks.has(request)) return
  const own = crypto.randomUUID()
  try {
    request.headers.set(MARK, own)
    marks.set(request, own)
  } catch (error) {
    // Headers of a request as a platform made it cannot be changed: Astro has not copied it, nor will it.
    if (!(error instanceof TypeError)) throw error
  }
}

function isMarkedAs(answered: Request, request: Request): boolean {
  const own = marks.get(answered)
  if (own === undefined) return false
  if (request.headers.get(MARK) === own) {
    // Remembered for sessions of another kind, and out of sight of the page.
    marks.set(request, own)
    request.headers.delete(MARK)
  }
  return marks.get(request) === own
}

function cookiesOf(request: Request): string | null {
  return request.headers.get("cookie")
}

/** The `Cookie` header as the client would send it after the response so far. */
async function cookiesAfter({ request, session, response }: Visit<Finalizable>): Promise<string | null> {
  const header = cookiesOf(request)
  if (response === undefined) return header
  const { setCookie } = await session.finalize()
  const [pair] = setCookie?.split(";", 1) ?? []
  if (pair === undefined) return header
  const name = pair.slice(0, pair.indexOf("=") + 1)
  const others = (header ?? "").split(";").filter((each) => !each.trim().startsWith(name))
  return [...others, ...(pair === name ? [] : [pair])].join(";")
}

/** To the response that led to an error page: Astro keeps its headers, and of the page's those that it lacks, and the cookies. */
async function tellToo(response: Response, session: Finalizable): Promise<void> {
  const { headers } = await session.finalize()
  try {
    applyFinalized(headersTarget(response.headers), {
      headers: headers.filter(({ name }) => name !== "Set-Cookie"),
    })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
}

/** A page that has been made to its end, other responses as they are. */
async function whole(response: Response): Promise<Response> {
  if (response.body === null || !/^text\/html\b/i.test(response.headers.get("content-type") ?? ""))
    return response
  return new Response(await response.arrayBuffer(), response)
}

/** Whoever looks for a session in these locals is told why there is none. */
function refuse(locals: object, property: string, message: string): void {
  Object.defineProperty(locals, property, {
    configurable: true,
    get() {
      throw new SessionError(message)
    },
  })
}

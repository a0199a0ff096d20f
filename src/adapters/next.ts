import { refresh } from "next/cache.js"
import { cookies, headers } from "next/headers.js"
import { type NextFetchEvent, type NextRequest, NextResponse } from "next/server.js"
import type { Finalized, Session, Sessions } from "../api.ts"
import { CSRF_FIELD, CSRF_HEADER, csrfProtection, csrfTokenOf } from "../csrf.ts"
import { SessionError } from "../errors.ts"
import { abandon, FetchFacts, finishResponse, type WebRequest, withFinalized } from "../fetch.ts"
import { freshness } from "../guards.ts"
import { sessionErrorResponse } from "../refusal.ts"
import {
  type AdapterOptions,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  heldBy,
  hold,
  release,
} from "./shared-adapter.ts"

export type { FreshGuardOptions, GuardOptions }

export interface NextSessionsOptions extends AdapterOptions {
  /**
   * Answers what a route handler or a proxy function fails with, the saving of its session included. What it leaves undefined is thrown on,
   * and Next.js answers 500. What a handler has changed before it failed is dropped, as for a status of 500, whatever this answers.
   * Default: 503 while the store is unavailable, 401 where somebody must sign in first, 403 for a cross-site request.
   */
  readonly onError?:
    | ((error: unknown, request: NextRequest) => Response | undefined | Promise<Response | undefined>)
    | undefined
}

/** What a proxy function of Next.js may return. */
export type ProxyResult = Response | null | undefined | void

/** The sessions of a Next.js application. Its members may be taken out of it. */
export interface NextSessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Gives a route handler its session, and saves it before the answer leaves; `redirect()` and `notFound()` of Next.js included. */
  readonly withSession: <Context = unknown>(
    handler: (
      session: Session<State, ClientState, Input, ClientInput>,
      request: NextRequest,
      context: Context,
    ) => Response | Promise<Response>,
  ) => (request: NextRequest, context: Context) => Promise<Response>
  /** Gives a server action its session, and saves it before the action answers, redirects, or has its page rendered anew. */
  readonly withSessionAction: <Args extends unknown[], Result>(
    action: (
      session: Session<State, ClientState, Input, ClientInput>,
      ...args: Args
    ) => Result | Promise<Result>,
  ) => (...args: Args) => Promise<Result>
  /**
   * Extends sessions whose pages are looked at, which server components cannot, and gives your own proxy function the session, if there is one.
   * What a GET changes in it, the page that is then rendered sees.
   */
  readonly withSessionProxy: (
    proxy?: (
      session: Session<State, ClientState, Input, ClientInput>,
      request: NextRequest,
      event: NextFetchEvent,
    ) => ProxyResult | Promise<ProxyResult>,
  ) => (request: NextRequest, event: NextFetchEvent) => Promise<Response>
  /**
   * The session of the request under way. In server components it can only be read, and costs one load however many ask for it;
   * below the three others it is theirs.
   */
  readonly getSession: () => Promise<Session<State, ClientState, Input, ClientInput>>
  /** The id of the user that is signed in. @throws {SignInRequiredError} or redirects, if nobody is. */
  readonly requireUser: (options?: GuardOptions) => Promise<string>
  /** The id of the user that has signed in that recently. @throws {SignInRequiredError} or redirects, if nobody has. */
  readonly requireFresh: (options: FreshGuardOptions) => Promise<string>
}

const FACTS = {
  // Next.js sets X-Forwarded-* itself where no proxy has, and so do its hosts.
  trustProxy: true,
  httpsSetting: "have it send X-Forwarded-Proto: https",
} as const
const IN_COMPONENTS =
  "a server component sends no cookies, so change it in a server action (withSessionAction), a route handler (withSession) or the proxy (withSessionProxy)"
const IN_STATIC =
  'this answer is made once and kept for everybody (dynamic = "force-static"), so have the route rendered for each request'
const IN_PROXY =
  "the answer to anything but GET is a server action's or a route handler's, so change it there"
const ELSEWHERE =
  "A proxy function changed the session and rewrote to another origin, which would be sent the new cookie by Next.js. Change the session in another request, or redirect."
const AFTER_ACTION =
  "Next.js fetches the page that a server action redirects to by itself, and drops the cookies of its answer, so no session can begin or change its cookie here. The browser asks again."
const NESTED =
  "This request already has a session of these sessions: withSession, withSessionAction and withSessionProxy cannot be nested. Hand the session on, or use getSession."

/** Sessions for the App Router of Next.js 16. */
export function nextSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: NextSessionsOptions = {},
): NextSessions<State, ClientState, Input, ClientInput> {
  type Own = NextSessions<State, ClientState, Input, ClientInput>
  type OwnSession = Session<State, ClientState, Input, ClientInput>
  const csrf = csrfProtection(options.csrf)
  const { onError = defaultAnswer } = options
  const readable = new WeakMap<object, OwnSession>()

  const getSession: Own["getSession"] = async () => {
    const [head, jar] = await Promise.all([headers(), cookies()])
    const known = (heldBy(jar, sessions) as OwnSession | undefined) ?? readable.get(jar)
    if (known !== undefined) return known
    const facts = new FetchFacts(requestOf("GET", head), { ...FACTS, readOnly: IN_COMPONENTS })
    const session = sessions.open(currentCookies(head.get("cookie"), jar), facts)
    readable.set(jar, session)
    return session
  }

  const withSession: Own["withSession"] = (handler) => async (request, context) => {
    const jar = await jarIfAny()
    const facts =
      jar !== undefined && (await isForEverybody())
        ? new FetchFacts(requestOf("GET", request.headers), { ...FACTS, readOnly: IN_STATIC })
        : new FetchFacts(request, FACTS)
    const session = sessions.open(request.headers.get("cookie"), facts)
    hold(jar ?? request, sessions, session, NESTED)
    const response = await answer(request, session, async () => {
      await csrf?.check(facts, session, () => csrfTokenOf(request))
      return handler(session, request, context)
    })
    try {
      return await finishResponse(response, session)
    } catch (error) {
      return refuse(error, request)
    }
  }

  /**
   * What comes of a handler: what it returns, or what becomes of what it throws.
   * @param base what the addresses that it leads to are relative to, where they have to be complete
   */
  async function answer<T>(
    request: NextRequest,
    session: OwnSession,
    handle: () => Promise<T>,
    base?: string,
  ): Promise<T | Response> {
    try {
      return await handle()
    } catch (error) {
      const navigation = navigationOf(error)
      if (navigation !== undefined) return responseOf(navigation, base)
      try {
        // Next.js may come to throw more of its own, which is nobody else's to answer.
        if (digestOf(error)?.startsWith("NEXT_") === true) throw error
        const response = await refuse(error, request)
        // Whatever it is answered with, it has failed. Who sends the answer is told if this fails as well.
        await session.finalize({ status: 500 }).catch(() => undefined)
        return response
      } catch (unanswered) {
        await abandon(session)
        throw unanswered
      }
    }
  }

  async function refuse(error: unknown, request: NextRequest): Promise<Response> {
    const response = await onError(error, request)
    if (response === undefined) throw error
    return response
  }

  const withSessionAction: Own["withSessionAction"] =
    (action) =>
    async (...args) => {
      const [head, jar] = await Promise.all([headers(), cookies()])
      const facts = new FetchFacts(requestOf("POST", head), FACTS)
      const session = sessions.open(currentCookies(head.get("cookie"), jar), facts)
      hold(jar, sessions, session, NESTED)
      try {
        await csrf?.check(facts, session, () => head.get(CSRF_HEADER) ?? fieldOf(args))
        const result = await action(session, ...args)
        await finishAction(jar, session, 200)
        return result
      } catch (error) {
        const status = navigationOf(error)?.status
        // A redirect must not overtake its save; of two failures the action's is the one to tell.
        const finished = finishAction(jar, session, status ?? 500)
        await (status === undefined ? finished.catch(() => undefined) : finished)
        throw error
      } finally {
        // Who asks from here on opens it anew, and so sees what was saved.
        release(jar, sessions)
        readable.delete(jar)
      }
    }

  async function finishAction(jar: Jar, session: OwnSession, status: number): Promise<void> {
    const isChanged = session.isModified && status < 500
    const cookie = parsedCookie(await session.finalize({ status }))
    if (cookie !== undefined) jar.set(cookie)
    else if (isChanged) refreshPage()
  }

  const withSessionProxy: Own["withSessionProxy"] = (proxy) => async (request, event) => {
    const isPage = request.method === "GET"
    const facts = new FetchFacts(request, isPage ? FACTS : { ...FACTS, readOnly: IN_PROXY })
    const session = sessions.open(request.headers.get("cookie"), facts)
    hold((await jarIfAny()) ?? request, sessions, session, NESTED)
    const isAfterAction = request.headers.has("x-action-redirect")
    if (isAfterAction) refuseRotation(session)
    const isLookedAt = isPage && !isPrefetch(request)
    let isUsed = false
    const handle = async (): Promise<ProxyResult> => {
      let result: ProxyResult
      try {
        result = await proxy?.(session, request, event)
      } finally {
        isUsed = session.isTouched
      }
      if (isLookedAt && !session.isModified) await loadIfPossible(session)
      return result
    }
    const response = (await answer(request, session, handle, request.url)) ?? NextResponse.next()
    const isChanged = session.isModified
    const leadsAway = leadsElsewhere(response, request)
    try {
      if (isChanged && leadsAway) throw await refusal(session, ELSEWHERE)
      if (isChanged && isAfterAction && session.isNew) throw await refusal(session, AFTER_ACTION)
      const finalized = await session.finalize({ status: response.status })
      if (leadsAway) return isUsed ? withFinalized(response, withoutCookie(finalized)) : response
      const cookie = parsedCookie(finalized)
      // Whether a page depends on the session, the page says, but which page it is has been decided here.
      if (cookie === undefined && (!isUsed || isPlainNext(response))) return response
      if (cookie !== undefined && leadsOn(response)) forward(cookie, request, response)
      return withFinalized(response, finalized)
    } catch (error) {
      // A page need not fail because its session could not be extended.
      if (!isChanged && isA(error, STORE)) return response
      return refuse(error, request)
    }
  }

  async function guarding(
    within: FreshGuardOptions["within"] | undefined,
    to: string | undefined,
  ): Promise<string> {
    try {
      return await guard(await getSession(), within)
    } catch (error) {
      if (to !== undefined && isA(error, SIGN_IN_REQUIRED)) throw redirection(to)
      throw error
    }
  }

  return {
    withSession,
    withSessionAction,
    withSessionProxy,
    getSession,
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: async ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

function defaultAnswer(error: unknown): Response | undefined {
  return [STORE, SIGN_IN_REQUIRED, CSRF].some((code) => isA(error, code))
    ? sessionErrorResponse(error)
    : undefined
}

// By code rather than by class, for Next.js may bundle this library several times.
const STORE = "ERR_SESSION_STORE"
const SIGN_IN_REQUIRED = "ERR_SESSION_SIGN_IN_REQUIRED"
const CSRF = "ERR_SESSION_CSRF"

function isA(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code
}

/** Gives up what a session has pending, for the error that says why. */
async function refusal(session: Pick<Session, "finalize">, why: string): Promise<SessionError> {
  await abandon(session)
  return new SessionError(why)
}

/** A browser that is not told its new ticket would be left with one that has ended. */
function refuseRotation(session: object): void {
  const refuse = (): never => {
    throw new SessionError(AFTER_ACTION)
  }
  Object.assign(session, { signIn: refuse, cycleId: refuse })
}

// Sessions are held by the cookies of their request: those that an action sees are other ones than those of the page it renders.

type Jar = Awaited<ReturnType<typeof cookies>>

/** Undefined outside of Next.js, in a test of a handler for one. */
async function jarIfAny(): Promise<Jar | undefined> {
  try {
    return await cookies()
  } catch (error) {
    if (digestOf(error) !== undefined) throw error
    return undefined
  }
}

/** Whether Next.js hides the request, its headers and its method, for the answer is kept. */
async function isForEverybody(): Promise<boolean> {
  return (await headers()).keys().next().done === true
}

// What Next.js throws to navigate. Its own functions for that are in `next/navigation`, which no name leads to in bundles and on Node.js alike.

interface Navigation {
  readonly status: number
  readonly location: string | undefined
}

const REDIRECT = /^NEXT_REDIRECT;(?:push|replace);(.*);(\d{3});?$/s
const FALLBACK = /^NEXT_HTTP_ERROR_FALLBACK;(\d{3})$/

/** What `redirect()`, `notFound()` and their like stand for. */
function navigationOf(error: unknown): Navigation | undefined {
  const digest = digestOf(error) ?? ""
  const [, location, status] = REDIRECT.exec(digest) ?? []
  if (location !== undefined) return { location, status: Number(status) }
  const [, fallback] = FALLBACK.exec(digest) ?? []
  return fallback === undefined ? undefined : { location: undefined, status: Number(fallback) }
}

/** Everything by which Next.js ends a render early has one. */
function digestOf(error: unknown): string | undefined {
  return error instanceof Error && "digest" in error ? String(error.digest) : undefined
}

/** As Next.js makes it itself, which keeps no headers for what is thrown. */
function responseOf({ status, location }: Navigation, base: string | undefined): Response {
  if (location === undefined) return new Response(null, { status })
  const complete = base === undefined ? location : new URL(location, base).href
  return new Response(null, { status, headers: { Location: complete } })
}

/** `redirect(to)`, but with 303: whatever the method was, signing in begins with GET. */
function redirection(to: string): Error {
  return Object.assign(new Error("NEXT_REDIRECT"), { digest: `NEXT_REDIRECT;replace;${to};303;` })
}

/** Has the page that is looked at show what an action has changed, as it would after `cookies().set`. */
function refreshPage(): void {
  try {
    refresh()
  } catch {
    // Called as a mere function, it has no page.
  }
}

async function loadIfPossible(session: { load(): Promise<unknown> }): Promise<void> {
  try {
    await session.load()
  } catch (error) {
    if (!isA(error, STORE)) throw error
  }
}

function isPrefetch({ headers: own }: NextRequest): boolean {
  return ["sec-purpose", "purpose"].some((name) => own.get(name)?.includes("prefetch") === true)
}

// Cookies, as Next.js has them.

type Cookie = NonNullable<ReturnType<NextResponse["cookies"]["get"]>>

function parsedCookie({ setCookie }: Finalized): Cookie | undefined {
  if (setCookie === undefined) return undefined
  const [cookie] = new NextResponse(null, { headers: { "Set-Cookie": setCookie } }).cookies.getAll()
  // Its parser drops empty values.
  return cookie === undefined ? undefined : { ...cookie, value: cookie.value ?? "" }
}

/** The cookies that came in, as raw as they came, but for those that this request has changed since. */
function currentCookies(header: string | null, jar: Jar): string | null {
  const came = new Set(pairsOf(header))
  let current = header
  for (const { name, value: given } of jar.getAll()) {
    const value = given ?? ""
    const isSame = came.has(`${name}=${value}`) || came.has(pairOf({ name, value }))
    if (!isSame) current = withCookie(current, { name, value })
  }
  return current
}

function withCookie(header: string | null, cookie: { name: string; value: string }): string {
  const others = pairsOf(header).filter((pair) => !pair.startsWith(`${cookie.name}=`))
  return (cookie.value === "" ? others : [...others, pairOf(cookie)]).join("; ")
}

function pairOf({ name, value }: { name: string; value: string }): string {
  return `${name}=${encodeURIComponent(value)}`
}

function pairsOf(header: string | null): string[] {
  return (header ?? "").split(/;\s*/).filter((pair) => pair !== "")
}

/** Whether a proxy's answer is for a page, or a route handler, to be completed. */
function leadsOn({ headers: own }: Response): boolean {
  return own.has("x-middleware-next") || own.has("x-middleware-rewrite")
}

function isPlainNext({ headers: own }: Response): boolean {
  return own.has("x-middleware-next") && !own.has("x-middleware-rewrite")
}

/** Whether the request goes on to another origin: with the headers of the proxy's answer, which Next.js adds to it. */
function leadsElsewhere({ headers: own }: Response, { nextUrl }: NextRequest): boolean {
  const to = own.get("x-middleware-rewrite")
  if (to === null) return false
  // In its own words, for Next.js has several for this computer.
  const destination = nextUrl.clone()
  destination.href = new URL(to, nextUrl.href).href
  return destination.origin !== nextUrl.origin
}

function withoutCookie({ headers: all }: Finalized): Finalized {
  return { headers: all.filter(({ name }) => name !== "Set-Cookie") }
}

/** Hands the new cookie to the page that is to be rendered, unless its cookies are kept from it. */
function forward(cookie: Cookie, request: NextRequest, { headers: own }: Response): void {
  const overridden = own.get("x-middleware-override-headers")?.split(",")
  const isKeptBack = overridden?.some((name) => name.trim() === "cookie") === false
  if (isKeptBack && request.headers.has("cookie")) return
  const forwarded = new Headers(
    overridden?.map((name) => [name, own.get(`x-middleware-request-${name}`) ?? ""]) ?? request.headers,
  )
  forwarded.set("cookie", withCookie(forwarded.get("cookie"), cookie))
  const override = NextResponse.next({ request: { headers: forwarded } })
  for (const [name, value] of override.headers) if (name !== "x-middleware-next") own.set(name, value)
}

function requestOf(method: string, head: WebRequest["headers"]): WebRequest {
  return { method, url: `http://${head.get("host") ?? "localhost"}/`, headers: head }
}

function fieldOf(args: readonly unknown[]): string | undefined {
  const field = args.find((arg) => arg instanceof FormData)?.get(CSRF_FIELD)
  return typeof field === "string" ? field : undefined
}

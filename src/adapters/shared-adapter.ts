import type { CsrfOptions } from "../api.ts"
import { SessionError } from "../errors.ts"
import type { Duration } from "../expiry.ts"
import { type GuardedSession, requireFresh, requireUser } from "../guards.ts"

/** What the adapters of all frameworks have in common. */
export interface AdapterOptions {
  /**
   * Refuse unsafe requests (other than GET, HEAD and OPTIONS) and WebSockets from other sites, with a `CsrfError` of status 403. Default false:
   * `SameSite=Lax` keeps cookies from most of them already.
   */
  readonly csrf?: boolean | CsrfOptions | undefined
}

/** For frameworks whose users look for the session in a property of the request or the context. */
export interface PropertyOptions<Property extends string> extends AdapterOptions {
  /** What the property is called: another name for each sessions of an application; `false` for none. Default `"session"`. */
  readonly property?: Property | false | undefined
}

/** What becomes of a request that a guard turns away. */
export interface GuardOptions {
  /** Where to send it to (303) instead of failing with a `SignInRequiredError` of status 401. */
  readonly redirectTo?: string | undefined
}

export interface FreshGuardOptions extends GuardOptions {
  /** How long ago the sign-in may be: `"5m"`, or milliseconds. */
  readonly within: Duration
}

/** What a guard checks: with `within`, how long ago the sign-in was, too. @throws {SignInRequiredError} */
export function guard(session: GuardedSession, within: Duration | undefined): Promise<string> {
  return within === undefined ? requireUser(session) : requireFresh(session, { within })
}

/** A URL as a header can carry it: what is not ASCII is encoded, what is encoded stays. */
export function locationOf(url: string): string {
  return url.replaceAll(/[^\x21-\x7e]+/gu, encodeURIComponent)
}

/** Puts a session where the framework's users look for it. @throws {SessionError} if something else is there. */
export function expose(holder: object, property: string | false, session: unknown): void {
  if (property === false) return
  const target = holder as Record<string, unknown>
  if (target[property] !== undefined && target[property] !== null) throw propertyTaken(property)
  target[property] = session
}

/** What something else is in the way of. */
export function propertyTaken(property: string): SessionError {
  return new SessionError(
    `There is already a "${property}" here, of another session library or of other sessions: give these another name, { property: "adminSession" } for one, or { property: false } and use getSession.`,
  )
}

const held = new WeakMap<object, Map<object, unknown>>()

/**
 * Remembers the session of a request, for adapters whose requests keep nothing for them.
 * @throws {SessionError} if it has a session of these sessions.
 */
export function hold(
  request: object,
  sessions: object,
  session: unknown,
  twice: string = MOUNTED_TWICE,
): void {
  let own = held.get(request)
  if (own === undefined) held.set(request, (own = new Map()))
  if (own.has(sessions)) throw new SessionError(twice)
  own.set(sessions, session)
}

/** The session that `hold` was given. */
export function heldBy(request: object, sessions: object): unknown {
  return held.get(request)?.get(sessions)
}

/** Forgets it, where what comes next of the request is to have another. */
export function release(request: object, sessions: object): void {
  held.get(request)?.delete(sessions)
}

export const MOUNTED_TWICE =
  "This request already has a session of these sessions: mount them once per request. Sessions of another kind need another createSessions, with another cookie name."

/** Headers that say something of an answer that is not sent, and would be wrong of the error page in its place. */
export const ANSWER_HEADERS: readonly string[] = [
  "accept-ranges",
  "cache-control",
  "cdn-cache-control",
  "content-digest",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-md5",
  "content-range",
  "content-type",
  "etag",
  "expires",
  "last-modified",
  "location",
  "refresh",
  "repr-digest",
  "retry-after",
  "surrogate-control",
  "trailer",
  "transfer-encoding",
]

/** What a warning of plain http advises where the proxy is believed already. */
export const PROXY_IS_TRUSTED = "let it send X-Forwarded-Proto"

/** What a warning of plain http advises where trusting a proxy is an option of the adapter. */
export function proxySetting(factory: string, trustProxy: boolean | undefined): string {
  return trustProxy === true ? PROXY_IS_TRUSTED : `${factory}(sessions, { trustProxy: true })`
}

/** @throws {SessionError} if there is none. */
export function found<T>(session: T | undefined, advice: string): T {
  if (session !== undefined) return session
  throw new SessionError(`This request has no session. ${advice}`)
}

import type { Finalized, HeaderChange, Outcome } from "./api.ts"
import {
  type CookieSettings,
  MAX_COOKIE_BYTES,
  serializeCookie,
  serializeRemoval,
} from "./cookie/attributes.ts"
import type { Ticket } from "./id.ts"
import { afterServerError, type Plan } from "./plan.ts"
import { clientText, commit, cookieSize } from "./saving.ts"
import type { Standing } from "./standing.ts"
import { Changes, Overlay } from "./state.ts"

/** Telling the response: the last save of a request, its cookie and its headers. */

export const UNTOUCHED: Finalized = Object.freeze({ headers: Object.freeze([]) })

export function finalizeSession(it: Standing, outcome: Outcome): Promise<Finalized> {
  return it.exclusively(async () => {
    const { config } = it.core
    if (it.readOnly !== undefined) return headersOf(it, undefined)
    const headersLost = outcome.headersLost === true
    it.headersLost = headersLost
    const failed = (outcome.status ?? 200) >= 500 && !config.saveOnServerError
    if (failed || headersLost) dropPending(it, outcome, failed, headersLost)
    const plan = await commit(it, { final: true })
    reportLost(it)
    return headersOf(it, setCookieOf(it, plan))
  })
}

/** Drops what a failed response must not carry out. */
function dropPending(it: Standing, outcome: Outcome, failed: boolean, headersLost: boolean): void {
  it.failed = true
  const modified = it.isModified
  const kept = afterServerError(
    {
      server: it.serverWish(it.server.changes),
      client: !it.client.changes.isEmpty,
      cycleId: it.cycle !== undefined,
      signIn: it.signIn !== undefined,
      signOut: it.signOut !== undefined,
      invalidate: it.doomed !== undefined,
    },
    headersLost,
  )
  const dropsAll = failed || it.signIn !== undefined
  const dropsCycle = it.cycle !== undefined && !kept.cycleId
  if (dropsCycle) it.cycle = undefined
  if (dropsAll) {
    it.signIn = it.expiry = it.deletion = undefined
    it.server = new Overlay(it.server.base, new Changes())
    it.client = new Overlay(it.client.base, new Changes())
    if (kept.signOut) it.clearAll()
  }
  // Nobody could be given the ticket of a session that is made now.
  const dropsNew = headersLost && it.identity === "new"
  if (modified && (dropsAll || dropsCycle || dropsNew)) {
    it.core.config.diagnostics.emit({ type: "dropped-on-error", status: outcome.status })
  }
}

/** Whatever was asked of a session that another request ended is gone, and somebody should know. */
function reportLost(it: Standing): void {
  const reason = it.dead
  if (reason === undefined || !(it.lost || it.isModified)) return
  const { config } = it.core
  config.diagnostics.emit({ type: "write-discarded", id: it.id ?? "", reason })
  if (config.throwOnLostWrite) it.assertAlive()
}

function setCookieOf(it: Standing, plan: Plan | undefined): string | undefined {
  const cookie = it.cookie as CookieSettings
  const outlives = it.deadline > (it.incoming?.expiresAt ?? 0) + 999
  if (plan?.cookie === "send" || (plan?.cookie === "refresh" && outlives)) {
    const value = sealedValue(it, cookie)
    it.client = new Overlay(it.client.result(), new Changes())
    return value
  }
  return it.removal || plan?.cookie === "remove" ? serializeRemoval(cookie) : undefined
}

function sealedValue(it: Standing, cookie: CookieSettings): string {
  const { config } = it.core
  const now = it.now
  const client = clientText(it)
  const value = config.ring.seal(cookie.name, {
    ticket: it.ticket as Ticket,
    hasRecord: it.hasRecord,
    kind: it.cookieKind,
    issuedAt: now,
    expiresAt: it.deadline,
    createdAt: it.createdAt,
    absoluteExpiresAt: it.absoluteEnd,
    bookmark: fittingBookmark(it, client),
    client,
  })
  const isPersistent = (it.cookieKind ?? config.cookie.kind) === "persistent"
  return serializeCookie(cookie, value, isPersistent ? it.deadline - now : null)
}

/** A cookie that was made when it needed no bookmark may have no room for one. It is better off without: then the primary is asked. */
function fittingBookmark(it: Standing, client: string | undefined): string | undefined {
  const { bookmark } = it
  if (bookmark === undefined) return undefined
  return cookieSize(it, client, bookmark.length) <= MAX_COOKIE_BYTES ? bookmark : undefined
}

/** The cookie is sent as configured whatever the connection; that browsers may drop it must not go unnoticed. */
function warnOfPlainHttp({ core: { config }, cookie, request }: Standing): void {
  const isPlain = cookie !== undefined && cookie === config.cookie.plainLocal
  if (!config.isProduction || (cookie?.secure !== true && !isPlain)) return
  const { secure, httpsSetting } = request
  if (secure === true || (secure === undefined && httpsSetting === undefined)) return
  const what = isPlain
    ? 'A cookie without Secure was sent, for the request seems to come from this machine itself over plain http (cookie.secure: "auto").'
    : "A Secure cookie was sent over what seems to be plain http, where browsers drop it."
  const advice =
    httpsSetting === undefined ? "" : ` If a proxy in front speaks https to clients, say so: ${httpsSetting}.`
  const otherwise = isPlain
    ? " In production cookie.secure is best true."
    : `${httpsSetting === undefined ? " Serve" : " Else serve"} the site over https.`
  config.diagnostics.warn("COATCHECK_PLAIN_HTTP", `${what}${advice}${otherwise}`)
}

function headersOf(it: Standing, setCookie: string | undefined): Finalized {
  if (setCookie === undefined && !it.reads) return UNTOUCHED
  if (setCookie !== undefined) warnOfPlainHttp(it)
  const headers: HeaderChange[] = []
  if (it.reads) headers.push({ name: "Vary", value: "Cookie", mode: "merge" })
  if (setCookie === undefined) {
    headers.push({ name: "Cache-Control", value: "private, no-cache", mode: "merge" })
    return { headers }
  }
  headers.push(
    { name: "Set-Cookie", value: setCookie, mode: "append" },
    { name: "Cache-Control", value: "no-store", mode: "set" },
    { name: "CDN-Cache-Control", value: "", mode: "set" },
    { name: "Surrogate-Control", value: "", mode: "set" },
  )
  return { headers, setCookie }
}

/** Where an agent keeps its cookies: what it uses of a `CookieJar` of tough-cookie. */
export interface AgentCookieJar {
  getCookieString(url: string, options?: { sameSiteContext?: "strict" | "lax" | "none" }): Promise<string>
  setCookie(cookie: string, url: string, options?: { ignoreError?: boolean }): Promise<unknown>
}

export interface CookieAgentOptions {
  readonly jar: AgentCookieJar
  /** What paths are relative to. Default: the base URL, or `https://localhost` for a handler. */
  readonly origin?: string | undefined
  /** Sent with every request. */
  readonly headers?: RequestInit["headers"] | undefined
}

/** Where a request comes from, as a browser would tell in `Sec-Fetch-Site`. */
export type Site = "same-origin" | "same-site" | "cross-site" | "none"

export interface AgentRequestInit extends Omit<RequestInit, "redirect"> {
  /** Sent as `Sec-Fetch-Site`; from another site, the cookies are those `SameSite` lets through. Default: not sent, all cookies. */
  readonly site?: Site | undefined
  /** Default: `"follow"`, at most twenty. */
  readonly redirect?: "follow" | "manual" | undefined
}

/** Visits pages as a browser would, one cookie jar through. */
export interface CookieAgent {
  fetch(path: string, init?: AgentRequestInit): Promise<Response>
  get(path: string, init?: AgentRequestInit): Promise<Response>
  post(path: string, body?: RequestInit["body"], init?: AgentRequestInit): Promise<Response>
  /** The cookies, by name, that a request from the same site would carry. */
  cookies(path?: string): Promise<Map<string, string>>
  /** The page the last request ended on. */
  readonly url: string
}

const MOST_REDIRECTS = 20

/**
 * Drives a `Request → Response` handler, or the server at a base URL, as a browser would: keeps cookies, and follows redirects.
 * Over plain http, prefixed cookies (`__Host-`, `__Secure-`) are neither kept nor sent, and other `Secure` ones on localhost only.
 */
export function cookieAgent(
  target: string | ((request: Request) => Response | Promise<Response>),
  { jar, origin, headers }: CookieAgentOptions,
): CookieAgent {
  const base = origin ?? (typeof target === "string" ? target : "https://localhost")
  const send = typeof target === "string" ? sendOverNetwork : target
  let current = new URL(base).href

  async function visit(start: string, init: AgentRequestInit): Promise<Response> {
    const { site, redirect = "follow", ...rest } = init
    let request: Visit = firstVisit(new URL(start, base), site, rest, headers)
    for (let redirects = 0; ; redirects++) {
      current = request.url.href
      const response = await send(await withCookies(request, jar))
      await keepCookies(response, request.url, jar)
      const location = redirect === "follow" ? locationOf(response) : null
      if (location === null) return response
      if (redirects === MOST_REDIRECTS) {
        throw new Error(`More than ${MOST_REDIRECTS} redirects, starting with ${start}.`)
      }
      await response.body?.cancel()
      request = nextVisit(request, response.status, new URL(location, request.url))
    }
  }

  return {
    fetch: (path, init = {}) => visit(path, init),
    get: (path, init = {}) => visit(path, { ...init, method: "GET" }),
    post: (path, body, init = {}) =>
      visit(path, { ...init, method: "POST", ...(body === undefined ? undefined : { body }) }),
    async cookies(path = "/") {
      const pairs = await cookiesFor(new URL(path, base), undefined, "GET", jar)
      return new Map(pairs.map((pair) => [nameOf(pair), pair.slice(pair.indexOf("=") + 1)]))
    },
    get url() {
      return current
    },
  }
}

interface Visit {
  readonly url: URL
  readonly method: string
  readonly site: Site | undefined
  readonly headers: Headers
  readonly init: RequestInit
}

function firstVisit(
  url: URL,
  site: Site | undefined,
  { method = "GET", headers: own, ...init }: RequestInit,
  common: RequestInit["headers"],
): Visit {
  const headers = new Headers(common)
  for (const [name, value] of new Headers(own)) headers.set(name, value)
  if (site !== undefined) headers.set("Sec-Fetch-Site", site)
  return { url, method: method.toUpperCase(), site, headers, init }
}

/** What a browser asks for next (fetch standard, HTTP-redirect fetch). */
function nextVisit(visit: Visit, status: number, url: URL): Visit {
  const { method, init } = visit
  const headers = new Headers(visit.headers)
  if (url.origin !== visit.url.origin) headers.delete("Authorization")
  const becomesGet =
    status === 303 ? method !== "HEAD" : (status === 301 || status === 302) && method === "POST"
  if (!becomesGet) return { ...visit, url, headers }
  for (const name of [
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
  ]) {
    headers.delete(name)
  }
  const { body: _, ...rest } = init
  return { ...visit, url, method: "GET", headers, init: rest }
}

async function withCookies(
  { url, method, site, headers, init }: Visit,
  jar: AgentCookieJar,
): Promise<Request> {
  const all = new Headers(headers)
  const own = all.get("Cookie")
  const pairs = await cookiesFor(url, site, method, jar)
  if (own !== null) pairs.unshift(own)
  if (pairs.length > 0) all.set("Cookie", pairs.join("; "))
  return new Request(url, { ...init, method, headers: all, redirect: "manual" })
}

async function cookiesFor(
  url: URL,
  site: Site | undefined,
  method: string,
  jar: AgentCookieJar,
): Promise<string[]> {
  const isNavigation = method === "GET" || method === "HEAD"
  const sameSiteContext = site !== "cross-site" ? "strict" : isNavigation ? "lax" : "none"
  const header = await jar.getCookieString(url.href, { sameSiteContext })
  return header.split("; ").filter((pair) => pair !== "" && (isEncrypted(url) || !isPrefixed(nameOf(pair))))
}

async function keepCookies(response: Response, url: URL, jar: AgentCookieJar): Promise<void> {
  for (const line of response.headers.getSetCookie()) {
    if (isAcceptable(line, url)) await jar.setCookie(line, url.href, { ignoreError: true })
  }
}

/** RFC 6265bis, storage model: what a browser refuses because of where it comes from, or of how it is called. */
function isAcceptable(line: string, url: URL): boolean {
  const [pair = "", ...rest] = line.split(";")
  const attributes = new Map(
    rest.map((part) => [nameOf(part).toLowerCase(), part.slice(part.indexOf("=") + 1).trim()]),
  )
  const isSecure = attributes.has("secure")
  const name = nameOf(pair)
  if (isPrefixed(name)) {
    if (!isSecure || !isEncrypted(url)) return false
    return !/^__host-/i.test(name) || (attributes.get("path") === "/" && !attributes.get("domain"))
  }
  return !isSecure || isEncrypted(url) || isLocal(url)
}

function isPrefixed(name: string): boolean {
  return /^__(?:host|secure)-/i.test(name)
}

function isEncrypted({ protocol }: URL): boolean {
  return protocol === "https:"
}

function isLocal({ hostname }: URL): boolean {
  return /^(?:localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

function nameOf(part: string): string {
  return (part.split("=", 1)[0] as string).trim()
}

function locationOf(response: Response): string | null {
  return [301, 302, 303, 307, 308].includes(response.status) ? response.headers.get("Location") : null
}

async function sendOverNetwork(request: Request): Promise<Response> {
  return fetch(request)
}

import type { CsrfOptions, RequestFacts } from "./api.ts"
import { ConfigError, CsrfError } from "./errors.ts"
import { shown } from "./expiry.ts"

/** How an adapter protects unsafe requests. */
export interface CsrfProtection {
  /**
   * Throws at once, or returns a promise only if a token has to be read.
   * @param readToken the token that the request brings, read only if it decides
   * @throws {CsrfError}
   */
  check(request: RequestFacts, cookies: CookieHolder, readToken: () => TokenSource): Promise<void> | undefined
}

/** What the check uses of a session. */
export interface CookieHolder {
  /** Whether the request came without a session. */
  readonly isNew: boolean
  verifyCsrfToken(token: string): boolean
}

export type TokenSource = string | null | undefined | Promise<string | null | undefined>

/** The header that scripts send the token in. */
export const CSRF_HEADER = "x-csrf-token"
/** The form field that pages send it in. */
export const CSRF_FIELD = "_csrf"

const MAX_FORM_BYTES = 1024 * 1024
const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

/**
 * Fetch Metadata first, `Origin` where a browser does not send it, as in OWASP's cheat sheet and Go's `CrossOriginProtection`.
 * @returns undefined if it is off.
 * @throws {ConfigError}
 */
export function csrfProtection(option: boolean | CsrfOptions | undefined): CsrfProtection | undefined {
  if (option === undefined || option === false) return undefined
  const { trusted, token } = resolve(option)
  return {
    check(request, cookies, readToken) {
      const verdict = judge(request, trusted)
      if (verdict === "pass" || (verdict === "unknown" && !token)) return undefined
      // Without a session there is nothing to ride on, and no token to be had: a program with a token of its own, such as a bearer's.
      if (verdict === "unknown") return cookies.isNew ? undefined : checkToken(cookies, readToken)
      throw new CsrfError(
        "A request that may change something came from another site. If its pages are yours, add their origin to csrf.trustedOrigins.",
        { reason: "cross-site" },
      )
    },
  }
}

function judge(request: RequestFacts, trusted: ReadonlySet<string>): "pass" | "refuse" | "unknown" {
  const isSafe = SAFE_METHODS.has(request.method?.toUpperCase() ?? "GET")
  // A WebSocket is opened by GET, with cookies and from any site.
  if (isSafe && request.isUpgrade !== true) return "pass"
  const { secFetchSite, origin } = request
  if (isGiven(origin) && trusted.has(origin)) return "pass"
  if (isGiven(secFetchSite)) {
    return secFetchSite === "same-origin" || secFetchSite === "none" ? "pass" : "refuse"
  }
  if (isGiven(origin)) return isOwn(origin, request) ? "pass" : "refuse"
  // Every browser tells where a WebSocket comes from (RFC 6455, section 4.1).
  return isSafe ? "pass" : "unknown"
}

/** Whether an origin is that of the request: `null` of sandboxed pages is nobody's. */
function isOwn(origin: string, { host, secure }: RequestFacts): boolean {
  if (!isGiven(host) || !URL.canParse(origin)) return false
  const { protocol, host: originHost } = new URL(origin)
  // A page that came in the clear may be anybody's on the way. That the request itself did proves nothing, for it may be a proxy's.
  if (protocol !== "https:" && (protocol !== "http:" || secure === true)) return false
  // Proxies may name the port that goes without saying.
  const own = `${protocol}//${host}`
  return URL.canParse(own) && new URL(own).host === originHost
}

/** The token that a web request brings, whose body stays to be read. */
export function csrfTokenOf(request: Request): TokenSource {
  const header = request.headers.get(CSRF_HEADER)
  if (header !== null) return header
  const type = request.headers.get("content-type") ?? ""
  const isForm = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)(?:\s*;|\s*$)/i.test(type)
  const isLong = Number(request.headers.get("content-length")) > MAX_FORM_BYTES
  return isForm && !isLong && !request.bodyUsed ? fieldOf(request, type) : undefined
}

async function fieldOf(request: Request, type: string): Promise<string | undefined> {
  try {
    const body = await firstBytes(request.clone(), MAX_FORM_BYTES)
    if (body === undefined) return undefined
    const form = await new Response(body, { headers: { "Content-Type": type } }).formData()
    const field = form.get(CSRF_FIELD)
    return typeof field === "string" ? field : undefined
  } catch {
    // What is no form brings no token.
    return undefined
  }
}

/** A whole body; undefined if it is longer than that. What is longer holds a file, whose form can send the header by a script. */
async function firstBytes(request: Request, limit: number): Promise<Blob | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = []
  const reader = request.body?.getReader()
  let size = 0
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    size += part.value.byteLength
    if (size > limit) {
      // Not awaited: it is done when the request's own body has been read, too.
      reader?.cancel().catch(() => undefined)
      return undefined
    }
    chunks.push(part.value)
  }
  return new Blob(chunks)
}

function checkToken(cookies: CookieHolder, readToken: () => TokenSource): Promise<void> | undefined {
  const token = readToken()
  if (token instanceof Promise) return token.then((later) => assertToken(cookies, later))
  assertToken(cookies, token)
  return undefined
}

function assertToken(cookies: CookieHolder, token: string | null | undefined): void {
  if (isGiven(token) && cookies.verifyCsrfToken(token)) return
  throw new CsrfError(
    "The browser does not tell where this request comes from, and the token of session.csrfToken() is missing or not of this session.",
    { reason: "token" },
  )
}

function isGiven(value: string | null | undefined): value is string {
  return value !== undefined && value !== null && value !== ""
}

function resolve(option: true | CsrfOptions): { trusted: ReadonlySet<string>; token: boolean } {
  if (option === true) return { trusted: new Set(), token: false }
  if (typeof option !== "object" || option === null) {
    throw new ConfigError(
      `csrf: expected true, false or { trustedOrigins?, token? }, got ${shown(option)}.`,
      {
        option: "csrf",
      },
    )
  }
  for (const name of Object.keys(option)) {
    if (name !== "trustedOrigins" && name !== "token") {
      throw new ConfigError(`csrf.${name} is no option; there are trustedOrigins and token.`, {
        option: `csrf.${name}`,
      })
    }
  }
  const { trustedOrigins = [], token = false } = option
  if (typeof token !== "boolean") {
    throw new ConfigError(`csrf.token: expected true or false, got ${shown(token)}.`, {
      option: "csrf.token",
    })
  }
  if (!Array.isArray(trustedOrigins)) {
    throw new ConfigError(`csrf.trustedOrigins: expected a list of origins, got ${shown(trustedOrigins)}.`, {
      option: "csrf.trustedOrigins",
    })
  }
  for (const [index, origin] of trustedOrigins.entries())
    assertOrigin(`csrf.trustedOrigins[${index}]`, origin)
  return { trusted: new Set(trustedOrigins), token }
}

function assertOrigin(option: string, origin: unknown): void {
  const isText = typeof origin === "string" && URL.canParse(origin)
  // A pattern would be an origin that no page has.
  if (isText && new URL(origin).origin === origin && !origin.includes("*")) return
  throw new ConfigError(
    `${option}: expected an origin as browsers write it, such as "https://admin.shop.example" without a path, got ${shown(origin)}.`,
    { option },
  )
}

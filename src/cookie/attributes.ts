import { ConfigError } from "../errors.ts"

/** The `cookie` option of `createSessions`. */
export interface CookieOptions {
  /** Without prefix. Default `"id"`. */
  readonly name?: string | undefined
  /** Whether to add `__Host-`, or `__Secure-` where the attributes do not allow that. Default `true`. */
  readonly prefix?: boolean | undefined
  /** Default `true`. `"auto"` is `true` but for plain http on localhost, 127.0.0.1 and [::1]. */
  readonly secure?: boolean | "auto" | undefined
  /** Also send the cookie to the subdomains of this host. Default none: to the host that set it alone. */
  readonly domain?: string | undefined
  /** Default `"/"`. */
  readonly path?: string | undefined
  /** Whether to hide the cookie from scripts. Default `true`. */
  readonly httpOnly?: boolean | undefined
  /** Default `"lax"`. */
  readonly sameSite?: "strict" | "lax" | "none" | undefined
  /** Whether each embedding site gets a cookie jar of its own (CHIPS). Default `false`. */
  readonly partitioned?: boolean | undefined
  /** Which cookies Chromium drops first when a jar is full. Default none. */
  readonly priority?: "low" | "medium" | "high" | undefined
  /** Default `"persistent"`; `"browser-session"` leaves out `Max-Age`. */
  readonly kind?: "persistent" | "browser-session" | undefined
}

/** A cookie as it is sent over one kind of connection. */
export interface CookieSettings {
  /** The full name, prefix included. */
  readonly name: string
  readonly secure: boolean
  /** Everything behind `Max-Age`, ready to be appended. */
  readonly attributes: string
}

/** A validated `cookie` option. */
export interface ResolvedCookie {
  /** How the cookie is sent, but for the exception below. */
  readonly standard: CookieSettings
  /** How it is sent over plain http to this machine itself; only for `secure: "auto"`. */
  readonly plainLocal: CookieSettings | undefined
  readonly kind: "persistent" | "browser-session"
  readonly sameSite: "strict" | "lax" | "none"
}

/** What an adapter knows of the connection; undefined for what it does not know. */
export interface Connection {
  /** Whether the client speaks https to us or to a trusted proxy. */
  readonly secure: boolean | undefined
  /** The `Host` header or `:authority`, port included. */
  readonly host: string | undefined
}

/** What RFC 6265bis asks browsers to keep of `name=value`, and to refuse beyond. */
export const MAX_COOKIE_BYTES = 4096
const MAX_ATTRIBUTE_BYTES = 1024
const MAX_NAME_LENGTH = 256
/** 400 days: browsers shorten what is longer (RFC 6265bis, section 5.5). */
const MAX_AGE_SECONDS = 34_560_000

const LOCAL_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d*)?$/i

// RFC 9110, section 5.6.2.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// Underscores are no host name by the letter, but live in DNS and in browsers.
const DOMAIN =
  /^(?!.{254})[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?(?:\.[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?)*$/
const PATH = /^\/[\x21-\x3a\x3c-\x7e]*$/

/** The prefixes browsers know, and what a cookie must be to bear them. Browsers compare them case-insensitively. */
const RESERVED_PREFIXES: readonly {
  prefix: string
  needs: string
  allows: (cookie: Attributes) => boolean
}[] = [
  {
    prefix: "__Host-Http-",
    needs: 'secure: true, httpOnly: true, path: "/" and no domain',
    allows: isHostHttp,
  },
  { prefix: "__Host-", needs: 'secure: true, path: "/" and no domain', allows: isHost },
  { prefix: "__Http-", needs: "secure: true and httpOnly: true", allows: isHttp },
  { prefix: "__Secure-", needs: "secure: true", allows: (cookie) => cookie.secure },
]

const MEMBERS: readonly string[] = [
  "name",
  "prefix",
  "secure",
  "domain",
  "path",
  "httpOnly",
  "sameSite",
  "partitioned",
  "priority",
  "kind",
]

interface Attributes {
  readonly secure: boolean
  readonly domain: string | undefined
  readonly path: string
  readonly httpOnly: boolean
  readonly sameSite: "strict" | "lax" | "none"
  readonly partitioned: boolean
  readonly priority: "low" | "medium" | "high" | undefined
}

/** Checks the options alone and together; a ConfigError names the one that is wrong. */
export function resolveCookie(options: CookieOptions | undefined): ResolvedCookie {
  const given = members(options)
  const name = cookieName(given.name)
  const prefix = flag("cookie.prefix", given.prefix, true)
  const secure = oneOf("cookie.secure", given.secure, [true, false, "auto"], true)
  const attributes: Attributes = {
    secure: secure !== false,
    domain: cookieDomain(given.domain),
    path: cookiePath(given.path),
    httpOnly: flag("cookie.httpOnly", given.httpOnly, true),
    sameSite: oneOf("cookie.sameSite", given.sameSite, ["strict", "lax", "none"], "lax"),
    partitioned: flag("cookie.partitioned", given.partitioned, false),
    priority: oneOf("cookie.priority", given.priority, ["low", "medium", "high"], undefined),
  }
  const kind = oneOf("cookie.kind", given.kind, ["persistent", "browser-session"], "persistent")

  if (attributes.sameSite === "none" && secure !== true) {
    wrong(
      "cookie.sameSite",
      `"none" needs cookie.secure: true, which is ${show(secure)}; browsers refuse it otherwise`,
    )
  }
  if (attributes.partitioned && secure !== true) {
    wrong(
      "cookie.partitioned",
      `needs cookie.secure: true, which is ${show(secure)}; browsers refuse it otherwise`,
    )
  }
  // A Domain never matches this machine's own names, so browsers would refuse the cookie for having one.
  const local = secure === "auto" ? { ...attributes, secure: false, domain: undefined } : undefined
  refuseReservedPrefix(name, prefix, local ?? attributes)

  return {
    standard: settingsOf(name, prefix, attributes),
    plainLocal: local && settingsOf(name, prefix, local),
    kind,
    sameSite: attributes.sameSite,
  }
}

/**
 * How the cookie is read and sent on this connection. What is not known counts as secure: an adapter that cannot tell
 * must never make the cookie weaker.
 */
export function settingsFor(cookie: ResolvedCookie, connection: Connection | undefined): CookieSettings {
  if (cookie.plainLocal === undefined || connection?.secure !== false) return cookie.standard
  return LOCAL_HOST.test(connection.host ?? "") ? cookie.plainLocal : cookie.standard
}

/**
 * A `Set-Cookie` value. `maxAge` is in milliseconds and rounded up to whole seconds, at least one and at most 400 days;
 * null makes a cookie that ends with the browser's session.
 */
export function serializeCookie(settings: CookieSettings, value: string, maxAge: number | null): string {
  if (maxAge === null) return `${settings.name}=${value}${settings.attributes}`
  const seconds = Math.min(MAX_AGE_SECONDS, Math.max(1, Math.ceil(maxAge / 1000)))
  return `${settings.name}=${value}; Max-Age=${seconds}${settings.attributes}`
}

/** A `Set-Cookie` value that makes the client forget the cookie. It bears the same attributes, or it would miss it. */
export function serializeRemoval(settings: CookieSettings): string {
  // Expires as well, for clients so simple that they know nothing of Max-Age.
  return `${settings.name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${settings.attributes}`
}

/** The bytes of `name=value`, which must not exceed `MAX_COOKIE_BYTES`. Names and sealed values are ASCII. */
export function cookieSize(settings: CookieSettings, value: string): number {
  return settings.name.length + 1 + value.length
}

function settingsOf(name: string, prefix: boolean, attributes: Attributes): CookieSettings {
  return {
    name: prefix ? prefixFor(attributes) + name : name,
    secure: attributes.secure,
    attributes: serializeAttributes(attributes),
  }
}

function prefixFor(attributes: Attributes): string {
  if (isHost(attributes)) return "__Host-"
  return attributes.secure ? "__Secure-" : ""
}

function isHost({ secure, path, domain }: Attributes): boolean {
  return secure && path === "/" && domain === undefined
}

function isHttp({ secure, httpOnly }: Attributes): boolean {
  return secure && httpOnly
}

function isHostHttp(attributes: Attributes): boolean {
  return isHost(attributes) && isHttp(attributes)
}

function serializeAttributes(attributes: Attributes): string {
  const { domain, path, secure, httpOnly, sameSite, partitioned, priority } = attributes
  return [
    domain === undefined ? "" : `; Domain=${domain}`,
    `; Path=${path}`,
    secure ? "; Secure" : "",
    httpOnly ? "; HttpOnly" : "",
    `; SameSite=${capitalized(sameSite)}`,
    partitioned ? "; Partitioned" : "",
    priority === undefined ? "" : `; Priority=${capitalized(priority)}`,
  ].join("")
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}

/** The options as untrusted input: their types hold for TypeScript alone. */
function members(options: CookieOptions | undefined): { [Member in keyof CookieOptions]: unknown } {
  if (options === undefined) return {}
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    wrong("cookie", `must be an object, got ${show(options)}`)
  }
  for (const member of Object.keys(options)) {
    if (!MEMBERS.includes(member)) {
      wrong(`cookie.${member}`, `is no option; cookie takes ${list(MEMBERS, "and")}`)
    }
  }
  return options
}

function cookieName(name: unknown): string {
  if (name === undefined) return "id"
  if (typeof name !== "string" || name.length > MAX_NAME_LENGTH || !TOKEN.test(name)) {
    wrong(
      "cookie.name",
      `must be 1 to ${MAX_NAME_LENGTH} letters, digits and characters of !#$%&'*+-.^_\`|~, got ${show(name)}`,
    )
  }
  return name
}

function refuseReservedPrefix(name: string, prefix: boolean, attributes: Attributes): void {
  const lowercase = name.toLowerCase()
  const reserved = RESERVED_PREFIXES.find((candidate) => lowercase.startsWith(candidate.prefix.toLowerCase()))
  if (reserved === undefined) return
  if (prefix) {
    wrong(
      "cookie.name",
      `must come without ${reserved.prefix}, got ${show(name)}; cookie.prefix adds the right one`,
    )
  }
  if (!reserved.allows(attributes)) {
    wrong("cookie.name", `starts with ${reserved.prefix}, which browsers refuse without ${reserved.needs}`)
  }
}

function cookieDomain(domain: unknown): string | undefined {
  if (domain === undefined) return undefined
  if (typeof domain !== "string" || !DOMAIN.test(domain)) {
    wrong(
      "cookie.domain",
      `must be a host name such as "example.com", in ASCII (Punycode) and without leading dot, scheme or port, got ${show(domain)}`,
    )
  }
  return domain
}

function cookiePath(path: unknown): string {
  if (path === undefined) return "/"
  if (typeof path !== "string" || !PATH.test(path)) {
    wrong(
      "cookie.path",
      `must start with "/" and be printable ASCII without space and ";", got ${show(path)}`,
    )
  }
  if (path.length > MAX_ATTRIBUTE_BYTES) {
    wrong("cookie.path", `must have at most ${MAX_ATTRIBUTE_BYTES} bytes, got ${path.length}`)
  }
  return path
}

function flag(option: string, value: unknown, fallback: boolean): boolean {
  return oneOf(option, value, [true, false], fallback)
}

function oneOf<const Choice, Fallback>(
  option: string,
  value: unknown,
  choices: readonly Choice[],
  fallback: Fallback,
): Choice | Fallback {
  if (value === undefined) return fallback
  const choice = choices.find((candidate) => candidate === value)
  if (choice === undefined) wrong(option, `must be ${list(choices.map(show), "or")}, got ${show(value)}`)
  return choice
}

function list(items: readonly string[], conjunction: string): string {
  return `${items.slice(0, -1).join(", ")} ${conjunction} ${items.at(-1)}`
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (Array.isArray(value)) return "an array"
  if (typeof value === "function") return "a function"
  if (typeof value === "object" && value !== null) return "an object"
  return String(value)
}

function wrong(option: string, problem: string): never {
  throw new ConfigError(`${option} ${problem}.`, { option })
}

import type { IncomingMessage } from "node:http"
import type { Session } from "coatcheck"
import type { Html } from "./html.ts"

/** Server state: in the store, one value per key. */
export interface State {
  cart: Cart
  /** Shown once, on the next page. */
  notice: string
}

/** Client state: sealed in the cookie, read without asking the store. */
export interface ClientState {
  theme: Theme
}

/** Product to quantity. */
export type Cart = Record<string, number>
export type Theme = "light" | "dark"
export type ShopSession = Session<State, ClientState>

/** One request, ready for a handler. */
export interface Visit {
  readonly request: IncomingMessage
  readonly session: ShopSession
  readonly form: URLSearchParams
}

export type Handler = (visit: Visit) => Reply | Promise<Reply>
/** `"GET /cart"` to its handler. */
export type Routes = Record<string, Handler>

export type Reply = View | Redirect

export interface View {
  readonly title: string
  readonly content: Html
  readonly status?: number | undefined
  /** Without the parts of the frame that come from the store: name, cart and notice. */
  readonly bare?: boolean | undefined
}

export interface Redirect {
  readonly redirect: string
}

/** An answer in place of the page, such as 413. */
export class HttpError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const MAX_FORM_BYTES = 10_000

/** Reads a submitted form. */
export async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_FORM_BYTES) throw new HttpError(413, "That is more than our counter can hold.")
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"))
}

/**
 * Whether another site made the browser send this request (CSRF). `SameSite=Lax` already keeps the cookie out of cross-site
 * forms, but not out of those of a sibling subdomain, or of another port of localhost: both count as the same site.
 */
export function isCrossOrigin({ method, headers }: IncomingMessage): boolean {
  if (method === "GET" || method === "HEAD") return false
  const site = headers["sec-fetch-site"]
  if (site !== undefined) return site !== "same-origin" && site !== "none"
  // Older browsers. What sends neither header is no browser, and has no victim's cookie to send.
  return headers.origin !== undefined && URL.parse(headers.origin)?.host !== headers.host
}

const BROWSERS: [name: string, pattern: RegExp][] = [
  ["Edge", /\bEdg/],
  ["Opera", /\bOPR\//],
  ["Firefox", /\bFirefox\//],
  ["Chrome", /Chrome\//],
  ["Safari", /\bSafari\//],
]
const SYSTEMS: [name: string, pattern: RegExp][] = [
  ["iPhone", /\biPhone/],
  ["iPad", /\biPad/],
  ["Android", /\bAndroid/],
  ["Windows", /\bWindows/],
  ["macOS", /\bMac OS X/],
  ["Linux", /\bLinux/],
]

/** What a user would call the device, such as "Firefox on Windows". Browsers claim to be each other, so the order counts. */
export function deviceName(userAgent = ""): string {
  const named = (table: typeof BROWSERS): string | undefined =>
    table.find(([, pattern]) => pattern.test(userAgent))?.[0]
  return `${named(BROWSERS) ?? "A browser"} on ${named(SYSTEMS) ?? "an unknown system"}`
}

import type { Session, Sessions, UserId } from "../api.ts"

export interface SignedInOptions<S> {
  /** Where the application is, as its users see it: what the cookie is called may depend on it. Default `"http://localhost"`. */
  readonly url?: string | undefined
  /** Puts into the session what the test needs. May be asynchronous. */
  readonly prepare?: ((session: S) => unknown) | undefined
  /** See `signIn`. */
  readonly label?: string | undefined
}

/** A cookie of a session that is there, in the forms that clients of tests take. */
export interface SignedInCookie {
  readonly name: string
  readonly value: string
  /** `name=value`, for a `Cookie` header. */
  readonly header: string
  /** The whole `Set-Cookie` header, for cookie jars. */
  readonly setCookie: string
  /** For `context.addCookies([cookie.playwright])`. */
  readonly playwright: PlaywrightCookie
  /** The session's id, as `sessions.revoke` takes it. */
  readonly id: string
}

/** What `addCookies` of Playwright takes. */
export interface PlaywrightCookie {
  name: string
  value: string
  domain: string
  path: string
  expires: number
  httpOnly: boolean
  secure: boolean
  sameSite: "Strict" | "Lax" | "None"
}

/** Signs a user in, without a request to the application: makes a session in its store, and the cookie that a browser would have got. */
export async function signedInCookie<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Pick<Sessions<State, ClientState, Input, ClientInput>, "open">,
  userId: UserId,
  options: SignedInOptions<Session<State, ClientState, Input, ClientInput>> = {},
): Promise<SignedInCookie> {
  const url = addressOf(options.url ?? "http://localhost")
  const session = sessions.open(null, {
    method: "POST",
    host: url.host,
    secure: url.protocol === "https:",
    secFetchSite: "same-origin",
  })
  session.signIn(userId, { label: options.label })
  await options.prepare?.(session)
  const { setCookie } = await session.finalize()
  if (setCookie === undefined || session.id === undefined) {
    throw new Error(
      "No session came of this: prepare may have ended it, or saved and ended the response itself.",
    )
  }
  return { ...partsOf(setCookie, url), setCookie, id: session.id }
}

function addressOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  // Without a scheme, "localhost:3000" would be an address of the scheme "localhost".
  if (url?.protocol === "http:" || url?.protocol === "https:") return url
  throw new TypeError(`signedInCookie: url is an address such as "http://localhost:3000", got "${text}".`)
}

function partsOf(setCookie: string, url: URL): Omit<SignedInCookie, "setCookie" | "id"> {
  const [pair = "", ...rest] = setCookie.split("; ")
  const attributes = new Map(rest.map(splitAt))
  const [name, value] = splitAt(pair)
  const maxAge = attributes.get("Max-Age")
  const domain = attributes.get("Domain")
  return {
    name,
    value,
    header: pair,
    playwright: {
      name,
      value,
      // With a dot it is for subdomains, too, as a cookie with a domain is.
      domain: domain === undefined ? url.hostname : `.${domain}`,
      path: attributes.get("Path") ?? "/",
      expires: maxAge === undefined ? -1 : Math.floor(Date.now() / 1000) + Number(maxAge),
      httpOnly: attributes.has("HttpOnly"),
      secure: attributes.has("Secure"),
      sameSite: (attributes.get("SameSite") ?? "Lax") as "Strict" | "Lax" | "None",
    },
  }
}

function splitAt(text: string): [string, string] {
  const [name = "", ...value] = text.split("=")
  return [name, value.join("=")]
}

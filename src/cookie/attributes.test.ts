import { Cookie } from "tough-cookie"
import { describe, expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import {
  type CookieOptions,
  cookieSize,
  MAX_COOKIE_BYTES,
  resolveCookie,
  serializeCookie,
  serializeRemoval,
  settingsFor,
} from "./attributes.ts"

const DAY = 86_400_000
const send = (options: CookieOptions | undefined, maxAge: number | null = DAY): string =>
  serializeCookie(resolveCookie(options).standard, "v", maxAge)

describe("Set-Cookie", () => {
  test("is strict by default", () => {
    expect(send(undefined)).toBe("__Host-id=v; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax")
    expect(send({})).toBe(send(undefined))
  })

  test("takes undefined members for absent ones", () => {
    const options: CookieOptions = {
      name: undefined,
      prefix: undefined,
      secure: undefined,
      domain: undefined,
      path: undefined,
      httpOnly: undefined,
      sameSite: undefined,
      partitioned: undefined,
      priority: undefined,
      kind: undefined,
    }
    expect(resolveCookie(options)).toEqual(resolveCookie(undefined))
  })

  test("carries every attribute, in one order", () => {
    expect(
      send({
        name: "sid",
        domain: "example.com",
        path: "/app",
        sameSite: "none",
        partitioned: true,
        priority: "high",
      }),
    ).toBe(
      "__Secure-sid=v; Max-Age=86400; Domain=example.com; Path=/app; Secure; HttpOnly; SameSite=None; Partitioned; Priority=High",
    )
    expect(send({ httpOnly: false, sameSite: "strict", priority: "low" })).toBe(
      "__Host-id=v; Max-Age=86400; Path=/; Secure; SameSite=Strict; Priority=Low",
    )
  })

  test.each<[CookieOptions, string]>([
    [{}, "__Host-id"],
    [{ path: "/" }, "__Host-id"],
    [{ name: "sid" }, "__Host-sid"],
    [{ path: "/app" }, "__Secure-id"],
    [{ domain: "example.com" }, "__Secure-id"],
    [{ prefix: false }, "id"],
    [{ secure: false }, "id"],
    [{ secure: "auto" }, "__Host-id"],
    [{ secure: "auto", path: "/app" }, "__Secure-id"],
    [{ name: "__Host-id", prefix: false }, "__Host-id"],
    [{ name: "__Secure-id", prefix: false, domain: "example.com" }, "__Secure-id"],
    [{ name: "__Http-id", prefix: false, path: "/app" }, "__Http-id"],
    [{ name: "__Host-Http-id", prefix: false }, "__Host-Http-id"],
  ])("names the cookie of %j %s", (options, name) => {
    expect(resolveCookie(options).standard.name).toBe(name)
  })

  test.each([
    [1, 1],
    [999, 1],
    [1000, 1],
    [1001, 2],
    [0, 1],
    [-5000, 1],
    [400 * DAY, 34_560_000],
    [401 * DAY, 34_560_000],
    [Infinity, 34_560_000],
  ])("rounds a Max-Age of %d ms to %d s", (maxAge, seconds) => {
    expect(send(undefined, maxAge)).toContain(`; Max-Age=${seconds};`)
  })

  test("has no Max-Age for a browser session", () => {
    expect(send(undefined, null)).toBe("__Host-id=v; Path=/; Secure; HttpOnly; SameSite=Lax")
  })

  test("is understood by a cookie jar", () => {
    const cookie = Cookie.parse(send({ domain: "example.com", path: "/app", sameSite: "strict" }))
    expect(cookie).toMatchObject({
      key: "__Secure-id",
      value: "v",
      maxAge: 86_400,
      domain: "example.com",
      path: "/app",
      secure: true,
      httpOnly: true,
      sameSite: "strict",
    })
  })

  test("of a removal mirrors the attributes the cookie was set with", () => {
    const options: CookieOptions = {
      domain: "example.com",
      path: "/app",
      sameSite: "none",
      partitioned: true,
    }
    expect(serializeRemoval(resolveCookie(options).standard)).toBe(
      "__Secure-id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.com; Path=/app; Secure; HttpOnly; SameSite=None; Partitioned",
    )
    expect(serializeRemoval(resolveCookie({ secure: false, httpOnly: false }).standard)).toBe(
      "id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax",
    )
  })

  test("is measured as name=value", () => {
    expect(cookieSize(resolveCookie(undefined).standard, "abc")).toBe("__Host-id=abc".length)
    expect(MAX_COOKIE_BYTES).toBe(4096)
  })
})

describe('secure: "auto"', () => {
  const auto = resolveCookie({ secure: "auto" })

  test.each([
    "localhost",
    "localhost:3000",
    "LocalHost:80",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:3000",
  ])("is plain and without prefix for http on %s", (host) => {
    const settings = settingsFor(auto, { secure: false, host })
    expect(settings.name).toBe("id")
    expect(settings.secure).toBe(false)
    expect(serializeCookie(settings, "v", null)).toBe("id=v; Path=/; HttpOnly; SameSite=Lax")
  })

  test.each([
    undefined,
    "",
    "example.com",
    "localhost.example.com",
    "app.localhost",
    "localhost.",
    "notlocalhost",
    "127.0.0.1.example.com",
    "127.0.0.2",
    "0x7f.0.0.1",
    "::1",
    "[::1].example.com",
    "localhost:3000@example.com",
    "localhost, example.com",
    "localhost\nexample.com",
  ])("is secure for http on the host %j", (host) => {
    expect(settingsFor(auto, { secure: false, host })).toBe(auto.standard)
  })

  test("is secure over https, over what is not known, and without any connection", () => {
    expect(settingsFor(auto, { secure: true, host: "localhost" })).toBe(auto.standard)
    expect(settingsFor(auto, { secure: undefined, host: "localhost" })).toBe(auto.standard)
    expect(settingsFor(auto, undefined)).toBe(auto.standard)
    expect(auto.standard).toEqual(resolveCookie(undefined).standard)
  })

  test("leaves the domain out on this machine, whose names no domain matches", () => {
    const cookie = resolveCookie({ secure: "auto", domain: "example.com", path: "/app" })
    const settings = settingsFor(cookie, { secure: false, host: "localhost:3000" })
    expect(serializeCookie(settings, "v", null)).toBe("id=v; Path=/app; HttpOnly; SameSite=Lax")
    expect(cookie.standard.attributes).toContain("; Domain=example.com")
  })

  test("is what alone makes the connection count", () => {
    const connection = { secure: false, host: "localhost" }
    for (const secure of [true, false]) {
      const cookie = resolveCookie({ secure })
      expect(settingsFor(cookie, connection)).toBe(cookie.standard)
      expect(cookie.standard.secure).toBe(secure)
    }
  })
})

describe("a wrong cookie option is refused", () => {
  const cases: [unknown, string, string][] = [
    [null, "cookie", "cookie must be an object, got null."],
    ["id", "cookie", 'cookie must be an object, got "id".'],
    [[], "cookie", "cookie must be an object, got an array."],
    [() => undefined, "cookie", "cookie must be an object, got a function."],
    [
      { samesite: "lax" },
      "cookie.samesite",
      "cookie.samesite is no option; cookie takes name, prefix, secure, domain, path, httpOnly, sameSite, partitioned, priority and kind.",
    ],
    [{ maxAge: undefined }, "cookie.maxAge", "is no option"],
    [{ name: "" }, "cookie.name", 'got "".'],
    [{ name: "a b" }, "cookie.name", 'got "a b".'],
    [{ name: "a=b" }, "cookie.name", 'got "a=b".'],
    [{ name: "a;b" }, "cookie.name", 'got "a;b".'],
    [{ name: "id\n" }, "cookie.name", String.raw`got "id\n".`],
    [{ name: "ïd" }, "cookie.name", 'got "ïd".'],
    [{ name: "a".repeat(257) }, "cookie.name", `got "${"a".repeat(80)}…".`],
    [{ name: 7 }, "cookie.name", "got 7."],
    [{ name: null }, "cookie.name", "got null."],
    [{ name: Symbol("id") }, "cookie.name", "got Symbol(id)."],
    [{ name: "__Host-id" }, "cookie.name", "must come without __Host-"],
    [{ name: "__host-id" }, "cookie.name", "must come without __Host-"],
    [{ name: "__SECURE-id", secure: false }, "cookie.name", "must come without __Secure-"],
    [{ name: "__Http-id" }, "cookie.name", "must come without __Http-"],
    [{ name: "__Host-id", prefix: false, path: "/app" }, "cookie.name", "browsers refuse without"],
    [{ name: "__Host-id", prefix: false, secure: "auto" }, "cookie.name", "browsers refuse without"],
    [
      { name: "__Secure-id", prefix: false, secure: false },
      "cookie.name",
      "browsers refuse without secure: true.",
    ],
    [{ name: "__Http-id", prefix: false, httpOnly: false }, "cookie.name", "browsers refuse without"],
    [
      { name: "__Host-Http-id", prefix: false, domain: "a.example" },
      "cookie.name",
      "browsers refuse without",
    ],
    [{ prefix: "yes" }, "cookie.prefix", 'cookie.prefix must be true or false, got "yes".'],
    [{ secure: "yes" }, "cookie.secure", 'cookie.secure must be true, false or "auto", got "yes".'],
    [{ secure: null }, "cookie.secure", "got null."],
    [{ domain: ".example.com" }, "cookie.domain", 'got ".example.com".'],
    [{ domain: "example.com." }, "cookie.domain", 'got "example.com.".'],
    [{ domain: "example..com" }, "cookie.domain", "cookie.domain must be a host name"],
    [{ domain: "" }, "cookie.domain", 'got "".'],
    [{ domain: "exa mple.com" }, "cookie.domain", "host name"],
    [{ domain: "example.com; Path=/" }, "cookie.domain", "host name"],
    [{ domain: "https://example.com" }, "cookie.domain", "host name"],
    [{ domain: "example.com:8080" }, "cookie.domain", "host name"],
    [{ domain: "-example.com" }, "cookie.domain", "host name"],
    [{ domain: "bücher.example" }, "cookie.domain", "host name"],
    [{ domain: "example.com\n" }, "cookie.domain", "host name"],
    [{ domain: "a".repeat(64) }, "cookie.domain", "host name"],
    [{ domain: "a.".repeat(126) + "ab" }, "cookie.domain", "host name"],
    [{ domain: ["example.com"] }, "cookie.domain", "got an array."],
    [{ path: "" }, "cookie.path", 'got "".'],
    [{ path: "app" }, "cookie.path", 'cookie.path must start with "/"'],
    [{ path: "/a;b" }, "cookie.path", 'got "/a;b".'],
    [{ path: "/a b" }, "cookie.path", 'got "/a b".'],
    [{ path: "/a\r\nX: y" }, "cookie.path", "printable ASCII"],
    [{ path: "/\u007f" }, "cookie.path", "printable ASCII"],
    [{ path: "/é" }, "cookie.path", "printable ASCII"],
    [{ path: {} }, "cookie.path", "got an object."],
    [{ path: `/${"a".repeat(1024)}` }, "cookie.path", "cookie.path must have at most 1024 bytes, got 1025."],
    [{ httpOnly: 1 }, "cookie.httpOnly", "cookie.httpOnly must be true or false, got 1."],
    [{ sameSite: "Lax" }, "cookie.sameSite", 'cookie.sameSite must be "strict", "lax" or "none", got "Lax".'],
    [{ sameSite: false }, "cookie.sameSite", "got false."],
    [
      { sameSite: "none", secure: false },
      "cookie.sameSite",
      '"none" needs cookie.secure: true, which is false',
    ],
    [
      { sameSite: "none", secure: "auto" },
      "cookie.sameSite",
      '"none" needs cookie.secure: true, which is "auto"',
    ],
    [{ partitioned: "true" }, "cookie.partitioned", "must be true or false"],
    [{ partitioned: true, secure: false }, "cookie.partitioned", "needs cookie.secure: true, which is false"],
    [{ partitioned: true, secure: "auto" }, "cookie.partitioned", "needs cookie.secure: true"],
    [
      { priority: "High" },
      "cookie.priority",
      'cookie.priority must be "low", "medium" or "high", got "High".',
    ],
    [
      { kind: "session" },
      "cookie.kind",
      'cookie.kind must be "persistent" or "browser-session", got "session".',
    ],
  ]

  test.each(cases)("%j", (options, option, message) => {
    let thrown: unknown
    try {
      resolveCookie(options as CookieOptions)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ConfigError)
    expect((thrown as ConfigError).option).toBe(option)
    expect((thrown as ConfigError).message).toContain(message)
  })

  test("but an unusual right one is not", () => {
    for (const options of [
      { name: "!#$%&'*+-.^_`|~0Aa" },
      { name: "__host" },
      { domain: "localhost" },
      { domain: "_dmarc.xn--bcher-kva.example" },
      { domain: "a".repeat(63) },
      { domain: `${"a.".repeat(126)}b` },
      { path: "/~a%20b/:c,d" },
      { path: `/${"a".repeat(1023)}` },
      { sameSite: "none", partitioned: true },
      { kind: "browser-session", priority: "medium" },
    ] satisfies CookieOptions[]) {
      expect(resolveCookie(options).standard.name).toContain("__")
    }
    expect(resolveCookie({ kind: "browser-session" }).kind).toBe("browser-session")
    expect(resolveCookie({ sameSite: "strict" }).sameSite).toBe("strict")
  })
})

import { setImmediate } from "node:timers/promises"
import fc from "fast-check"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import type { CsrfOptions, RequestFacts } from "./api.ts"
import { CSRF_FIELD, CSRF_HEADER, csrfProtection, type CsrfProtection, csrfTokenOf } from "./csrf.ts"
import { ConfigError, CsrfError } from "./errors.ts"

const HOST = "shop.example"
const TRUSTED = "https://admin.shop.example"
const GOOD = "the token"
const cookies = { isNew: false, verifyCsrfToken: (token: string) => token === GOOD }
const noCookie = { ...cookies, isNew: true }

type Verdict = "pass" | "cross-site" | "token"

/** What becomes of a request, and whether its token was asked for. */
function judged(
  facts: RequestFacts,
  options: boolean | CsrfOptions = true,
  token?: string | null,
): { verdict: Verdict; asked: boolean } {
  let asked = false
  const readToken = (): string | null | undefined => {
    asked = true
    return token
  }
  try {
    expect((csrfProtection(options) as CsrfProtection).check(facts, cookies, readToken)).toBeUndefined()
    return { verdict: "pass", asked }
  } catch (error) {
    if (!(error instanceof CsrfError)) throw error
    return { verdict: error.reason, asked }
  }
}

describe("the verdict", () => {
  const methods = [undefined, "GET", "get", "HEAD", "OPTIONS", "TRACE", "POST", "delete", "CONNECT"]
  const sites = [
    undefined,
    null,
    "",
    "same-origin",
    "none",
    "same-site",
    "cross-site",
    "Same-Origin",
    "same-origin, cross-site",
  ]
  const origins = [
    undefined,
    null,
    "",
    "null",
    `https://${HOST}`,
    `http://${HOST}`,
    TRUSTED,
    "https://evil.example",
    "file://",
    "shop.example",
  ]
  const hosts = [undefined, null, "", HOST, HOST.toUpperCase(), `${HOST}:443`, `${HOST}:80`, "other.example"]
  const flags = [undefined, true]
  const tokens = [undefined, "another", GOOD]

  /** The rules once more, as a list that is read from the top. */
  function expected(
    facts: RequestFacts,
    trusted: boolean,
    wanted: boolean,
    token: unknown,
    isNew: boolean,
  ): Verdict {
    const method = (facts.method ?? "GET").toUpperCase()
    const safe = ["GET", "HEAD", "OPTIONS", "TRACE"].includes(method)
    const site = facts.secFetchSite ?? ""
    const origin = facts.origin ?? ""
    const host = (facts.host ?? "").toLowerCase()
    const owners: Record<string, string[]> = {
      [`https://${HOST}`]: [HOST, `${HOST}:443`],
      // Nobody knows the request came by https, so a page may have come by http.
      [`http://${HOST}`]: facts.secure === true ? [] : [HOST, `${HOST}:80`],
    }
    if (safe && facts.isUpgrade !== true) return "pass"
    if (trusted && origin === TRUSTED) return "pass"
    if (site === "same-origin" || site === "none") return "pass"
    if (site !== "") return "cross-site"
    if (origin !== "") return owners[origin]?.includes(host) === true ? "pass" : "cross-site"
    if (safe) return "pass"
    return !wanted || isNew || token === GOOD ? "pass" : "token"
  }

  test("is that of the rules for every combination of what a request may say", () => {
    // A million errors need no stacks.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    onTestFinished(() => void (Error.stackTraceLimit = stackTraceLimit))
    let count = 0
    const wrong: unknown[] = []
    const off = csrfProtection({}) as CsrfProtection
    for (const trusted of [false, true]) {
      for (const wanted of [false, true]) {
        const protection = csrfProtection({ trustedOrigins: trusted ? [TRUSTED] : [], token: wanted }) ?? off
        for (const method of methods)
          for (const secFetchSite of sites)
            for (const origin of origins)
              for (const host of hosts)
                for (const isUpgrade of flags)
                  for (const secure of flags)
                    for (const token of tokens)
                      for (const session of [cookies, noCookie]) {
                        const facts = { method, secFetchSite, origin, host, isUpgrade, secure }
                        const { isNew } = session
                        let verdict: Verdict = "pass"
                        try {
                          void protection.check(facts, session, () => token)
                        } catch (error) {
                          verdict = (error as CsrfError).reason
                        }
                        count++
                        if (verdict !== expected(facts, trusted, wanted, token, isNew))
                          wrong.push({ ...facts, trusted, wanted, token, isNew, verdict })
                      }
      }
    }
    expect(wrong.slice(0, 5)).toEqual([])
    expect(count).toBe(4 * 9 * 9 * 10 * 8 * 2 * 2 * 3 * 2)
  })

  test("is undefined, and so costs nothing, when it is off", () => {
    expect(csrfProtection(undefined)).toBeUndefined()
    expect(csrfProtection(false)).toBeUndefined()
  })

  test("reads no more of a safe request than its method and whether it is an upgrade", () => {
    const read: string[] = []
    const facts = new Proxy<RequestFacts>(
      { method: "GET" },
      {
        get: (target, name) => (read.push(String(name)), Reflect.get(target, name) as unknown),
      },
    )
    expect(judged(facts).verdict).toBe("pass")
    expect(read).toEqual(["method", "isUpgrade"])
  })

  test.each([
    ["https://shop.example:8443", "shop.example:8443", "pass"],
    ["https://shop.example:8443", "shop.example", "cross-site"],
    ["https://shop.example", "shop.example:8443", "cross-site"],
    ["https://shop.example", "shop.example:443", "pass"],
    ["http://shop.example", "shop.example:80", "pass"],
    ["http://shop.example", "shop.example:443", "cross-site"],
    ["http://localhost:3000", "localhost:3000", "pass"],
    ["http://localhost:3000", "localhost:3001", "cross-site"],
    ["http://localhost:3000", "127.0.0.1:3000", "cross-site"],
    ["http://[::1]:3000", "[::1]:3000", "pass"],
    ["http://[::1]:3000", "[0:0:0:0:0:0:0:1]:3000", "pass"],
    ["http://[::1]", "[::1]", "pass"],
    ["https://[2001:db8::1]", "[2001:DB8::1]:443", "pass"],
    ["https://[2001:db8::1]", "[2001:db8::2]", "cross-site"],
    ["https://xn--bcher-kva.example", "xn--bcher-kva.example", "pass"],
    ["https://shop.example", "SHOP.Example", "pass"],
    ["https://shop.example", "shop.example.", "cross-site"],
    ["https://shop.example", "evil-shop.example", "cross-site"],
    ["https://shop.example.evil.example", "shop.example", "cross-site"],
    ["https://sub.shop.example", "shop.example", "cross-site"],
    ["https://shop.example, https://evil.example", "shop.example", "cross-site"],
    ["null", "null", "cross-site"],
    ["data:,", "", "cross-site"],
    ["chrome-extension://abcdef", "abcdef", "cross-site"],
    ["file://", "", "cross-site"],
    ["https://shop.example", "not a host", "cross-site"],
  ])("a browser that tells only Origin %j, to the host %j: %s", (origin, host, verdict) => {
    expect(judged({ method: "POST", origin, host }).verdict).toBe(verdict)
  })

  test("no origin at all is nobody's, whatever the host", () => {
    for (const host of [undefined, null, "", "null"])
      expect(judged({ method: "POST", origin: "null", host }).verdict).toBe("cross-site")
  })

  test("a page that came by http is another origin for a request that came by https, as Origin says and Sec-Fetch-Site decides", () => {
    const facts = { method: "POST", host: HOST, origin: `http://${HOST}` }
    expect(judged({ ...facts, secure: true }).verdict).toBe("cross-site")
    expect(judged({ ...facts, secure: false }).verdict).toBe("pass")
    // Behind a proxy that nobody has told us to trust.
    expect(judged({ ...facts, origin: `https://${HOST}`, secure: false }).verdict).toBe("pass")
    expect(judged({ ...facts, secure: true, secFetchSite: "same-origin" }).verdict).toBe("pass")
  })

  test("what pages and programs are told says what to do, and why, but not of whom", () => {
    expect.assertions(6)
    const facts = { method: "POST", host: HOST, origin: "https://evil.example" }
    try {
      judgedOrThrown(facts, true)
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_SESSION_CSRF", status: 403, statusCode: 403, expose: true })
      expect((error as Error).message).toContain("csrf.trustedOrigins")
      expect((error as Error).message).not.toContain("evil")
    }
    try {
      judgedOrThrown({ method: "POST", host: HOST }, { token: true }, "wrong-token")
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_SESSION_CSRF", reason: "token" })
      expect((error as Error).message).toContain("session.csrfToken()")
      expect((error as Error).message).not.toContain("wrong-token")
    }
  })

  test("property: a browser's own pages always pass, those of others never do, whatever else is said", () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/)
    const host = fc.tuple(label, label).map((labels) => labels.join("."))
    const port = fc.option(fc.integer({ min: 1024, max: 65_535 }), { nil: undefined })
    const origin = fc.tuple(fc.constantFrom("http", "https"), host, port)
    const method = fc.constantFrom("POST", "PUT", "PATCH", "DELETE", "post")
    fc.assert(
      fc.property(origin, origin, method, fc.boolean(), (page, server, name, isUpgrade) => {
        const at = page[2] === undefined ? page[1] : `${page[1]}:${page[2]}`
        const ours = server[2] === undefined ? server[1] : `${server[1]}:${server[2]}`
        const from = `${page[0]}://${at}`
        expect(judged({ method: name, origin: from, host: at, isUpgrade }).verdict).toBe("pass")
        expect(judged({ method: name, origin: from, host: ours, isUpgrade }).verdict).toBe(
          at === ours ? "pass" : "cross-site",
        )
        expect(judged({ method: name, origin: from, host: at, secFetchSite: "same-site" }).verdict).toBe(
          "cross-site",
        )
        expect(
          judged(
            { method: name, origin: from, host: ours, secFetchSite: "cross-site" },
            { trustedOrigins: [from] },
          ).verdict,
        ).toBe("pass")
      }),
    )
  })
})

describe("the token", () => {
  const silent = { method: "POST", host: HOST }

  test("is read only where the browser tells nothing", () => {
    const asks = (facts: RequestFacts): boolean => judged(facts, { token: true }, GOOD).asked
    expect(asks(silent)).toBe(true)
    expect(asks({ ...silent, secFetchSite: "same-origin" })).toBe(false)
    expect(asks({ ...silent, secFetchSite: "cross-site" })).toBe(false)
    expect(asks({ ...silent, origin: `https://${HOST}` })).toBe(false)
    expect(asks({ ...silent, method: "GET" })).toBe(false)
    expect(asks({ ...silent, method: "GET", isUpgrade: true })).toBe(false)
    expect(judged(silent, true, GOOD).asked).toBe(false)
  })

  test("does not make up for another site", () => {
    const options = { token: true }
    expect(judged({ ...silent, secFetchSite: "cross-site" }, options, GOOD).verdict).toBe("cross-site")
    expect(judged({ ...silent, origin: "https://evil.example" }, options, GOOD).verdict).toBe("cross-site")
  })

  test("may come later, for it may stand in the body", async () => {
    const protection = csrfProtection({ token: true }) as CsrfProtection
    const later = (token: string | null | undefined) => () => Promise.resolve(token)
    await expect(protection.check(silent, cookies, later(GOOD))).resolves.toBeUndefined()
    for (const token of [undefined, null, "", "another"])
      await expect(protection.check(silent, cookies, later(token))).rejects.toMatchObject({ reason: "token" })
  })

  test("that is there at once is judged at once, so that nothing waits and no promise is left behind", () => {
    const protection = csrfProtection({ token: true }) as CsrfProtection
    expect(protection.check(silent, cookies, () => GOOD)).toBeUndefined()
    expect(() => protection.check(silent, cookies, () => "another")).toThrow(CsrfError)
  })

  test("a missing one is not even given to the session", () => {
    const verifyCsrfToken = vi.fn(() => true)
    const protection = csrfProtection({ token: true }) as CsrfProtection
    expect(() => protection.check(silent, { isNew: false, verifyCsrfToken }, () => "")).toThrow(CsrfError)
    expect(verifyCsrfToken).not.toHaveBeenCalled()
  })

  test("is not asked of a request without a session, which has nothing to ride on: a program's, with a bearer's token", () => {
    const readToken = vi.fn(() => undefined)
    const protection = csrfProtection({ token: true }) as CsrfProtection
    expect(protection.check(silent, noCookie, readToken)).toBeUndefined()
    expect(readToken).not.toHaveBeenCalled()
    const evil = { ...silent, secFetchSite: "cross-site" }
    expect(() => protection.check(evil, noCookie, readToken)).toThrow(CsrfError)
  })
})

describe("the token of a web request", () => {
  const url = "https://shop.example/"
  const form = (fields: Record<string, string>): URLSearchParams => new URLSearchParams(fields)
  const post = (body: RequestInit["body"], headers: Record<string, string> = {}): Request =>
    new Request(url, { method: "POST", body, headers, duplex: "half" } as RequestInit)

  test("is the header's, which goes before the form's", () => {
    expect(csrfTokenOf(post(form({ [CSRF_FIELD]: "field" }), { [CSRF_HEADER]: "header" }))).toBe("header")
    expect(csrfTokenOf(post(form({ [CSRF_FIELD]: "field" }), { [CSRF_HEADER]: "" }))).toBe("")
  })

  test("is the field's of a form, and the handler can still read the form", async () => {
    const request = post(form({ [CSRF_FIELD]: "field", name: "Ada" }))
    expect(await csrfTokenOf(request)).toBe("field")
    expect((await request.formData()).get("name")).toBe("Ada")
  })

  test("is that of a form with files as well", async () => {
    const data = new FormData()
    data.set("photo", new Blob(["x".repeat(10_000)]), "photo.png")
    data.set(CSRF_FIELD, "field")
    const request = post(data)
    expect(await csrfTokenOf(request)).toBe("field")
    expect(((await request.formData()).get("photo") as File).size).toBe(10_000)
  })

  test.each([
    "application/x-www-form-urlencoded;charset=UTF-8",
    "APPLICATION/X-WWW-FORM-URLENCODED",
    "application/x-www-form-urlencoded ; a=b",
  ])("is read from %s", async (type) => {
    expect(await csrfTokenOf(post(`${CSRF_FIELD}=field`, { "Content-Type": type }))).toBe("field")
  })

  test.each([
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded-not",
    "",
    "x/multipart/form-data",
  ])("is not looked for in a body of type %j", (type) => {
    expect(csrfTokenOf(post(`${CSRF_FIELD}=field`, { "Content-Type": type }))).toBeUndefined()
  })

  test("needs no Content-Length: proxies and HTTP/2 leave it out", async () => {
    const stream = new Blob([`a=1&${CSRF_FIELD}=fi`, "eld"]).stream()
    const request = post(stream, { "Content-Type": "application/x-www-form-urlencoded" })
    expect(request.headers.get("content-length")).toBeNull()
    expect(await csrfTokenOf(request)).toBe("field")
    expect(await request.text()).toBe(`a=1&${CSRF_FIELD}=field`)
  })

  test("of a body that is too long and cannot be cancelled leaves no rejection behind", async () => {
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024).fill(97)),
      cancel() {
        throw new Error("not to be cancelled")
      },
    })
    const request = post(endless, { "Content-Type": "application/x-www-form-urlencoded" })
    expect(await csrfTokenOf(request)).toBeUndefined()
    await expect(request.body?.cancel()).rejects.toThrow("not to be cancelled")
    await setImmediate()
  })

  test("is not looked for in more than a megabyte, said or not, and no more is read", async () => {
    const type = { "Content-Type": "application/x-www-form-urlencoded" }
    expect(csrfTokenOf(post("a=1", { ...type, "Content-Length": "1048577" }))).toBeUndefined()
    expect(await csrfTokenOf(post(`${CSRF_FIELD}=field`, { ...type, "Content-Length": "1048576" }))).toBe(
      "field",
    )
    let pulled = 0
    const endless = new ReadableStream({
      pull(controller) {
        pulled++
        if (pulled > 1000) controller.close()
        else controller.enqueue(new Uint8Array(64 * 1024).fill(97))
      },
    })
    const request = post(endless, type)
    expect(await csrfTokenOf(request)).toBeUndefined()
    expect(pulled).toBeLessThan(25)
    // The handler has it all.
    expect((await request.arrayBuffer()).byteLength).toBe(1000 * 64 * 1024)
  })

  test("is none where there is no form, no body, a body that was read, or one that fails", async () => {
    const type = { "Content-Type": "application/x-www-form-urlencoded" }
    expect(csrfTokenOf(new Request(url, { method: "POST" }))).toBeUndefined()
    expect(await csrfTokenOf(new Request(url, { method: "POST", headers: type }))).toBeUndefined()
    expect(await csrfTokenOf(post("a=1", type))).toBeUndefined()
    expect(
      await csrfTokenOf(post("no form", { "Content-Type": "multipart/form-data; boundary=x" })),
    ).toBeUndefined()
    const read = post(form({ [CSRF_FIELD]: "field" }))
    await read.text()
    expect(csrfTokenOf(read)).toBeUndefined()
    const locked = post(form({ [CSRF_FIELD]: "field" }))
    locked.body?.getReader()
    expect(await csrfTokenOf(locked)).toBeUndefined()
    const failing = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) })
    expect(await csrfTokenOf(post(failing, type))).toBeUndefined()
  })

  test("is none that is a file", async () => {
    const data = new FormData()
    data.set(CSRF_FIELD, new Blob([GOOD]), "token.txt")
    expect(await csrfTokenOf(post(data))).toBeUndefined()
  })
})

describe("the option", () => {
  test.each([
    ["https://admin.example"],
    ["http://localhost:3000"],
    ["https://admin.example:8443"],
    ["http://[::1]:3000"],
  ])("takes the origin %s", (origin) => {
    const options = { trustedOrigins: [origin] }
    expect(judged({ method: "POST", host: HOST, origin, secFetchSite: "cross-site" }, options).verdict).toBe(
      "pass",
    )
  })

  test.each([
    "admin.example",
    "https://admin.example/",
    "https://admin.example/path",
    "https://Admin.example",
    "https://admin.example:443",
    "https://*.example",
    "null",
    "*",
    "",
    7,
    undefined,
    /x/,
  ])("refuses %j as an origin, and names its place", (origin) => {
    const options = { trustedOrigins: ["https://a.example", origin] } as CsrfOptions
    expect(() => csrfProtection(options)).toThrow(ConfigError)
    expect(() => csrfProtection(options)).toThrow(/^csrf\.trustedOrigins\[1\]: expected an origin/)
  })

  test.each([
    ["yes", "csrf", /^csrf: expected true, false or/],
    [1, "csrf", /^csrf: expected true/],
    [null, "csrf", /^csrf: expected true/],
    [{ origins: [] }, "csrf.origins", /is no option/],
    [{ token: "yes" }, "csrf.token", /expected true or false/],
    [{ trustedOrigins: "https://a.example" }, "csrf.trustedOrigins", /expected a list/],
  ])("refuses %j, and names %s", (option, name, message) => {
    expect(() => csrfProtection(option as CsrfOptions)).toThrow(message)
    expect(() => csrfProtection(option as CsrfOptions)).toThrow(expect.objectContaining({ option: name }))
  })

  test("undefined members are as good as none", () => {
    expect(
      judged({ method: "POST", host: HOST }, { trustedOrigins: undefined, token: undefined }).verdict,
    ).toBe("pass")
  })
})

function judgedOrThrown(facts: RequestFacts, options: boolean | CsrfOptions, token?: string): void {
  void csrfProtection(options)?.check(facts, cookies, () => token)
}

import { describe, expect, test, vi } from "vitest"
import type { Finalized, Outcome } from "./api.ts"
import { abandon, FetchFacts, type FetchFactsOptions, finishResponse, withFinalized } from "./fetch.ts"

function factsOf(url: string, headers: Record<string, string> = {}, options?: FetchFactsOptions): FetchFacts {
  return new FetchFacts(new Request(url, { headers }), options)
}

const TRUST = { trustProxy: true }

describe("the facts of a web request", () => {
  test("are its method and headers", () => {
    const request = new Request("https://shop.example/", {
      method: "POST",
      headers: { "Sec-Fetch-Site": "same-origin", Origin: "https://shop.example" },
    })
    expect(new FetchFacts(request)).toMatchObject({
      method: "POST",
      secFetchSite: "same-origin",
      origin: "https://shop.example",
    })
    expect(factsOf("https://shop.example/")).toMatchObject({
      method: "GET",
      secFetchSite: null,
      origin: null,
    })
  })

  test("are read when they are asked for, and the address is taken apart once", () => {
    const headers = { get: vi.fn(() => null), has: vi.fn(() => false) }
    const url = vi.fn(() => "https://shop.example:8443/a?b")
    const facts = new FetchFacts({
      method: "GET",
      headers,
      get url() {
        return url()
      },
    })
    expect([headers.get, headers.has, url].map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0])
    expect([facts.host, facts.secure, facts.host]).toEqual(["shop.example:8443", true, "shop.example:8443"])
    expect(url).toHaveBeenCalledTimes(1)
    expect(headers.get).not.toHaveBeenCalled()
  })

  test.each([
    ["websocket", true],
    ["WebSocket", true],
    ["h2c", false],
    ["websocket, h2c", false],
    [undefined, false],
  ])("Upgrade: %s asks for a WebSocket: %j", (upgrade, expected) => {
    const headers = { get: () => upgrade ?? null, has: () => false }
    expect(new FetchFacts({ method: "GET", url: "https://x/", headers }).isUpgrade).toBe(expected)
  })

  test.each<[string, Record<string, string>, FetchFactsOptions | undefined, boolean | undefined]>([
    ["https://x/", {}, undefined, true],
    ["http://x/", {}, undefined, false],
    ["https://x/", { Via: "1.1 proxy" }, undefined, true],
    ["http://x/", { Via: "1.1 proxy" }, undefined, undefined],
    ["http://x/", { "X-Forwarded-For": "192.0.2.1" }, undefined, undefined],
    ["http://x/", { "X-Forwarded-Proto": "https" }, undefined, undefined],
    ["http://x/", { "X-Forwarded-Proto": "https" }, { trustProxy: false }, undefined],
    ["http://x/", { "X-Forwarded-Proto": "https" }, TRUST, true],
    ["https://x/", { "X-Forwarded-Proto": "http" }, TRUST, false],
    ["https://x/", { "X-Forwarded-Proto": "http" }, undefined, true],
    ["http://x/", { Forwarded: "proto=https" }, TRUST, true],
    ["http://x/", { Forwarded: "for=192.0.2.1" }, TRUST, undefined],
    ["http://x/", {}, TRUST, false],
  ])("%s with %j under %j: https %j", (url, headers, options, secure) => {
    expect(factsOf(url, headers, options).secure).toBe(secure)
  })

  test.each<[string, Record<string, string>, FetchFactsOptions | undefined, string]>([
    ["https://Shop.Example/", {}, undefined, "shop.example"],
    ["https://shop.example:443/", {}, undefined, "shop.example"],
    ["http://[::1]:3000/", {}, undefined, "[::1]:3000"],
    ["http://internal/", { "X-Forwarded-Host": "shop.example" }, undefined, "internal"],
    ["http://internal/", { "X-Forwarded-Host": "shop.example" }, TRUST, "shop.example"],
    ["http://internal/", { Forwarded: 'host="shop.example:8443"' }, TRUST, "shop.example:8443"],
    ["http://internal/", {}, TRUST, "internal"],
  ])("%s with %j under %j: host %s", (url, headers, options, host) => {
    expect(factsOf(url, headers, options).host).toBe(host)
  })

  test("carry what the adapter has to say", () => {
    expect(factsOf("https://x/", {}, { readOnly: "why", httpsSetting: "trust" })).toMatchObject({
      readOnly: "why",
      httpsSetting: "trust",
    })
    expect(factsOf("https://x/").readOnly).toBeUndefined()
    expect(factsOf("https://x/").httpsSetting).toBeUndefined()
  })
})

const cookie: Finalized = {
  headers: [
    { name: "Set-Cookie", value: "id=new", mode: "append" },
    { name: "Vary", value: "Cookie", mode: "merge" },
  ],
  setCookie: "id=new",
}

function sessionThat(
  isTouched: boolean,
  finalized: Finalized = cookie,
): {
  isTouched: boolean
  outcomes: (Outcome | undefined)[]
  finalize(outcome?: Outcome): Promise<Finalized>
} {
  const outcomes: (Outcome | undefined)[] = []
  return { isTouched, outcomes, finalize: (outcome) => (outcomes.push(outcome), Promise.resolve(finalized)) }
}

describe("a response", () => {
  test("of an untouched session goes out as it is, and nobody waits for the end of the session", async () => {
    const session = sessionThat(false)
    session.finalize = (outcome) => (session.outcomes.push(outcome), new Promise(() => undefined))
    const response = new Response("body")
    expect(await finishResponse(response, session)).toBe(response)
    expect(session.outcomes).toEqual([undefined])
    expect([...response.headers.keys()]).toEqual(["content-type"])
  })

  test("is the very one where its headers can be changed, and tells its status", async () => {
    const session = sessionThat(true)
    const response = new Response("body", { status: 201 })
    expect(await finishResponse(response, session)).toBe(response)
    expect(response.headers.getSetCookie()).toEqual(["id=new"])
    expect(session.outcomes).toEqual([{ status: 201 }])
  })

  test("is a copy where they cannot, with the same status, headers and body", async () => {
    const fixed = await fetchedResponse()
    const finished = await finishResponse(fixed, sessionThat(true))
    expect(finished).not.toBe(fixed)
    expect([finished.status, finished.statusText, finished.headers.get("x-own")]).toEqual([202, "Yes", "1"])
    expect(finished.headers.getSetCookie()).toEqual(["id=new"])
    expect(await finished.text()).toBe("body")
    const redirect = await finishResponse(
      Response.redirect("https://shop.example/next", 303),
      sessionThat(true),
    )
    expect([redirect.status, redirect.headers.get("location")]).toEqual([303, "https://shop.example/next"])
    expect(redirect.headers.getSetCookie()).toEqual(["id=new"])
  })

  test("is never copied for a session that has nothing to say", async () => {
    const fixed = Response.redirect("https://shop.example/next", 303)
    expect(await finishResponse(fixed, sessionThat(true, { headers: [] }))).toBe(fixed)
    expect(withFinalized(fixed, { headers: [] })).toBe(fixed)
  })

  test("that no header can be added to has the session end as a failed one would", async () => {
    const switched = Object.defineProperty(new Response(null), "status", { value: 101 })
    for (const response of [Response.error(), switched]) {
      const session = sessionThat(true)
      expect(await finishResponse(response, session)).toBe(response)
      expect(session.outcomes).toEqual([{ status: 500, headersLost: true }])
    }
  })

  test("whose headers fail for another reason fails with it", () => {
    const broken = new Response()
    vi.spyOn(broken.headers, "append").mockImplementation(() => {
      throw new RangeError("full")
    })
    expect(() => withFinalized(broken, cookie)).toThrow(RangeError)
  })

  test("that a failed save leaves unsent is nobody's", async () => {
    const session = sessionThat(true)
    session.finalize = () => Promise.reject(new Error("store"))
    await expect(finishResponse(new Response(), session)).rejects.toThrow("store")
    // What the handler threw is the error to tell.
    await expect(abandon(session)).resolves.toBeUndefined()
  })
})

test("a session of a failed handler is told that its headers go nowhere", async () => {
  const session = sessionThat(true)
  await abandon(session)
  expect(session.outcomes).toEqual([{ status: 500, headersLost: true }])
})

/** One whose headers cannot be changed, as `fetch` gives. */
async function fetchedResponse(): Promise<Response> {
  const response = new Response("body", { status: 202, statusText: "Yes", headers: { "X-Own": "1" } })
  const refuse = (): never => {
    throw new TypeError("immutable")
  }
  for (const name of ["append", "set", "delete"] as const)
    Object.defineProperty(response.headers, name, { value: refuse })
  return Promise.resolve(response)
}

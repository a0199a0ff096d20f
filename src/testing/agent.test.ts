import { createServer, type Server } from "node:http"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { CookieJar } from "tough-cookie"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { cookieAgent, type AgentRequestInit } from "./agent.ts"

interface Seen {
  method: string
  url: string
  headers: Record<string, string>
  body: string
}

/** Answers by path; writes down what it is asked. */
function site(answers: Record<string, (request: Request) => Response>): {
  handler: (request: Request) => Promise<Response>
  seen: Seen[]
} {
  const seen: Seen[] = []
  return {
    seen,
    async handler(request) {
      const { pathname } = new URL(request.url)
      seen.push({
        method: request.method,
        url: request.url,
        headers: Object.fromEntries(request.headers),
        body: await request.clone().text(),
      })
      return answers[pathname]?.(request) ?? new Response("ok")
    },
  }
}

function setting(...cookies: string[]): () => Response {
  return () =>
    new Response("set", { headers: cookies.map((cookie) => ["Set-Cookie", cookie] as [string, string]) })
}

function redirecting(status: number, location: string): () => Response {
  return () => new Response("elsewhere", { status, headers: { Location: location } })
}

describe("cookies", () => {
  test("are kept and sent back until they are removed", async () => {
    const { handler, seen } = site({
      "/set": setting("a=1; Path=/", "b=2; Path=/; HttpOnly"),
      "/unset": setting("a=; Path=/; Max-Age=0"),
    })
    const agent = cookieAgent(handler, { jar: new CookieJar() })
    await agent.get("/set")
    await agent.get("/")
    await agent.get("/unset")
    await agent.get("/")
    expect(seen.map(({ headers }) => headers["cookie"])).toEqual([undefined, "a=1; b=2", "a=1; b=2", "b=2"])
    expect(await agent.cookies()).toEqual(new Map([["b", "2"]]))
  })

  test("are told by name with their whole value", async () => {
    const agent = cookieAgent(site({ "/": setting("a=x=y; Path=/") }).handler, { jar: new CookieJar() })
    expect(await agent.cookies()).toEqual(new Map())
    await agent.get("/")
    expect(await agent.cookies()).toEqual(new Map([["a", "x=y"]]))
  })

  test("of a path are sent to that path alone", async () => {
    const agent = cookieAgent(site({ "/": setting("a=1; Path=/admin") }).handler, { jar: new CookieJar() })
    await agent.get("/")
    expect((await agent.cookies()).size).toBe(0)
    expect((await agent.cookies("/admin/x")).size).toBe(1)
  })

  test("that a caller adds go first", async () => {
    const { handler, seen } = site({ "/set": setting("a=1; Path=/") })
    const agent = cookieAgent(handler, { jar: new CookieJar() })
    await agent.get("/set")
    await agent.get("/", { headers: { Cookie: "forged=1" } })
    expect(seen[1]?.headers["cookie"]).toBe("forged=1; a=1")
  })

  test("are shared by agents of one jar, and by no others", async () => {
    const { handler } = site({ "/": setting("a=1; Path=/") })
    const jar = new CookieJar()
    await cookieAgent(handler, { jar }).get("/")
    expect((await cookieAgent(handler, { jar }).cookies()).size).toBe(1)
    expect((await cookieAgent(handler, { jar: new CookieJar() }).cookies()).size).toBe(0)
  })

  const places = ["https://localhost", "http://localhost:3000", "http://127.0.0.1", "http://example.com"]
  test.each([
    ["a=1; Path=/", [true, true, true, true]],
    ["a=1; Path=/; Secure", [true, true, true, false]],
    ["__Host-a=1; Path=/; Secure", [true, false, false, false]],
    ["__host-a=1; Path=/; Secure", [true, false, false, false]],
    ["__Secure-a=1; Path=/; Secure", [true, false, false, false]],
    ["__Secure-a=1; Path=/", [false, false, false, false]],
    ["__Host-a=1; Path=/", [false, false, false, false]],
    ["__Host-a=1; Path=/x; Secure", [false, false, false, false]],
    ["__Host-a=1; Secure", [false, false, false, false]],
    ["__Host-a=1; Path=/; Secure; Domain=localhost", [false, false, false, false]],
  ])("RFC 6265bis: of %j, a browser keeps what it may", async (cookie, kept) => {
    const { handler } = site({ "/": setting(cookie) })
    const found = await Promise.all(
      places.map(async (origin) => {
        const agent = cookieAgent(handler, { jar: new CookieJar(), origin })
        await agent.get("/")
        return (await agent.cookies()).size > 0
      }),
    )
    expect(found).toEqual(kept)
  })

  test("with a prefix stay at home when the page is plain http", async () => {
    const jar = new CookieJar()
    const { handler, seen } = site({ "/set": setting("__Host-a=1; Path=/; Secure", "b=2; Path=/; Secure") })
    await cookieAgent(handler, { jar, origin: "https://localhost" }).get("/set")
    await cookieAgent(handler, { jar, origin: "http://localhost" }).get("/")
    expect(seen[1]?.headers["cookie"]).toBe("b=2")
  })

  test("with a prefix that came over plain http are not kept for https either", async () => {
    const jar = new CookieJar()
    const { handler } = site({ "/": setting("__Host-a=1; Path=/; Secure") })
    await cookieAgent(handler, { jar, origin: "http://localhost" }).get("/")
    expect((await cookieAgent(handler, { jar, origin: "https://localhost" }).cookies()).size).toBe(0)
  })

  test("that make no sense are ignored", async () => {
    const agent = cookieAgent(site({ "/": setting("a=1; Domain=other.example", "; x") }).handler, {
      jar: new CookieJar(),
    })
    await expect(agent.get("/")).resolves.toBeInstanceOf(Response)
    expect((await agent.cookies()).size).toBe(0)
  })
})

describe("Sec-Fetch-Site", () => {
  const cookies = setting(
    "strict=1; Path=/; SameSite=Strict; Secure",
    "lax=1; Path=/; SameSite=Lax; Secure",
    "none=1; Path=/; SameSite=None; Secure",
  )

  test.each<[AgentRequestInit, string, string | undefined]>([
    [{}, "strict=1; lax=1; none=1", undefined],
    [{ site: "none" }, "strict=1; lax=1; none=1", "none"],
    [{ site: "same-origin", method: "post" }, "strict=1; lax=1; none=1", "same-origin"],
    [{ site: "same-site", method: "POST" }, "strict=1; lax=1; none=1", "same-site"],
    [{ site: "cross-site" }, "lax=1; none=1", "cross-site"],
    [{ site: "cross-site", method: "HEAD" }, "lax=1; none=1", "cross-site"],
    [{ site: "cross-site", method: "POST" }, "none=1", "cross-site"],
  ])("%j is told, and lets through the cookies SameSite allows", async (init, sent, told) => {
    const { handler, seen } = site({ "/set": cookies })
    const agent = cookieAgent(handler, { jar: new CookieJar() })
    await agent.get("/set")
    await agent.fetch("/", init)
    expect(seen[1]?.headers["cookie"]).toBe(sent)
    expect(seen[1]?.headers["sec-fetch-site"]).toBe(told)
  })
})

describe("redirects", () => {
  test.each([
    [301, "POST", "GET"],
    [302, "POST", "GET"],
    [303, "POST", "GET"],
    [307, "POST", "POST"],
    [308, "POST", "POST"],
    [301, "PUT", "PUT"],
    [302, "PUT", "PUT"],
    [303, "PUT", "GET"],
    [303, "HEAD", "HEAD"],
    [302, "GET", "GET"],
  ])("%i turns %s into %s, with its body and content type or without", async (status, method, next) => {
    const { handler, seen } = site({ "/from": redirecting(status, "/to?x=1") })
    const agent = cookieAgent(handler, { jar: new CookieJar() })
    const hasBody = method === "POST" || method === "PUT"
    const response = await agent.fetch("/from", {
      method,
      headers: { "X-Kept": "yes" },
      ...(hasBody ? { body: new URLSearchParams({ a: "1" }) } : undefined),
    })
    expect(response.status).toBe(200)
    expect(seen[1]).toMatchObject({
      method: next,
      url: "https://localhost/to?x=1",
      body: next === method && hasBody ? "a=1" : "",
    })
    expect("content-type" in (seen[1]?.headers ?? {})).toBe(next === method && hasBody)
    expect(seen[1]?.headers["x-kept"]).toBe("yes")
    expect(agent.url).toBe("https://localhost/to?x=1")
  })

  test("carry the cookies that were set on the way", async () => {
    const { handler, seen } = site({
      "/": () =>
        new Response(null, { status: 303, headers: { Location: "/next", "Set-Cookie": "a=1; Path=/" } }),
    })
    await cookieAgent(handler, { jar: new CookieJar() }).post("/", "x")
    expect(seen[1]?.headers["cookie"]).toBe("a=1")
  })

  test("to another origin take no Authorization and no cookies with them", async () => {
    const { handler, seen } = site({
      "/set": setting("a=1; Path=/"),
      "/out": redirecting(307, "https://elsewhere.example/"),
      "/in": redirecting(307, "/"),
    })
    const headers = { Authorization: "Bearer x" }
    const agent = cookieAgent(handler, { jar: new CookieJar(), headers })
    await agent.get("/set")
    await agent.get("/out")
    await agent.get("/in")
    expect(
      seen.map((request) => [request.url, request.headers["authorization"], request.headers["cookie"]]),
    ).toEqual([
      ["https://localhost/set", "Bearer x", undefined],
      ["https://localhost/out", "Bearer x", "a=1"],
      ["https://elsewhere.example/", undefined, undefined],
      ["https://localhost/in", "Bearer x", "a=1"],
      ["https://localhost/", "Bearer x", "a=1"],
    ])
  })

  test("can be looked at instead", async () => {
    const { handler, seen } = site({ "/": redirecting(303, "/next") })
    const response = await cookieAgent(handler, { jar: new CookieJar() }).get("/", { redirect: "manual" })
    expect([response.status, response.headers.get("Location"), seen.length]).toEqual([303, "/next", 1])
  })

  test("without a Location, and other statuses with one, end the journey", async () => {
    const { handler } = site({
      "/a": () => new Response(null, { status: 302 }),
      "/b": () => new Response(null, { status: 201, headers: { Location: "/" } }),
    })
    const agent = cookieAgent(handler, { jar: new CookieJar() })
    expect((await agent.get("/a")).status).toBe(302)
    expect((await agent.get("/b")).status).toBe(201)
  })

  test("that never end are given up", async () => {
    const { handler, seen } = site({ "/": redirecting(302, "/") })
    await expect(cookieAgent(handler, { jar: new CookieJar() }).get("/")).rejects.toThrow(
      "More than 20 redirects",
    )
    expect(seen).toHaveLength(21)
  })
})

describe("headers of an agent", () => {
  test("go with every request, and give way to a request's own", async () => {
    const { handler, seen } = site({})
    const agent = cookieAgent(handler, {
      jar: new CookieJar(),
      headers: { "User-Agent": "one", Accept: "a" },
    })
    await agent.post("/", JSON.stringify({}), {
      headers: { accept: "b", "content-type": "application/json" },
    })
    await agent.post("/")
    expect(seen[0]?.headers).toMatchObject({
      "user-agent": "one",
      accept: "b",
      "content-type": "application/json",
    })
    expect(seen[1]).toMatchObject({ method: "POST", body: "", headers: { accept: "a" } })
  })
})

describe("a server at a URL", () => {
  let server: Server
  let base: string

  beforeAll(async () => {
    server = createServer((request, response) => {
      if (request.url === "/login") {
        response
          .writeHead(303, { Location: "/", "Set-Cookie": ["a=1; Path=/", "b=2; Path=/; Secure"] })
          .end("bye")
      } else response.end(`${request.method} ${request.headers.cookie}`)
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })

  afterAll(() => server.close())

  test("is driven over the network", async () => {
    const agent = cookieAgent(base, { jar: new CookieJar() })
    expect(agent.url).toBe(`${base}/`)
    const response = await agent.post("/login", "x=1")
    // Whether a jar of tough-cookie sends `Secure` cookies to 127.0.0.1 is its own affair.
    expect(await response.text()).toMatch(/^GET a=1/)
    expect(agent.url).toBe(`${base}/`)
  })
})

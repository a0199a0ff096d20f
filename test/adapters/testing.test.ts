import type { IncomingMessage, ServerResponse } from "node:http"
import { createSessions, type Sessions, type SessionsOptions } from "coatcheck"
import { expressSessions } from "coatcheck/express"
import { honoSessions } from "coatcheck/hono"
import { memoryStore } from "coatcheck/memory"
import { withSession } from "coatcheck/node"
import { cookieAgent, signedInCookie, type PlaywrightCookie } from "coatcheck/testing"
import express from "express"
import { Hono } from "hono"
import type { Browser, BrowserContext } from "playwright-core"
import request from "supertest"
import { CookieJar } from "tough-cookie"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { chromiumPath, launchChromium } from "../browser/chromium.ts"
import { serve } from "../support/node-servers.ts"
import { KEY } from "./scenes.ts"

/** `signedInCookie` with the clients of tests that people have. */

interface State {
  cart: string[]
}

function makeSessions(cookie: SessionsOptions["cookie"] = {}): Sessions<State, object> {
  return createSessions<State, object>({ keys: [KEY], store: memoryStore(), cookie })
}

describe("with supertest and Express", () => {
  function shop(sessions: Sessions<State, object>): express.Express {
    const { middleware, getSession, requireUser } = expressSessions(sessions)
    const app = express()
    app.use(middleware)
    app.get("/account", requireUser(), async (req, res) => {
      const session = getSession(req)
      res.json({ user: await session.userId(), cart: await session.get("cart") })
    })
    app.post("/cart", async (req, res) => {
      getSession(req).set("cart", ["hat"])
      res.sendStatus(204)
    })
    app.post("/sign-out", (req, res) => {
      getSession(req).signOut()
      res.sendStatus(204)
    })
    app.use((error: { status?: number }, _: express.Request, res: express.Response, _next: unknown) => {
      res.sendStatus(error.status ?? 500)
    })
    return app
  }

  test.each(["auto", true, false] as const)(
    "its header signs a request in (cookie.secure: %j)",
    async (secure) => {
      const sessions = makeSessions({ secure })
      const app = shop(sessions)
      const cookie = await signedInCookie(sessions, "ada", {
        prepare: (session) => session.set("cart", ["coat"]),
      })
      await request(app).get("/account").expect(401)
      const answer = await request(app).get("/account").set("Cookie", cookie.header).expect(200)
      expect(answer.body).toEqual({ user: "ada", cart: ["coat"] })
    },
  )

  test("an agent goes on with it, writes, and signs out", async () => {
    const sessions = makeSessions({ secure: "auto" })
    const { header } = await signedInCookie(sessions, "ada")
    const agent = request.agent(shop(sessions)).set("Cookie", header)
    await agent.post("/cart").expect(204)
    expect((await agent.get("/account").expect(200)).body).toEqual({ user: "ada", cart: ["hat"] })
    await agent.post("/sign-out").expect(204)
    // The header is the old one.
    await request(shop(sessions)).get("/account").set("Cookie", header).expect(401)
  })

  test("a user who is revoked by the cookie's id is out", async () => {
    const sessions = makeSessions({ secure: "auto" })
    const cookie = await signedInCookie(sessions, "ada")
    expect(await sessions.revoke(cookie.id)).toBe(true)
    await request(shop(sessions)).get("/account").set("Cookie", cookie.header).expect(401)
  })
})

describe("with app.request of Hono", () => {
  test.each(["https://localhost", "http://localhost"])("its header signs a request to %s in", async (url) => {
    const sessions = makeSessions({ secure: "auto" })
    const { middleware } = honoSessions(sessions)
    const app = new Hono()
      .use(middleware)
      .get("/", async (c) => c.text((await c.var.session.userId()) ?? "nobody"))
    const { header } = await signedInCookie(sessions, "ada", { url })
    expect(await (await app.request(`${url}/`, { headers: { Cookie: header } })).text()).toBe("ada")
    expect(await (await app.request(`${url}/`)).text()).toBe("nobody")
  })

  test.each(["auto", true, false] as const)("so it does as it comes (cookie.secure: %j)", async (secure) => {
    const sessions = makeSessions({ secure })
    const { middleware } = honoSessions(sessions)
    const app = new Hono()
      .use(middleware)
      .get("/", async (c) => c.text((await c.var.session.userId()) ?? "nobody"))
    const { header } = await signedInCookie(sessions, "ada")
    expect(await (await app.request("/", { headers: { Cookie: header } })).text()).toBe("ada")
  })
})

describe("with a cookie jar of tough-cookie", () => {
  const handler = (sessions: Sessions<State, object>): ((request: Request) => Promise<Response>) =>
    sessions.handle(async (asked, session) => {
      if (asked.method === "POST") session.signOut()
      return new Response((await session.userId()) ?? "nobody")
    })

  test("its setCookie is what the jar takes, and sends back until the sign-out", async () => {
    const sessions = makeSessions()
    const jar = new CookieJar()
    const { setCookie } = await signedInCookie(sessions, "ada")
    await jar.setCookie(setCookie, "https://localhost/")
    const browser = cookieAgent(handler(sessions), { jar })
    expect(await (await browser.get("/")).text()).toBe("ada")
    await browser.post("/")
    expect(await (await browser.get("/")).text()).toBe("nobody")
  })

  test("over plain http to localhost with cookie.secure auto", async () => {
    const sessions = makeSessions({ secure: "auto" })
    const server = await serve(
      "http",
      withSession(sessions, async (_: IncomingMessage, response: ServerResponse, session) =>
        response.end((await session.userId()) ?? "nobody"),
      ),
    )
    onTestFinished(() => server[Symbol.asyncDispose]())
    const url = `http://127.0.0.1:${server.port}`
    const jar = new CookieJar()
    const { setCookie, name } = await signedInCookie(sessions, "ada", { url })
    expect(name).toBe("id")
    await jar.setCookie(setCookie, url)
    expect(await (await cookieAgent(url, { jar }).get("/")).text()).toBe("ada")
  })
})

describe("with Playwright", () => {
  let chromium: Browser

  beforeAll(async () => {
    if (chromiumPath !== undefined) chromium = await launchChromium()
  })

  afterAll(async () => chromium?.close())

  type Accepted = Parameters<BrowserContext["addCookies"]>[0][number]

  test("its shape is one that addCookies takes, and cookies() gives", () => {
    const asAccepted = (cookie: PlaywrightCookie): Accepted => cookie
    type Given = Awaited<ReturnType<BrowserContext["cookies"]>>[number]
    const asGiven = (cookie: PlaywrightCookie): Given => cookie
    expect([asAccepted, asGiven]).toHaveLength(2)
  })

  test.skipIf(chromiumPath === undefined).each([
    ["http", { secure: "auto" }, "localhost", "id"],
    ["http", { secure: "auto", kind: "browser-session" }, "127.0.0.1", "id"],
    ["https", {}, "localhost", "__Host-id"],
    ["https", { secure: "auto", sameSite: "strict" }, "localhost", "__Host-id"],
    ["https", { path: "/account" }, "localhost", "__Secure-id"],
    ["https", { domain: "shop.localhost" }, "www.shop.localhost", "__Secure-id"],
  ] as const)(
    "Chromium takes it over %s with %j, and is signed in at once",
    async (protocol, options, host, name) => {
      const sessions = makeSessions(options)
      const server = await serve(
        protocol,
        withSession(sessions, async (_: IncomingMessage, response: ServerResponse, session) => {
          response.end((await session.userId()) ?? "nobody")
        }),
      )
      onTestFinished(() => server[Symbol.asyncDispose]())
      const url = `${protocol}://${host}:${server.port}`
      const cookie = await signedInCookie(sessions, "ada", { url })
      expect(cookie.name).toBe(name)
      const context = await chromium.newContext({ ignoreHTTPSErrors: true })
      onTestFinished(() => context.close())
      await context.addCookies([cookie.playwright])
      const page = await context.newPage()
      await page.goto(`${url}/account`)
      expect(await page.textContent("body")).toBe("ada")
      const kept = await context.cookies()
      const { expires, ...rest } = cookie.playwright
      expect(kept).toMatchObject([rest])
      expect(kept[0]?.expires).toBeCloseTo(expires, -1)
    },
  )
})

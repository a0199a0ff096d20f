import { readFileSync } from "node:fs"
import { createSessions } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { reactRouterSessions } from "coatcheck/react-router"
import { signedInCookie } from "coatcheck/testing"
import { RouterContextProvider } from "react-router"
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { folder, startCounter, startReactRouter } from "./apps/react-router.ts"
import type { AdapterApp } from "./conformance.ts"
import { describeAdapter } from "./describe.ts"
import { KEY } from "./scenes.ts"
import { type Visit, Visitor } from "./visitor.ts"

describeAdapter("React Router 8", () => startReactRouter())

test("the shortest program of the documentation counts visits", async () => {
  const counter = await startCounter({ SESSION_KEY: KEY })
  onTestFinished(() => counter.close())
  const visitor = new Visitor(counter.url)
  expect((await visitor.get("/")).text).toContain("Visits: 1")
  expect((await visitor.get("/")).text).toContain("Visits: 2")
  expect(visitor.cookie("id")).toBeDefined()
})

describe("React Router 8", () => {
  let app: AdapterApp
  let visitor: Visitor

  beforeAll(async () => {
    app = await startReactRouter()
  })
  afterAll(async () => {
    await app.close()
  })
  beforeEach(async () => {
    visitor = new Visitor(app.url)
    await visitor.control("reset")
    await told()
  })

  /** What `handleError` was told since it was last asked. */
  const told = async (): Promise<string[]> => JSON.parse((await visitor.get("/told")).text) as string[]
  const submit = (path: string): Promise<Visit> => visitor.post(path, { ...FROM_HERE, body: FORM })

  describe("pages", () => {
    test("G1: a page that does not use its session costs nothing, as a document and as data", async () => {
      await visitor.get("/count")
      await visitor.control("reset")
      for (const path of ["/about", "/about.data"]) {
        const { status, headers } = await visitor.get(path)
        expect(status).toBe(200)
        expect(headers.getSetCookie()).toEqual([])
        expect(headers.get("vary")).toBeNull()
      }
      expect(await visitor.operations()).toEqual([])
    })

    test("G2: loaders that run side by side have one session, which loads once", async () => {
      await visitor.get("/count")
      await visitor.post("/note?note=inside")
      await visitor.control("reset")
      const { text, headers } = await visitor.get("/page/inner")
      expect(text).toContain("count: 1")
      expect(text).toContain("note: inside")
      expect(headers.get("vary")).toBe("Cookie")
      expect(headers.get("cache-control")).toBe("private, no-cache")
      expect(await visitor.operations()).toEqual(["load"])
    })

    test("the cookie comes with the data of a client navigation, and of one loader alone", async () => {
      for (const path of ["/plain/page.data", "/plain/page.data?_routes=routes%2Fplain-page"]) {
        const own = new Visitor(app.url)
        const { headers } = await own.get(path)
        expect(headers.get("content-type")).toBe("text/x-script")
        expect(headers.getSetCookie()).toHaveLength(1)
        expect(await own.read()).toMatchObject({ count: 1 })
      }
    })

    test("HEAD of a page saves what GET would", async () => {
      const { text, headers } = await visitor.request("HEAD", "/plain/page")
      expect(text).toBe("")
      expect(headers.getSetCookie()).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ count: 1 })
    })

    test("G12: what the headers export of a route says is taken into account", async () => {
      await visitor.get("/count")
      const read = await visitor.get("/cached")
      expect(read.headers.get("cache-control")).toBe("public, max-age=60")
      expect(read.headers.get("vary")).toBe("Accept-Language, Cookie")
      const written = await new Visitor(app.url).get("/cached?write")
      expect(written.headers.get("cache-control")).toBe("no-store")
      expect(written.headers.getSetCookie()).toHaveLength(1)
    })

    test("G3: promises that are sent after the head may read, and cannot change", async () => {
      const { text, headers, pieces } = await visitor.stream("/late")
      expect(headers.getSetCookie()).toHaveLength(1)
      expect(pieces[0]).not.toContain("late read")
      expect(text).toContain("late read: in time")
      expect(text).toContain("late change: ERR_SESSION_FINALIZED")
      expect(await visitor.read()).toMatchObject({ note: "in time" })
      expect((await visitor.stream("/late.data")).text).toContain("late change: ERR_SESSION_FINALIZED")
    })

    test("a page that is made when the application is built has no session to begin", () => {
      const page = readFileSync(`${folder}/dist/client/prerendered/index.html`, "utf8")
      expect(page).toContain("<p>ERR_SESSION_READ_ONLY</p>")
    })
  })

  describe("actions", () => {
    test.each(["redirect", "thrown redirect"])(
      "G3: after a %s the next request sees the change, without and with JavaScript",
      async (end) => {
        await visitor.control("delay=200")
        const document = await submit(`/form?end=${end}`)
        expect(document.status).toBe(302)
        expect(document.headers.getSetCookie()).toHaveLength(1)
        expect((await visitor.get("/page/inner")).text).toContain(`note: ${end}`)

        const scripted = new Visitor(app.url)
        const data = await scripted.post(`/form.data?end=${end}`, { ...FROM_HERE, body: FORM })
        expect(data.status).toBe(202)
        expect(data.text).toContain("/page/inner")
        expect(data.headers.getSetCookie()).toHaveLength(1)
        expect((await scripted.get("/page/inner.data")).text).toContain(end)
      },
    )

    test("a redirect whose headers cannot be changed carries the cookie too", async () => {
      const { status, headers } = await submit("/form?end=foreign+redirect")
      expect([status, headers.get("location")]).toEqual([302, "https://elsewhere.example/"])
      expect(headers.getSetCookie()).toHaveLength(1)
    })

    test.each([
      ["data", 200],
      ["422", 422],
      ["thrown 403", 403],
    ])("an answer of %s is saved with status %i", async (end, status) => {
      for (const path of ["/form", "/form.data"]) {
        const own = new Visitor(app.url)
        const answer = await own.post(`${path}?end=${end}`, { ...FROM_HERE, body: FORM })
        expect(answer.status).toBe(status)
        expect(await own.read()).toMatchObject({ note: end })
      }
    })

    test.each(["500", "error"])("G11: nothing is saved after %s, whose page says so", async (end) => {
      await visitor.get("/count")
      for (const path of ["/form", "/form.data"]) {
        const { status, text } = await submit(`${path}?end=${end}`)
        expect(status).toBe(500)
        if (end === "error" && path === "/form") expect(text).toContain("boundary: error")
        expect(await visitor.read()).toMatchObject({ note: null })
      }
    })

    test("who signs out has signed out, though the page fails", async () => {
      await visitor.post("/sign-in?user=ada")
      expect((await submit("/form?end=sign-out+and+error")).status).toBe(500)
      await visitor.post("/sign-in?user=ada")
      const before = visitor.cookie("__Host-id") as string
      const { status, headers } = await submit("/form?end=sign-out and error")
      expect(status).toBe(500)
      expect(headers.getSetCookie()).toHaveLength(1)
      const old = new Visitor(app.url)
      old.setCookie("__Host-id", before)
      expect(await old.read()).toMatchObject({ user: null })
    })

    test("a visitor who hangs up in the middle ends the request, of which only what was saved by then stays", async () => {
      await visitor.get("/count")
      for (const [end, note] of [
        ["wait", null],
        ["save and wait", "save and wait"],
      ] as const) {
        const gone = fetch(`${app.url}/form?end=${end}`, {
          method: "POST",
          headers: { ...FROM_HERE.headers, Cookie: `__Host-id=${visitor.cookie("__Host-id")}` },
          body: FORM,
          signal: AbortSignal.timeout(100),
        })
        await expect(gone).rejects.toThrow(/abort|timeout/i)
        await new Promise((resolve) => setTimeout(resolve, 500))
        expect(await visitor.read()).toMatchObject({ note })
      }
    })

    test("a page that is not found saves what its loader has changed", async () => {
      const { status, text } = await visitor.get("/missing/page")
      expect(status).toBe(404)
      expect(text).toContain("boundary: 404 Not Found")
      expect(await visitor.read()).toMatchObject({ note: "missing" })
    })
  })

  test("a middleware below that fails, too, saves nothing but that somebody signed out", async () => {
    await visitor.post("/sign-in?user=ada")
    expect((await visitor.get("/failing-middleware/note")).status).toBe(500)
    expect(await visitor.read()).toMatchObject({ user: "ada", note: null })
    expect((await visitor.get("/failing-middleware/sign-out")).status).toBe(500)
    expect(await visitor.read()).toMatchObject({ user: null })
  })

  describe("guards", () => {
    test("in the middleware of a route they protect its loaders, which do not run", async () => {
      const document = await visitor.get("/members")
      expect([document.status, document.headers.get("location")]).toEqual([303, "/form"])
      for (const path of ["/members.data", "/members.data?_routes=routes%2Fmember"]) {
        const data = await visitor.get(path)
        expect([data.status, data.headers.get("location")]).toEqual([202, null])
        expect(data.text).toContain("/form")
      }
      expect((await visitor.read())["note"]).toBeNull()
      await visitor.post("/sign-in?user=ada")
      expect((await visitor.get("/members")).text).toContain("member: ada")
    })

    test("in a loader they are answered with 401, by the ErrorBoundary, or with a redirect", async () => {
      const document = await visitor.get("/account")
      expect(document.status).toBe(401)
      expect(document.text).toContain("boundary: 401 Unauthorized")
      expect((await visitor.get("/account.data")).status).toBe(401)
      expect((await visitor.get("/account?to=/form")).headers.get("location")).toBe("/form")
      expect(await told()).toEqual([])
      await visitor.post("/sign-in?user=ada")
      expect((await visitor.get("/account")).text).toContain("account: ada")
    })

    test("requireFresh asks who has signed in long ago to do it again", async () => {
      await visitor.post("/sign-in?user=ada")
      expect((await visitor.get("/account?within=60000")).text).toContain("account: ada")
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect((await visitor.get("/account?within=1")).status).toBe(401)
      expect((await visitor.get("/account?within=1&to=/form")).headers.get("location")).toBe("/form")
    })
  })

  describe("a store that fails", () => {
    test.each(["load", "update"])(
      "in %s: the ErrorBoundary is answered with 503, with sessionErrors",
      async (operation) => {
        await visitor.get("/count")
        await visitor.control(`fail=${operation}`)
        const { status, headers, text } = await visitor.get("/cached?write")
        expect(status).toBe(503)
        expect(headers.get("retry-after")).toBe("5")
        expect(headers.get("cache-control")).toBe("no-store")
        expect(headers.getSetCookie()).toEqual([])
        expect(text).toContain("boundary: error")
        expect(await told()).toEqual([expect.stringContaining(operation)])
      },
    )

    test("the data of a client navigation keep their form, so that the ErrorBoundary is shown", async () => {
      await visitor.get("/count")
      await visitor.control("fail=update")
      const { status, headers } = await visitor.get("/cached.data?write")
      expect(status).toBe(503)
      expect(headers.get("x-remix-response")).toBe("yes")
      expect(headers.get("content-type")).toBe("text/x-script")
    })

    test("without sessionErrors it is an error like any other: 500, and nothing of the page", async () => {
      await visitor.get("/count")
      for (const operation of ["load", "update"]) {
        await visitor.control(`fail=${operation}`)
        const { status, headers, text } = await visitor.get("/plain/page")
        expect(status).toBe(500)
        expect(text).toContain("boundary: error")
        expect(text).not.toContain("plain count")
        expect(headers.getSetCookie()).toEqual([])
        expect(await told()).toEqual([expect.stringContaining(operation)])
        await visitor.control(`fail=${operation}`)
        expect((await visitor.get("/plain/count")).status).toBe(500)
        expect(await told()).toEqual([expect.stringContaining(operation)])
      }
      expect((await visitor.get("/plain/page")).text).toContain("plain count: 2")
    })
  })

  test("csrf: a page of another site is answered with 403, and nobody's handleError is told", async () => {
    const foreign = { headers: { "Sec-Fetch-Site": "cross-site" }, body: FORM }
    const { status, text } = await visitor.post("/form", foreign)
    expect(status).toBe(403)
    expect(text).toContain("boundary: 403 Forbidden")
    expect((await visitor.post("/form.data", foreign)).status).toBe(403)
    expect((await visitor.post("/plain/change", foreign)).status).toBe(403)
    expect(await told()).toEqual([])
  })

  test("csrf: what has another origin is refused by React Router itself on pages, with 400 and without a session", async () => {
    // To it http and https are two origins, as they are behind a proxy that speaks https for it.
    for (const origin of ["https://evil.example", app.url.replace("http:", "https:")]) {
      for (const path of ["/form", "/form.data"]) {
        const { status, headers } = await visitor.post(path, { headers: { Origin: origin }, body: FORM })
        expect(status).toBe(400)
        expect(headers.getSetCookie()).toEqual([])
      }
    }
  })

  test("trustProxy: the host that the browser knows is that of the proxy, where it is believed", async () => {
    const headers = { Origin: "https://shop.example", "X-Forwarded-Host": "shop.example" }
    expect((await visitor.post("/change", { headers })).status).toBe(403)
    const behindProxy = await startReactRouter({ TRUST_PROXY: "yes" })
    onTestFinished(() => behindProxy.close())
    expect((await new Visitor(behindProxy.url).post("/change", { headers })).text).toBe("changed")
  })

  test("a middleware that is mounted twice is an error that says so", async () => {
    const { status, text } = await visitor.get("/twice")
    expect(status).toBe(500)
    expect(text).toContain("boundary: error")
    const advice = expect.stringMatching(
      /mount them once per request.* a new context for each request in getLoadContext/,
    )
    expect(await told()).toEqual([advice])
    // Where there is no page to show, it is no less told.
    expect((await visitor.get("/twice-resource")).status).toBe(500)
    expect(await told()).toEqual([advice])
  })

  test("what cannot be saved of a resource route is answered with 503 in plain text, and told to onEvent alone", async () => {
    await visitor.get("/count")
    await visitor.control("fail=update")
    const { status, headers, text } = await visitor.get("/count")
    expect([status, headers.get("retry-after"), text]).toEqual([503, "5", "Service Unavailable\n"])
    expect(await told()).toEqual([])
    // An error of the loader itself is React Router's to tell.
    await visitor.control("fail=load")
    expect((await visitor.get("/count")).status).toBe(503)
    expect(await told()).toEqual([expect.stringContaining("load")])
  })
})

describe("without a server", () => {
  const sessions = createSessions({ keys: [KEY], store: memoryStore() })
  const { getSession, requireUser, sessionContext } = reactRouterSessions(sessions)

  test("getSession without the middleware is an error that says what to do", () => {
    expect(() => getSession(new RouterContextProvider())).toThrow(
      "Mount the middleware of reactRouterSessions",
    )
  })

  test("a test of a loader puts a session into the context by itself", async () => {
    const context = new RouterContextProvider()
    const { header } = await signedInCookie(sessions, "ada")
    context.set(sessionContext, sessions.open(header))
    expect(await requireUser(context)).toBe("ada")
    expect(getSession(context)).toBe(context.get(sessionContext))
  })
})

const FROM_HERE = { headers: { "Sec-Fetch-Site": "same-origin" } }
const FORM: URLSearchParams = new URLSearchParams({ any: "field" })

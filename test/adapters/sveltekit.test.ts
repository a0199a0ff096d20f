import { readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { svelteKitSessions } from "coatcheck/sveltekit"
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import {
  buildCounter,
  buildFixture,
  freePort,
  startSvelteKit,
  type SvelteKitBuild,
} from "./apps/sveltekit.ts"
import type { AdapterApp } from "./conformance.ts"
import { describeAdapter } from "./describe.ts"
import { createStage, KEY } from "./scenes.ts"
import { Visitor } from "./visitor.ts"

let build: SvelteKitBuild
let app: AdapterApp
let visitor: Visitor

beforeAll(async () => {
  build = await buildFixture()
})

afterAll(async () => {
  if (build !== undefined) await rm(build.folder, { recursive: true, force: true })
})

// Routes are files here: there is nothing that could be mounted in another application.
describeAdapter("SvelteKit 3, built for adapter-node", () => startSvelteKit(build), { sub: false })

test("the shortest program of the documentation counts visits", async () => {
  const counter = await buildCounter()
  onTestFinished(() => rm(counter.folder, { recursive: true, force: true }))
  const running = await startSvelteKit(counter, { SESSION_KEY: KEY })
  onTestFinished(() => running.close())
  visitor = new Visitor(running.url)
  expect((await visitor.get("/")).text).toBe("Visits: 1")
  expect((await visitor.get("/")).text).toBe("Visits: 2")
  expect(visitor.cookie("id")).toBeDefined()
})

describe("SvelteKit", () => {
  beforeAll(async () => {
    app = await startSvelteKit(build)
  })

  afterAll(async () => {
    await app.close()
  })

  beforeEach(async () => {
    visitor = new Visitor(app.url)
    await visitor.control("reset")
  })

  const form = { "Sec-Fetch-Site": "same-origin", Accept: "text/html" }
  const enhanced = { ...form, Accept: "application/json", "x-sveltekit-action": "true" }
  const submit = (path: string, headers: Record<string, string>) =>
    visitor.post(path, { headers, body: new URLSearchParams({ a: "1" }) })
  const own = (headers: Headers): string[] =>
    headers.getSetCookie().filter((line) => line.startsWith("__Host-id="))

  describe("pages", () => {
    test("a load function has the session, as a property and by its function", async () => {
      expect((await visitor.get("/pages/count")).text).toContain("count 1, same true")
      const { text, headers } = await visitor.get("/pages/count")
      expect(text).toContain("count 2, same true")
      expect(headers.get("vary")?.toLowerCase()).toContain("cookie")
    })

    test("the data of a navigation on the client carries the cookie, and is kept by nobody", async () => {
      const { headers, text } = await visitor.get("/pages/count/__data.json")
      expect(JSON.parse(text)).toMatchObject({ type: "data" })
      expect(own(headers)).toHaveLength(1)
      expect(headers.get("cache-control")).toContain("no-store")
      expect((await visitor.get("/pages/count")).text).toContain("count 2")
    })

    test("what the application sets stays, but for what would have others keep a session's page", async () => {
      const untouched = await visitor.get("/pages/headers")
      expect(untouched.headers.get("cache-control")).toBe("public, max-age=60")
      expect(untouched.headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["own"])
      const changed = await visitor.get("/pages/headers?change")
      expect(changed.headers.get("cache-control")).toBe("no-store")
      expect(changed.headers.get("vary")).toContain("Accept-Language")
      expect(changed.headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["own", "__Host-id"])
    })

    test("G3: a promise that a load function streams is too late to change the session", async () => {
      const { text, headers, pieces } = await visitor.stream("/pages/stream")
      expect(own(headers)).toHaveLength(1)
      expect(pieces[0]).toContain("waiting")
      expect(pieces[0]).not.toContain("ERR_SESSION_FINALIZED")
      expect(text).toContain("ERR_SESSION_FINALIZED")
      expect(await visitor.read()).toMatchObject({ note: "streamed" })
    })

    test("a page that is prerendered has no session, and is told so", async () => {
      const page = await readFile(join(build.folder, "app/prerendered/pages/prerendered.html"), "utf8")
      expect(page.match(/SessionError: This page is prerendered/g)?.length).toBeGreaterThanOrEqual(2)
      expect((await visitor.get("/pages/prerendered")).headers.getSetCookie()).toEqual([])
    })
  })

  describe("form actions", () => {
    test("G3: a redirect is sent when the session is saved, with and without JavaScript", async () => {
      await visitor.control("delay=200")
      const plain = await submit("/pages/count?/note", form)
      expect([plain.status, plain.headers.get("location")]).toEqual([303, "/read"])
      expect(own(plain.headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ note: "noted" })
      visitor = new Visitor(app.url)
      const script = await submit("/pages/count?/note", enhanced)
      expect(JSON.parse(script.text)).toMatchObject({ type: "redirect", status: 303, location: "/read" })
      expect(own(script.headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ note: "noted" })
    })

    test("fail and error save what was changed, for they are answers", async () => {
      const failing = await submit("/pages/count?/failing", form)
      expect(failing.status).toBe(422)
      expect(failing.text).toContain("form not valid")
      expect(await visitor.read()).toMatchObject({ note: "failed" })
      expect((await submit("/pages/count?/refusing", form)).status).toBe(403)
      expect(await visitor.read()).toMatchObject({ note: "refused" })
    })

    test("an action that throws saves nothing", async () => {
      await visitor.get("/count")
      expect((await submit("/pages/count?/throwing", form)).status).toBe(500)
      expect((await submit("/pages/count?/throwing", enhanced)).status).toBe(500)
      expect(await visitor.read()).toMatchObject({ note: null })
    })
  })

  describe("requests to own routes with event.fetch", () => {
    test("a session that the inner request starts arrives once, and is the visitor's", async () => {
      for (const query of ["", "read&"]) {
        visitor = new Visitor(app.url)
        const { text, headers } = await visitor.get(`/inner?${query}path=/count`)
        expect(text).toBe("1")
        expect(own(headers)).toHaveLength(1)
        expect((await visitor.get("/count")).text).toBe("2")
      }
    })

    test("what the outer and the inner request change is all kept, and sent in one cookie", async () => {
      await visitor.get("/count")
      for (const when of ["before", "after"]) {
        const { headers } = await visitor.get(`/inner?${when}&path=/count`)
        expect(own(headers).length).toBeLessThanOrEqual(1)
      }
      expect(await visitor.read()).toMatchObject({ note: "outer", count: 3 })
      const themed = await visitor.get("/inner?before&path=/theme?theme=dark")
      expect(own(themed.headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ note: "outer", count: 3, theme: "dark" })
    })

    test("what the outer request has not saved is not seen by the inner one, what it has saved is", async () => {
      await visitor.get("/count")
      const pending = await visitor.get("/inner?before&path=/read")
      expect(JSON.parse(pending.text)).toMatchObject({ note: null })
      expect(await visitor.read()).toMatchObject({ note: "outer" })
      await visitor.post("/note?note=other")
      const saved = await visitor.get("/inner?before&saved&path=/read")
      expect(JSON.parse(saved.text)).toMatchObject({ note: "outer" })
    })

    test("a new visitor has one session, whatever the outer and the inner request change, and in which order", async () => {
      for (const query of ["before", "after", "before&saved", "before&saved&after"]) {
        visitor = new Visitor(app.url)
        const { headers } = await visitor.get(`/inner?${query}&path=/count`)
        expect(own(headers)).toHaveLength(1)
        expect(await visitor.read()).toMatchObject({ note: "outer", count: 1 })
      }
      visitor = new Visitor(app.url)
      await visitor.get("/inner?before&path=/sign-in&method=POST")
      expect(await visitor.read()).toMatchObject({ user: "ada", note: "outer" })
    })

    test("a request that is sent without cookies is nobody's", async () => {
      const { text, headers } = await visitor.get("/inner?before&credentials=omit&path=/read")
      expect(JSON.parse(text)).toMatchObject({ note: null })
      expect(own(headers)).toHaveLength(1)
    })

    test("so it is where a Request does not tell its credentials and its mode, as on some runtimes", async () => {
      const bare = `for (const name of ["credentials", "mode"])
        Object.defineProperty(Request.prototype, name, { get() { if (name === "mode") throw new Error("No mode here.") } })`
      const poor = await startSvelteKit(build, {
        PORT: String(await freePort()),
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(bare)}`,
      })
      onTestFinished(() => poor.close())
      const known = new Visitor(poor.url)
      await known.post("/note?note=secret")
      const nobodys = await known.get("/inner?credentials=omit&path=/read")
      expect(JSON.parse(nobodys.text)).toMatchObject({ note: null })
      expect(JSON.parse((await known.get("/inner?path=/read")).text)).toMatchObject({ note: "secret" })
      const fresh = new Visitor(poor.url)
      const { headers } = await fresh.get("/inner?before&path=/count")
      expect(own(headers)).toHaveLength(1)
      expect(await fresh.read()).toMatchObject({ note: "outer", count: 1 })
    })

    test("G1: no cookie is opened for a request whose page and whose own route do not use the session", async () => {
      const opened = async (): Promise<unknown> => JSON.parse((await visitor.get("/hooks/events")).text)
      await opened()
      // Opening what does not open is told to onEvent.
      visitor.setCookie("__Host-id", "forged")
      expect((await visitor.get("/inner?path=/hooks/unasked")).text).toBe("unasked")
      expect(await opened()).toEqual([])
      await visitor.get("/inner?read&path=/hooks/unasked")
      expect(await opened()).toEqual([{ type: "cookie-rejected", count: 1 }])
    })

    test("a new visitor has one session also if other cookies are sent, and the route is asked first", async () => {
      visitor.setCookie("analytics", "1")
      const { headers } = await visitor.get("/inner?path=/count&after")
      expect(own(headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ note: "outer", count: 1 })
    })

    test("who signs in by the inner request is signed in", async () => {
      await visitor.get("/count")
      const { headers } = await visitor.get("/inner?read&path=/sign-in&method=POST")
      expect(own(headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ user: "ada", count: 1 })
    })
  })

  describe("guards", () => {
    test("without a user there is error(401), or a redirect if one is asked for", async () => {
      const refused = await visitor.get("/pages/guarded", { headers: { Accept: "text/html" } })
      expect(refused.status).toBe(401)
      expect(refused.text).toContain("Unauthorized")
      const sent = await visitor.get("/pages/guarded?redirect")
      expect([sent.status, sent.headers.get("location")]).toEqual([303, "/sign-in"])
      const data = await visitor.get("/pages/guarded/__data.json?redirect")
      expect(JSON.parse(data.text)).toMatchObject({ type: "redirect", location: "/sign-in" })
      expect((await visitor.get("/pages/fresh?within=60000")).status).toBe(303)
      await visitor.post("/sign-in?user=ada")
      expect((await visitor.get("/pages/guarded")).text).toContain("user ada")
      expect((await visitor.get("/pages/fresh?within=60000")).text).toContain("user ada")
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect((await visitor.get("/pages/fresh?within=1")).status).toBe(303)
    })

    test("a store that fails is no reason to send anybody to the sign-in", async () => {
      await visitor.post("/sign-in?user=ada")
      await visitor.control("fail=load")
      expect((await visitor.get("/pages/guarded?redirect")).status).toBe(503)
    })
  })

  describe("hooks behind ours", () => {
    test("a redirect that one throws carries its cookie, on pages and in the data of navigations", async () => {
      for (const path of ["/hooks/redirect", "/pages/redirect", "/pages/redirect/__data.json"]) {
        visitor = new Visitor(app.url)
        const { status, headers, text } = await visitor.get(path)
        if (path.endsWith("json"))
          expect(JSON.parse(text)).toMatchObject({ type: "redirect", location: "/read" })
        else expect([status, headers.get("location")]).toEqual([303, "/read"])
        expect(headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["own", "__Host-id"])
        expect(own(headers)[0]).toMatch(/; Max-Age=86400; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
        expect(await visitor.read()).toMatchObject({ note: "redirected" })
      }
    })

    test("a permanent redirect becomes a temporary one if it is about the session, so that no cache keeps it", async () => {
      for (const [status, temporary] of [
        [301, 302],
        [308, 307],
      ] as const) {
        visitor = new Visitor(app.url)
        const { status: sent, headers } = await visitor.get(`/hooks/redirect?status=${status}`)
        expect([sent, headers.get("location")]).toEqual([temporary, "/read"])
        expect(own(headers)).toHaveLength(1)
      }
      expect((await visitor.get("/hooks/moved?read")).status).toBe(307)
      expect((await visitor.get("/hooks/moved")).status).toBe(308)
      expect((await visitor.get("/pages/redirect/__data.json")).headers.get("cache-control")).toContain(
        "no-store",
      )
    })

    test("a redirect that one throws after the route has answered carries the cookie, too", async () => {
      const { status, headers } = await visitor.get("/hooks/late-redirect")
      expect([status, headers.get("location")]).toEqual([303, "/read"])
      expect(own(headers)).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ note: "redirected" })
    })

    test("a guard works there, too", async () => {
      expect((await visitor.get("/hooks/guarded")).headers.get("location")).toBe("/sign-in")
    })

    test("an error that one throws saves nothing, for its page carries no cookie", async () => {
      await visitor.get("/count")
      expect((await visitor.get("/hooks/error")).status).toBe(418)
      expect(await visitor.read()).toMatchObject({ note: null })
    })
  })

  describe("mistakes", () => {
    test("mounting it twice is an error that says so", async () => {
      const { status, text } = await visitor.get("/hooks/twice")
      expect(status).toBe(500)
      expect(text).toContain("mount them once per request")
    })

    test("a build that gives the guards another SvelteKit is told how to mend that", async () => {
      // In what handleError is told, and in what SvelteKit logs without one.
      for (const headers of [{}, { "x-bare": "1" }]) {
        const { status, text } = await visitor.get("/pages/foreign", { headers })
        expect(status).toBe(500)
        expect(text).toContain("noExternal")
      }
    })

    test("what fails beside a guard is told as it is", async () => {
      const { status, text } = await visitor.get("/pages/crashing", { headers: { Accept: "text/html" } })
      expect(status).toBe(500)
      expect(text).toContain("The layout failed.")
    })

    test("what fails after a guard was caught is told as it is, and who signed out is out", async () => {
      await visitor.post("/sign-in?user=ada")
      await new Promise((resolve) => setTimeout(resolve, 20))
      const before = visitor.cookie("__Host-id") as string
      const { status, text } = await visitor.get("/pages/caught", { headers: { Accept: "text/html" } })
      expect([status, text]).toEqual([500, expect.stringContaining("The page failed.")])
      visitor.setCookie("__Host-id", before)
      expect(await visitor.read()).toMatchObject({ user: null })
    })

    test("builds are kept from that by a peer dependency, for which vite-plugin-svelte looks", async () => {
      const manifest = JSON.parse(await readFile("package.json", "utf8")) as Record<string, object>
      expect(manifest["peerDependencies"]).toHaveProperty("svelte")
    })

    test("without the hook there is no session, and an error that says so", () => {
      const { getSession } = svelteKitSessions(createStage().sessions)
      expect(() => getSession({ locals: {} })).toThrow("src/hooks.server.ts")
    })

    test("a property that is another's is an error that says so", async () => {
      const { status, text } = await visitor.get("/hooks/occupied")
      expect(status).toBe(500)
      expect(text).toContain("There is already a")
    })
  })

  describe("errors", () => {
    const bare = { "x-bare": "1" }

    test("without sessionErrors they go SvelteKit's own way: handleError, and status 500", async () => {
      await visitor.get("/count")
      for (const operation of ["load", "update"]) {
        await visitor.control(`fail=${operation}`)
        const { status, text, headers } = await visitor.get("/count", { headers: bare })
        expect(status).toBe(500)
        expect(text).toContain("store")
        expect(headers.has("retry-after")).toBe(false)
        expect(own(headers)).toEqual([])
      }
    })

    test("but for a request of another site, which is refused with 403, as SvelteKit refuses forms", async () => {
      await visitor.get("/count")
      const headers = { ...bare, "Sec-Fetch-Site": "cross-site" }
      const { status, text } = await visitor.post("/change", { headers })
      expect([status, text]).toEqual([403, "Forbidden\n"])
      expect(await visitor.read()).toMatchObject({ note: null })
    })

    test("G11: an error page of SvelteKit's is sent with 503 and Retry-After, and stays a page", async () => {
      await visitor.get("/count")
      await visitor.control("fail=load")
      const { status, headers, text } = await visitor.get("/pages/count")
      expect([status, headers.get("retry-after")]).toEqual([503, "5"])
      expect(headers.get("content-type")).toContain("text/html")
      expect(text).toContain("Service Unavailable")
    })

    test("G11: what cannot be saved is told in the form that the client awaits", async () => {
      await visitor.get("/count")
      const body = { status: 503, message: "Service Unavailable" }
      await visitor.control("fail=update")
      const data = await visitor.get("/pages/count/__data.json")
      expect([data.status, data.headers.get("retry-after"), JSON.parse(data.text)]).toEqual([503, "5", body])
      await visitor.control("fail=update")
      const script = await submit("/pages/count?/note", enhanced)
      expect([script.status, JSON.parse(script.text)]).toEqual([
        503,
        { type: "error", status: 503, error: body },
      ])
      await visitor.control("fail=update")
      const page = await visitor.get("/pages/count", { headers: { Accept: "text/html" } })
      expect([page.status, page.text]).toEqual([503, "Service Unavailable\n"])
    })
  })
})

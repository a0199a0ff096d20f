import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { type AstroContext, type AstroSessions, astroSessions } from "../../src/adapters/astro.ts"
import { createSessions } from "../../src/index.ts"
import { buildAstro, startAstro } from "./apps/astro.ts"
import type { AdapterApp } from "./conformance.ts"
import { describeAdapter } from "./describe.ts"
import { type Visit, Visitor } from "./visitor.ts"

const project = fileURLToPath(new URL("built/astro", import.meta.url))

function start(env: Readonly<Record<string, string>> = {}): Promise<AdapterApp> {
  return startAstro(project, ["serve.mjs"], env)
}

beforeAll(() => buildAstro(project))

describeAdapter("Astro", () => start())

/** An application of these tests' own, and a visitor of it. */
function running(env: Readonly<Record<string, string>> = {}): () => Visitor {
  let app: AdapterApp
  beforeAll(async () => {
    app = await start(env)
  })
  afterAll(() => app.close())
  return () => new Visitor(app.url)
}

const SAME_SITE = { "Sec-Fetch-Site": "same-origin" }

/** The names of the cookies that an answer sets, in the order of the alphabet. */
function cookiesOf({ headers }: Visit): (string | undefined)[] {
  return headers
    .getSetCookie()
    .map((line) => line.split("=")[0])
    .toSorted()
}

describe("Astro: pages and their components", () => {
  const visitor = running()

  test("what waits for nothing runs before the response is there, and what waits runs behind it", async () => {
    const { text, pieces } = await visitor().stream("/pages/order")
    expect(text).toContain("<pre>page layout sync slot behind response late</pre>")
    expect(pieces[0]).not.toContain("late")
  })

  test("a page that uses its session is not sent before its last component has run, which may write", async () => {
    const each = visitor()
    const { text, headers, pieces } = await each.stream("/pages/late?load&what=write")
    expect(text).toContain("late: write")
    expect(pieces[0]).toContain("late: write")
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(await each.read()).toMatchObject({ note: "late" })
  })

  test("a page that does not is streamed, and costs nothing", async () => {
    const each = visitor()
    await each.get("/count")
    await each.control("reset")
    const { text, headers, pieces } = await each.stream("/pages/late?what=nothing")
    expect(text).toContain("late: nothing")
    expect(pieces[0]).not.toContain("late: nothing")
    expect(headers.get("vary")).toBeNull()
    expect(headers.getSetCookie()).toEqual([])
    expect(await each.operations()).toEqual([])
  })

  test.each(["read", "write"])(
    "the first %s of all in a late component fails: caught it says why, else it ends the page",
    async (what) => {
      const each = visitor()
      const { text } = await each.get(`/pages/late?catch&what=${what}`)
      expect(text).toContain("late: ERR_SESSION_FINALIZED")
      await expect(each.get(`/pages/late?what=${what}`)).rejects.toThrow("terminated")
      expect(await each.read()).toMatchObject({ note: null })
    },
  )

  test("a layout may take a message, however slow the store", async () => {
    const each = visitor()
    await each.post("/note?note=hello")
    await each.get("/pages/delay?load=200")
    onTestFinished(() => each.control("reset"))
    expect((await each.get("/pages/taking")).text).toContain('<p role="status">hello</p>')
    expect((await each.get("/pages/taking")).text).toContain('<p role="status"></p>')
  })

  test("an error in a late component of a page that uses its session is answered by the page for it", async () => {
    const each = visitor()
    await each.post("/sign-in?user=ada")
    const { status, text } = await each.get("/pages/late?load&what=fail")
    expect(status).toBe(500)
    expect(text).toContain("Failed; user: ada")
  })
})

describe("Astro: streaming: true", () => {
  const visitor = running({ STREAMING: "true" })

  test("what the page changes is saved before its head leaves, while its components still run", async () => {
    const each = visitor()
    const { text, pieces, headers } = await each.stream("/pages/late?note=page&what=read")
    expect(pieces[0]).not.toContain("late")
    expect(text).toContain("late: page")
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(await each.read()).toMatchObject({ note: "page" })
  })

  test("a change by a late component fails, and what the page has loaded can be read", async () => {
    const each = visitor()
    await each.post("/note?note=before")
    expect((await each.get("/pages/late?load&what=read")).text).toContain("late: before")
    expect((await each.get("/pages/late?load&catch&what=write")).text).toContain(
      "late: ERR_SESSION_FINALIZED",
    )
    await expect(each.get("/pages/late?load&what=write")).rejects.toThrow("terminated")
    expect(await each.read()).toMatchObject({ note: "before" })
  })
})

describe("Astro: streaming: false", () => {
  const visitor = running({ STREAMING: "false" })

  test("late components may be the first to use the session", async () => {
    const each = visitor()
    expect((await each.get("/pages/late?what=write")).headers.getSetCookie()).toHaveLength(1)
    expect((await each.get("/pages/late?what=read")).text).toContain("late: late")
  })

  test("they may turn a visitor away", async () => {
    const each = visitor()
    const { status, headers } = await each.get("/pages/late?what=guard")
    expect([status, headers.get("location")]).toEqual([303, "/read"])
    await each.post("/sign-in?user=ada")
    expect((await each.get("/pages/late?what=guard")).text).toContain("late: ada")
  })

  test("endpoints are streamed all the same", async () => {
    const { pieces } = await visitor().stream("/stream")
    expect(pieces[0]).not.toContain("last")
  })
})

describe("Astro: one request, several runs of the middleware", () => {
  const visitor = running()

  test("a new visitor whose page rewrites is sent one cookie of ours, and all of Astro's", async () => {
    const each = visitor()
    const answer = await each.get("/pages/rewriting")
    expect(cookiesOf(answer)).toEqual(["__Host-id", "rewriting", "target"])
    expect(await each.read()).toMatchObject({ note: "rewriting", count: 1 })
  })

  test.each([
    ["a page that rewrites", "/pages/rewriting", "rewriting", ["rewriting", "target"]],
    ["a middleware that rewrites", "/pages/rewritten-by-next", "", ["target"]],
  ])("%s goes on with the same session", async (_, path, note, names) => {
    const each = visitor()
    await each.get("/count")
    await each.control("reset")
    const answer = await each.get(path)
    expect(answer.text).toBe(`<!DOCTYPE html><p>note: ${note}; count: 2</p>`)
    expect(cookiesOf(answer)).toEqual(names)
    expect(await each.operations()).toEqual(["load", "update"])
    expect(await each.read()).toMatchObject({ count: 2 })
  })

  test("the page for 404 sees what the page that was not found has changed, and may change it too", async () => {
    const each = visitor()
    const { status, text, headers } = await each.get("/pages/missing?write")
    expect(status).toBe(404)
    expect(text).toContain("Not found; note: missing")
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(headers.get("cache-control")).toBe("no-store")
    expect(await each.read()).toMatchObject({ note: "missing", count: 404 })
    const again = await each.get("/pages/missing")
    expect(again.text).toContain("Not found; note: missing")
    expect(await each.read()).toMatchObject({ note: "missing", count: 404 })
  })

  test("G12: caches are told that the page for 404 depends on the session, whatever the first answer told them", async () => {
    const each = visitor()
    const { headers, text } = await each.get("/pages/absent")
    expect(text).toContain("Not found")
    expect(headers.get("vary")).toBe("Accept, Cookie")
    const writing = await each.get("/pages/absent?write")
    expect(writing.headers.get("cache-control")).toBe("no-store")
    expect(writing.headers.getSetCookie()).toHaveLength(1)
  })

  test("the page for 500 has the session as it was before the page that failed", async () => {
    const each = visitor()
    await each.post("/sign-in?user=ada")
    const { status, text } = await each.get("/pages/throwing")
    expect(status).toBe(500)
    expect(text).toContain("Failed; user: ada")
    expect(await each.read()).toMatchObject({ user: "ada", note: null })
  })

  test("a store that fails leads to the page for 500 where nobody maps its error", async () => {
    const each = visitor()
    await each.get("/count")
    await each.control("fail=update")
    const { status, text } = await each.get("/count?own-way")
    expect(status).toBe(500)
    expect(text).toContain("Failed; user: ")
    expect((await each.get("/count")).text).toBe("2")
  })

  test("a request from another site that is refused leads there as well", async () => {
    const { status, text } = await visitor().post("/change?own-way", {
      headers: { "Sec-Fetch-Site": "cross-site" },
    })
    expect(status).toBe(500)
    expect(text).toContain("Failed; user: ")
  })

  test("mounting it twice is an error that says so", async () => {
    const { status, text } = await visitor().get("/pages/twice")
    expect(status).toBe(500)
    expect(text).toContain("mount them once per request")
  })
})

test("Astro: locals that requests share mix nobody up, for it is an error", async () => {
  const app = await start({ SHARED_LOCALS: "yes" })
  onTestFinished(() => app.close())
  const [ada, visitor] = [new Visitor(app.url), new Visitor(app.url)]
  expect((await ada.post("/sign-in?user=ada")).status).toBe(303)
  const refused = await visitor.get("/read?own-way")
  expect(refused.status).toBe(500)
  expect(refused.text).not.toContain("ada")
  expect((await ada.get("/read")).status).toBe(500)
  const other = await start({ SHARED_LOCALS: "yes" })
  onTestFinished(() => other.close())
  const [one, two] = [new Visitor(other.url), new Visitor(other.url)]
  const answers = await Promise.all([
    one.get("/pages/late?load&what=write"),
    two.get("/pages/late?load&what=write"),
  ])
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 500])
})

test("Astro: nor is a visitor whose first page is the one for 404", async () => {
  const app = await start({ SHARED_LOCALS: "yes" })
  onTestFinished(() => app.close())
  const [ada, visitor] = [new Visitor(app.url), new Visitor(app.url)]
  expect((await ada.post("/note?note=ada's")).headers.getSetCookie()).toHaveLength(1)
  const { status, text, headers } = await visitor.get("/pages/gone")
  expect(status).toBe(404)
  expect(text).not.toContain("ada")
  expect(headers.getSetCookie()).toEqual([])
})

describe("Astro: what proves that two runs of the middleware are of one request", () => {
  interface State {
    note: string
  }
  const URL_OF_ALL = "https://shop.example/"
  const RECORD = Symbol.for("astro.fetchState")

  /** An application, whose locals are shared by all of its requests. */
  function application(): {
    readonly adapter: AstroSessions<State, State>
    readonly run: (request: Request, page: Page, more?: object) => Promise<Response>
  } {
    const sessions = createSessions<State, State>({ keys: ["a key of these tests, long enough to seal"] })
    const adapter = astroSessions(sessions)
    const locals = {}
    return {
      adapter,
      run(request, page, more) {
        const context = { request, locals, isPrerendered: false, ...more }
        return adapter.onRequest(context, () => page(context))
      },
    }
  }

  type Page = (context: AstroContext) => Promise<Response>

  function requestOf(headers: Record<string, string> = {}): Request {
    return new Request(URL_OF_ALL, { headers })
  }

  /** What is not of one request is refused, and tells no session. */
  const REFUSED = "These locals belong to another request"

  test("two contexts without Astro's record of a request prove nothing, while the first still runs", async () => {
    const { adapter, run } = application()
    const pages: string[] = []
    await expect(
      run(requestOf(), async (context) => {
        adapter.getSession(context).set("note", "ada's")
        await run(requestOf(), async (other) => {
          pages.push(String(await adapter.getSession(other).get("note")))
          return new Response()
        })
        return new Response()
      }),
    ).rejects.toThrow(REFUSED)
    expect(pages).toEqual([])
  })

  test.each([
    ["neither has a cookie", requestOf(), requestOf()],
    ["both have the same cookie", requestOf({ Cookie: "a=b" }), requestOf({ Cookie: "a=b" })],
    ["one brings a mark", requestOf(), requestOf({ "coatcheck-request": "guessed" })],
    [
      "both bring a mark",
      requestOf({ "coatcheck-request": "guessed" }),
      requestOf({ "coatcheck-request": "guessed" }),
    ],
  ])("an error page is no proof: another's request is refused if %s", async (_, first, second) => {
    const { adapter, run } = application()
    const ada: Page = async (context) => {
      adapter.getSession(context).set("note", "ada's")
      return new Response(null, { status: 404 })
    }
    const made = await run(first, ada, { [RECORD]: {} })
    expect(made.headers.getSetCookie()).toHaveLength(1)
    const pages: string[] = []
    const page: Page = async (context) => {
      pages.push(String(await adapter.getSession(context).get("note")))
      return new Response()
    }
    const errorPage = { [RECORD]: {}, props: { error: undefined } }
    await expect(run(second, page, errorPage)).rejects.toThrow(REFUSED)
    expect(pages).toEqual([])
  })

  test.each([
    ["the very same request", (request: Request) => request],
    ["a copy of it, as Astro makes behind a proxy", (request: Request) => new Request(URL_OF_ALL, request)],
  ])("%s is one, and its page sees what was changed, and no mark", async (_, again) => {
    const { adapter, run } = application()
    const request = requestOf()
    await run(request, async (context) => {
      adapter.getSession(context).set("note", "ada's")
      return new Response(null, { status: 404 })
    })
    const copy = again(request)
    const page: Page = async (context) =>
      Response.json([await adapter.getSession(context).get("note"), [...context.request.headers.keys()]])
    const { 0: note, 1: headers } = (await (await run(copy, page)).json()) as [string, string[]]
    expect(note).toBe("ada's")
    expect(headers).toEqual([])
  })

  test("a request whose headers cannot be changed is answered all the same", async () => {
    const { run } = application()
    const request = requestOf()
    request.headers.set = () => {
      throw new TypeError("immutable")
    }
    expect((await run(request, () => Promise.resolve(new Response("answered")))).status).toBe(200)
  })
})

describe("Astro: what the adapter relies on of its internals, to be looked at if an upgrade changes it", () => {
  const visitor = running()
  const PROXIED = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example" }

  test("Astro's record of a request is in the context, and outlives a rewrite", async () => {
    const { text } = await visitor().get("/pages/internals?rewrite")
    expect(JSON.parse(text)).toMatchObject({ hasState: true, sameState: true, sameRequest: false })
  })

  test("the page for 404 is given another record, and the very same request", async () => {
    const { text } = await visitor().get("/pages/internals")
    expect(JSON.parse(text)).toMatchObject({ hasState: true, sameState: false, sameRequest: true })
  })

  test("behind a proxy it is given a copy of the request, with its headers as they were last", async () => {
    const { text } = await visitor().get("/pages/internals", { headers: PROXIED })
    expect(JSON.parse(text)).toMatchObject({ sameState: false, sameRequest: false, hasHeader: true })
  })
})

describe("Astro: guards", () => {
  const visitor = running()

  test.each(["/pages/guarded", "/pages/guarded-by-layout", "/pages/guarded-endpoint"])(
    "%s sends who is not signed in to where they can",
    async (path) => {
      const each = visitor()
      const { status, headers, text } = await each.get(path)
      expect([status, headers.get("location"), text]).toEqual([303, "/read", ""])
      expect(headers.get("vary")).toBe("Cookie")
      await each.post("/sign-in?user=ada")
      const welcome = await each.get(path)
      expect([welcome.status, welcome.headers.get("location")]).toEqual([200, null])
      expect(welcome.text).toContain("ada")
    },
  )

  test("what was changed before is saved with the redirect, in sessions of another kind too", async () => {
    const each = visitor()
    expect(cookiesOf(await each.get("/pages/guarded"))).toEqual(["__Host-admin", "__Host-id"])
    expect(await each.read()).toMatchObject({ note: "/pages/guarded" })
    expect(JSON.parse((await each.get("/admin/read")).text)).toMatchObject({ note: "of another kind" })
  })
})

describe("Astro: everything else that answers", () => {
  const visitor = running()

  test("a server island is a request of its own, and may change the session", async () => {
    const each = visitor()
    const page = await each.get("/pages/island")
    expect(page.headers.getSetCookie()).toEqual([])
    const path = /\/_server-islands\/[^"'\s]+/.exec(page.text)?.[0].replaceAll("&amp;", "&") as string
    const first = await each.get(path, { headers: SAME_SITE })
    expect(first.text).toContain("island: 1")
    expect(first.headers.getSetCookie()).toHaveLength(1)
    expect((await each.get(path)).text).toContain("island: 2")
  })

  test.each(["/pages/cookies", "/pages/cookies?redirect"])(
    "%s sends Astro's cookies and ours",
    async (path) => {
      expect(cookiesOf(await visitor().get(path))).toEqual(["__Host-id", "other"])
    },
  )

  test("a response whose headers cannot be changed carries the cookie", async () => {
    const each = visitor()
    expect((await each.get("/pages/immutable")).headers.getSetCookie()).toHaveLength(1)
    expect(await each.read()).toMatchObject({ note: "immutable" })
  })

  test("an action of a form is saved before the redirect of its page", async () => {
    const each = visitor()
    await each.control("delay=200")
    onTestFinished(() => each.control("reset"))
    const body = new URLSearchParams({ note: "by form" })
    const { status } = await each.post("/pages/action?_action=noteByForm", { body })
    expect(status).toBe(303)
    expect(await each.read()).toMatchObject({ note: "by form" })
  })

  test("so is an action that is called", async () => {
    const each = visitor()
    const headers = { ...SAME_SITE, "Content-Type": "application/json" }
    const { status, text } = await each.post("/_actions/note", { headers, body: JSON.stringify("called") })
    expect([status, text]).toEqual([200, '["nobody"]'])
    expect(await each.read()).toMatchObject({ note: "called" })
    const refused = await each.post("/_actions/refuse", { headers, body: "null" })
    expect(refused.status).toBe(401)
    expect(await each.read()).toMatchObject({ note: "refused" })
  })

  test("an action that another site calls is refused", async () => {
    const headers = { "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json" }
    const { status } = await visitor().post("/_actions/note", { headers, body: JSON.stringify("evil") })
    expect(status).toBe(403)
  })

  test("a prerendered page is told why it has no session", () => {
    const page = readFileSync(`${project}/dist/client/pages/prerendered/index.html`, "utf8")
    const message = "This request has no session. The page is prerendered"
    expect(page).toContain(`<p id="locals">${message}`)
    expect(page).toContain(`<p id="function">${message}`)
  })
})

describe("Astro: behind a proxy", () => {
  const PROXIED = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example" }
  const visitor = running()

  test("whether the client speaks https is what security.allowedDomains makes of it", async () => {
    const each = visitor()
    await each.get("/count", { headers: PROXIED })
    const warnings = async (): Promise<string[]> => {
      const all = JSON.parse((await each.get("/warnings")).text) as string[]
      return all.filter((warning) => warning.startsWith("COATCHECK_PLAIN_HTTP"))
    }
    expect(await warnings()).toEqual([])
    await visitor().get("/count")
    expect(await warnings()).toEqual([expect.stringContaining("security: { allowedDomains: [")])
  })

  test("error pages go on with the session as well", async () => {
    const each = visitor()
    const missing = await each.get("/pages/missing?write", { headers: PROXIED })
    expect(missing.text).toContain("Not found; note: missing")
    expect(await each.read()).toMatchObject({ note: "missing", count: 404 })
    await each.post("/sign-in?user=ada")
    const failing = await each.get("/pages/throwing", { headers: PROXIED })
    expect(failing.text).toContain("Failed; user: ada")
  })
})

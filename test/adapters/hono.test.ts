import { createAdaptorServer } from "@hono/node-server"
import type { Server } from "node:http"
import { fileURLToPath } from "node:url"
import { createSessions, sessionErrorResponse, StoreError } from "coatcheck"
import { honoSessions } from "coatcheck/hono"
import { memoryStore } from "coatcheck/memory"
import { signedInCookie, spyStore } from "coatcheck/testing"
import { Hono } from "hono"
import { compress } from "hono/compress"
import { HTTPException } from "hono/http-exception"
import { expect, test, vi } from "vitest"
import { requireProgram } from "../support/programs.ts"
import { bundleWorker, startWorker } from "../support/workers.ts"
import { honoApp } from "./apps/hono.ts"
import { listening } from "./apps/node-server.ts"
import { startProcess } from "./apps/process.ts"
import { describeAdapter } from "./describe.ts"
import { createStage, KEY } from "./scenes.ts"

const server = fileURLToPath(new URL("apps/hono-server.ts", import.meta.url))
const worker = fileURLToPath(new URL("apps/hono-worker.ts", import.meta.url))

/** Undefined where it is missing. */
function programOf(name: string): string | undefined {
  return requireProgram(name, [fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url))])
}

describeAdapter("Hono on Node.js", () =>
  listening(createAdaptorServer({ fetch: honoApp(createStage()).fetch }) as Server),
)

// What follows runs what is built.

const bun = programOf("bun")
const deno = programOf("deno")
const allowed = ["run", "--allow-all", "--no-lock", "--quiet", server]
describeAdapter("Hono on Bun", bun === undefined ? undefined : () => startProcess(bun, ["run", server]))
describeAdapter("Hono on Deno", deno === undefined ? undefined : () => startProcess(deno, allowed))

describeAdapter("Hono on workerd", async () => {
  const running = await startWorker({
    code: await bundleWorker(worker),
    compatibilityDate: "2026-07-01",
    compatibilityFlags: [],
    bindings: {},
  })
  return { url: running.url.replace(/\/$/, ""), close: async () => running[Symbol.asyncDispose]() }
})

interface State {
  note: string
}

function mount(options: { csrf?: boolean; trustProxy?: boolean } = {}) {
  const store = spyStore(memoryStore())
  const warnings: string[] = []
  const onWarning = (message: string): void => void warnings.push(message)
  const sessions = createSessions<State>({ keys: [KEY], store, onWarning })
  return { sessions, store, warnings, ...honoSessions(sessions, options) }
}

function cookieOf(response: Response): string {
  return response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
}

test("c.var.session is typed by mounting the middleware, and is the session", async () => {
  const { middleware, getSession } = mount()
  const app = new Hono().use(middleware).get("/", async (c) => {
    c.var.session.set("note", "typed")
    const note: string | undefined = await c.var.session.get("note")
    return c.json([note, c.get("session") === getSession(c)])
  })
  expect(await (await app.request("/")).json()).toEqual(["typed", true])
})

test("a signed-in cookie works with app.request", async () => {
  const { sessions, middleware, requireUser } = mount()
  const app = new Hono().use(middleware).get("/", requireUser(), async (c) => c.text("in"))
  app.onError((error) => sessionErrorResponse(error) ?? new Response(null, { status: 500 }))
  const { header } = await signedInCookie(sessions, "ada")
  expect(await (await app.request("/", { headers: { Cookie: header } })).text()).toBe("in")
  expect((await app.request("/")).status).toBe(401)
})

test("mounted twice, it says so, in a sub-application too", async () => {
  const { middleware } = mount()
  const sub = new Hono().use(middleware).get("/", (c) => c.text("never"))
  const app = new Hono().use(middleware).route("/sub", sub)
  app.onError((error, c) => c.text(error.message, 500))
  expect(await (await app.request("/sub")).text()).toMatch(/already has a session of these sessions/)
})

test("a taken name is refused, and another one works", async () => {
  const { middleware, getSession } = mount()
  const app = new Hono<{ Variables: { session: unknown } }>()
  app.use(async (c, next) => {
    c.set("session", "of somebody else")
    await next()
  })
  app.use(middleware as never).get("/", (c) => c.text(String(getSession(c).isNew)))
  app.onError((error, c) => c.text(error.message, 500))
  expect(await (await app.request("/")).text()).toContain('There is already a "session" here')
})

test.each(["before", "after"])("compression %s it compresses, and the cookie comes along", async (place) => {
  const { middleware, getSession } = mount()
  const app = new Hono()
  if (place === "before") app.use(compress())
  app.use(middleware)
  if (place === "after") app.use(compress())
  app.get("/", (c) => {
    getSession(c).set("note", "compressed")
    return c.text("a page of text ".repeat(1000))
  })
  app.get("/note", async (c) => c.text((await getSession(c).get("note")) ?? ""))
  const response = await app.request("/", { headers: { "Accept-Encoding": "gzip" } })
  expect(response.headers.get("content-encoding")).toBe("gzip")
  const note = await app.request("/note", { headers: { Cookie: cookieOf(response) } })
  expect(await note.text()).toBe("compressed")
})

test.each<[what: string, respond: () => Response]>([
  ["a redirect of the platform's", () => Response.redirect("https://shop.example/", 303)],
  ["an error response of the platform's own", () => Response.json({ done: true }, { status: 201 })],
  ["a response of another server", () => copyOfFetched()],
])("%s, whose headers may be immutable, gets the cookie and keeps its own", async (_, respond) => {
  const { middleware, getSession } = mount()
  const app = new Hono().use(middleware).get("/", (c) => {
    getSession(c).set("note", "sent")
    return respond()
  })
  const wanted = respond()
  const response = await app.request("/")
  const names = response.headers.getSetCookie().map((line) => line.split("=")[0])
  expect(names).toEqual([...(wanted.headers.has("vary") ? ["other"] : []), "__Host-id"])
  expect([response.status, response.headers.get("location")]).toEqual([
    wanted.status,
    wanted.headers.get("location"),
  ])
  expect(await response.text()).toBe(await wanted.text())
})

/** Its headers cannot be changed, as those of what `fetch` has got. */
function copyOfFetched(): Response {
  const response = new Response("fetched", { headers: { "Set-Cookie": "other=1", Vary: "Accept" } })
  const refuse = (): never => {
    throw new TypeError("immutable")
  }
  return Object.defineProperty(response, "headers", {
    value: new Proxy(response.headers, {
      get(headers, name) {
        if (name === "append" || name === "set" || name === "delete") return refuse
        const member: unknown = Reflect.get(headers, name, headers)
        return typeof member === "function" ? (member.bind(headers) as unknown) : member
      },
    }),
  })
}

test("a response that later middleware makes anew keeps the cookie", async () => {
  const { middleware, getSession } = mount()
  const app = new Hono()
  app.use(async (c, next) => {
    await next()
    c.res = new Response(`<${await c.res.text()}>`, c.res)
  })
  app.use(middleware).get("/", (c) => {
    getSession(c).set("note", "kept")
    return c.text("page")
  })
  const response = await app.request("/")
  expect(await response.text()).toBe("<page>")
  expect(response.headers.getSetCookie()).toHaveLength(1)
})

test("what fails is thrown to app.onError: a store's error, and one of the handler with its own status", async () => {
  const { middleware, getSession, store } = mount()
  const seen: unknown[] = []
  const app = new Hono().use(middleware)
  app.onError((error, c) => {
    seen.push(error)
    return error instanceof HTTPException ? error.getResponse() : c.text("mine", 500)
  })
  app.get("/save", (c) => {
    getSession(c).set("note", "lost")
    c.header("X-Route", "yes")
    return c.text("never sent")
  })
  app.get("/refused", (c) => {
    getSession(c).set("note", "refused")
    throw new HTTPException(422, { message: "refused" })
  })
  store.failNext("create")
  const failed = await app.request("/save")
  expect([failed.status, await failed.text(), failed.headers.getSetCookie()]).toEqual([500, "mine", []])
  const refused = await app.request("/refused")
  expect([refused.status, refused.headers.getSetCookie().length]).toEqual([422, 1])
  expect(seen).toEqual([expect.any(StoreError), expect.any(HTTPException)])
})

test("guards redirect where they are told to", async () => {
  const { middleware, requireUser, requireFresh } = mount()
  const app = new Hono().use(middleware)
  app.get("/account", requireUser({ redirectTo: "/sign-in" }), (c) => c.text("never"))
  app.get("/password", requireFresh({ within: "5m", redirectTo: "/sign-in" }), (c) => c.text("never"))
  for (const path of ["/account", "/password"]) {
    const response = await app.request(path)
    expect([response.status, response.headers.get("location")]).toEqual([303, "/sign-in"])
  }
})

test("in production over plain http one warning names the setting; behind a proxy that is trusted there is none", async () => {
  vi.stubEnv("NODE_ENV", "production")
  for (const [trustProxy, count] of [
    [false, 1],
    [true, 0],
  ] as const) {
    const { middleware, getSession, warnings } = mount({ trustProxy })
    const app = new Hono().use(middleware).get("/", (c) => {
      getSession(c).set("note", "sent")
      return c.text("sent")
    })
    const headers = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example" }
    for (let visit = 0; visit < 2; visit++) {
      const response = await app.request("http://10.0.0.1/", { headers })
      expect(response.headers.getSetCookie()[0]).toMatch(/; Secure/)
    }
    expect(warnings).toHaveLength(count)
    if (count > 0) expect(warnings[0]).toContain("trustProxy: true")
  }
  vi.unstubAllEnvs()
})

test("a WebSocket can read the session of its upgrade, and not change it", async () => {
  const { sessions, middleware, getSession } = mount()
  const app = new Hono().use(middleware).get("/socket", async (c) => {
    const session = getSession(c)
    const user = await session.userId()
    let code: unknown
    try {
      session.set("note", "late")
    } catch (error) {
      code = (error as { code: string }).code
    }
    return c.json([user, code])
  })
  const { header } = await signedInCookie(sessions, "ada")
  const response = await app.request("/socket", { headers: { Cookie: header, Upgrade: "websocket" } })
  expect(await response.json()).toEqual(["ada", "ERR_SESSION_READ_ONLY"])
})

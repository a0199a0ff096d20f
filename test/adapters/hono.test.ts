import { createAdaptorServer } from "@hono/node-server"
import type { Server } from "node:http"
import { fileURLToPath } from "node:url"
import { createSessions, CsrfError, sessionErrorResponse, SignInRequiredError, StoreError } from "coatcheck"
import { honoSessions, type HonoSessionsOptions, sessionErrors } from "coatcheck/hono"
import { memoryStore } from "coatcheck/memory"
import { signedInCookie, spyStore } from "coatcheck/testing"
import { type ErrorHandler, Hono } from "hono"
import { compress } from "hono/compress"
import { cors } from "hono/cors"
import { HTTPException } from "hono/http-exception"
import { secureHeaders } from "hono/secure-headers"
import { expect, onTestFinished, test, vi } from "vitest"
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

function mount(options: HonoSessionsOptions<"session"> = {}) {
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

test.each<[what: string, onError: ErrorHandler | undefined, status: number]>([
  ["Hono itself", undefined, 500],
  ["an onError that makes a response", (error) => sessionErrorResponse(error) as Response, 503],
  ["an onError that asks the context for one", (_error, c) => c.body("own page", 502), 502],
  ["sessionErrors", sessionErrors((_error, c) => c.text("never", 500)), 503],
])(
  "a save that fails is answered by %s without the headers of the answer, and with those of every answer",
  async (_, onError, status) => {
    silenceConsole()
    const { middleware, getSession, store } = mount()
    const app = new Hono()
      .use(cors({ origin: "https://shop.example" }))
      .use(secureHeaders())
      .use(middleware)
    if (onError !== undefined) app.onError(onError)
    const own = {
      "Accept-Ranges": "bytes",
      "Cache-Control": "public, max-age=3600",
      "Content-Disposition": "attachment",
      "Content-Encoding": "br",
      "Content-Length": "7",
      ETag: '"1"',
      "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT",
      Location: "/elsewhere",
      "Retry-After": "3600",
    }
    app.get("/", (c) => {
      getSession(c).set("note", "lost")
      return c.body("dropped", 201, { ...own, "Content-Type": "image/png", "X-Request-Id": "7" })
    })
    store.failNext("create")
    const response = await app.request("/", { headers: { Origin: "https://shop.example" } })
    expect(response.status).toBe(status)
    expect(await response.text()).not.toContain("dropped")
    for (const [name, value] of Object.entries(own)) expect(response.headers.get(name)).not.toBe(value)
    expect(response.headers.get("content-type")).not.toBe("image/png")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(response.headers.get("access-control-allow-origin")).toBe("https://shop.example")
    expect(response.headers.get("x-request-id")).toBe("7")
    expect(response.headers.get("x-content-type-options")).toBe("nosniff")
    expect(response.headers.get("retry-after")).toBe(status === 503 ? "5" : null)
  },
)

test("a stream of an answer that is not sent, for the save failed, is cancelled", async () => {
  const { middleware, getSession, store } = mount()
  const app = new Hono().use(middleware)
  app.onError(sessionErrors((_error, c) => c.text("never", 500)))
  const cancelled = vi.fn<() => void>()
  app.get("/", (c) => {
    getSession(c).set("note", "lost")
    return c.body(new ReadableStream({ pull: () => undefined, cancel: cancelled }))
  })
  store.failNext("create")
  expect((await app.request("/")).status).toBe(503)
  expect(cancelled).toHaveBeenCalledOnce()
})

test("a save that fails leaves the cookie of other sessions that were saved", async () => {
  const { middleware, getSession, store } = mount()
  const other = honoSessions(createSessions<State>({ keys: [KEY], cookie: { name: "other" } }), {
    property: "other",
  })
  const app = new Hono().use(middleware).use(other.middleware)
  app.onError(sessionErrors((_error, c) => c.text("never", 500)))
  app.get("/", (c) => {
    getSession(c).set("note", "lost")
    other.getSession(c).set("note", "kept")
    return c.text("dropped")
  })
  store.failNext("create")
  const response = await app.request("/")
  expect(response.status).toBe(503)
  expect(response.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-other=/)])
})

test("a handler that signs out and throws what is no error has signed out all the same, and saves nothing else", async () => {
  const { sessions, middleware, getSession, store } = mount()
  const app = new Hono().use(middleware)
  app.get("/sign-out", (c) => {
    getSession(c).signOut()
    return raise("a text")
  })
  app.get("/note", (c) => {
    getSession(c).set("note", "lost")
    return raise("a text")
  })
  const { header } = await signedInCookie(sessions, "ada")
  expect(await sessions.listByUser("ada")).toHaveLength(1)
  await expect(app.request("/sign-out", { headers: { Cookie: header } })).rejects.toBe("a text")
  expect(await sessions.listByUser("ada")).toEqual([])
  store.reset()
  await expect(app.request("/note")).rejects.toBe("a text")
  expect(store.operations()).toEqual([])
})

test("what guards and csrf refuse has its status without an onError, and nobody is alarmed", async () => {
  const logged = silenceConsole()
  const { middleware, requireUser, requireFresh } = mount({ csrf: true })
  const app = new Hono().use(cors()).use(middleware)
  app.get("/user", requireUser(), (c) => c.text("never"))
  app.get("/fresh", requireFresh({ within: "5m" }), (c) => c.text("never"))
  app.post("/", (c) => c.text("never"))
  const sub = new Hono().route("/sub", app)
  for (const path of ["/sub/user", "/sub/fresh"]) {
    const response = await sub.request(path)
    expect([response.status, await response.text()]).toEqual([401, "Unauthorized\n"])
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(response.headers.get("access-control-allow-origin")).toBe("*")
  }
  const foreign = { method: "POST", headers: { Origin: "https://evil.example" } }
  const response = await app.request("/", foreign)
  expect([response.status, await response.text()]).toEqual([403, "Forbidden\n"])
  expect(logged).not.toHaveBeenCalled()
})

test("what guards and csrf refuse is for onError to answer, and the errors are what they are elsewhere", async () => {
  const { middleware, requireUser } = mount({ csrf: true })
  const seen: Error[] = []
  const app = new Hono().use(middleware).get("/", requireUser(), (c) => c.text("never"))
  app.onError((error, c) => {
    seen.push(error)
    return c.text("own page", 418)
  })
  expect((await app.request("/")).status).toBe(418)
  const foreign = { method: "POST", headers: { Origin: "https://evil.example" } }
  expect(await (await app.request("/", foreign)).text()).toBe("own page")
  expect(seen).toEqual([expect.any(SignInRequiredError), expect.any(CsrfError)])
  expect(seen.flatMap(Object.keys)).not.toContain("getResponse")
})

test("a guard whose store fails is a failure as any other", async () => {
  const logged = silenceConsole()
  const { sessions, middleware, requireUser, store } = mount()
  const app = new Hono().use(middleware).get("/", requireUser(), (c) => c.text("in"))
  const { header } = await signedInCookie(sessions, "ada")
  store.failNext("load")
  expect((await app.request("/", { headers: { Cookie: header } })).status).toBe(500)
  expect(logged).toHaveBeenCalledWith(expect.any(StoreError))
})

test("sessionErrors answers what sessions fail with, and leaves other errors to the other handler", async () => {
  const { sessions, middleware, getSession, store } = mount({ csrf: true })
  const others: Error[] = []
  const app = new Hono().use(cors()).use(middleware)
  app.onError(
    sessionErrors((error, c) => {
      others.push(error)
      return error instanceof HTTPException ? error.getResponse() : c.text("other", 500)
    }),
  )
  app.get("/load", async (c) => c.text((await getSession(c).get("note")) ?? ""))
  app.get("/inside", () => raise(new SignInRequiredError("Nobody is.", { reason: "anonymous" })))
  app.get("/teapot", () => raise(new HTTPException(418)))
  app.get("/mistake", (c) => {
    getSession(c).set("note", 1n as never)
    return c.text("never")
  })
  const { header } = await signedInCookie(sessions, "ada")
  store.failNext("load")
  const failed = await app.request("/load", { headers: { Cookie: header } })
  expect([failed.status, failed.headers.get("retry-after")]).toEqual([503, "5"])
  expect(failed.headers.get("access-control-allow-origin")).toBe("*")
  expect((await app.request("/inside")).status).toBe(401)
  const foreign = { method: "POST", headers: { Origin: "https://evil.example" } }
  expect((await app.request("/load", foreign)).status).toBe(403)
  expect(others).toEqual([])
  expect((await app.request("/teapot")).status).toBe(418)
  expect(await (await app.request("/mistake")).text()).toBe("other")
  expect(others).toHaveLength(2)
})

test.each(["parseBody", "text", "arrayBuffer", "formData"] as const)(
  "the token of a form counts if %s read the body before, and handlers can read it still",
  async (reader) => {
    const { middleware, getSession } = mount({ csrf: { token: true } })
    const app = new Hono()
    app.use(async (c, next) => {
      if (c.req.method === "POST") await c.req[reader]()
      await next()
    })
    app.use(middleware)
    app.get("/", async (c) => c.text(await getSession(c).csrfToken()))
    app.post("/", async (c) => c.text((await c.req.parseBody<{ note: string }>()).note))
    const { url, close } = await listening(createAdaptorServer({ fetch: app.fetch }) as Server)
    onTestFinished(close)
    const base = url.replace(/\/$/, "")
    const asks = [app.request, (path: string, init?: RequestInit) => fetch(`${base}${path}`, init)]
    for (const ask of asks) {
      const page = await ask("/")
      const form = new URLSearchParams({ note: "taken", _csrf: await page.text() })
      const post = { method: "POST", headers: { Cookie: cookieOf(page) } }
      expect(await (await ask("/", { ...post, body: form })).text()).toBe("taken")
      const files = new FormData()
      for (const [name, value] of form) files.append(name, value)
      expect(await (await ask("/", { ...post, body: files })).text()).toBe("taken")
      form.set("_csrf", "wrong")
      expect((await ask("/", { ...post, body: form })).status).toBe(403)
    }
  },
)

test("a body that was read past Hono, or is no form, brings no token", async () => {
  const { middleware, getSession } = mount({ csrf: { token: true } })
  const app = new Hono()
  app.use(async (c, next) => {
    if (c.req.method === "POST") await c.req.raw.text()
    await next()
  })
  app.use(middleware)
  app.get("/", async (c) => c.text(await getSession(c).csrfToken()))
  app.post("/", (c) => c.text("never"))
  const page = await app.request("/")
  const token = await page.text()
  const headers = { Cookie: cookieOf(page) }
  for (const body of [new URLSearchParams({ _csrf: token }), JSON.stringify({ _csrf: token })]) {
    expect((await app.request("/", { method: "POST", headers, body })).status).toBe(403)
  }
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

test("where the proxy is believed already, the warning asks for what it does not send", async () => {
  vi.stubEnv("NODE_ENV", "production")
  onTestFinished(() => void vi.unstubAllEnvs())
  const { middleware, getSession, warnings } = mount({ trustProxy: true })
  const app = new Hono().use(middleware).get("/", (c) => {
    getSession(c).set("note", "sent")
    return c.text("sent")
  })
  await app.request("http://10.0.0.1/")
  expect(warnings).toEqual([expect.stringContaining("say so: let it send X-Forwarded-Proto.")])
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

/** What Hono logs by itself. */
function silenceConsole() {
  const logged = vi.spyOn(console, "error").mockImplementation(() => undefined)
  onTestFinished(() => logged.mockRestore())
  return logged
}

function raise(error: unknown): never {
  throw error
}

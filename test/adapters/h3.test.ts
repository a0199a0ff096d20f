import type { ServerResponse } from "node:http"
import { fileURLToPath } from "node:url"
import {
  createSessions,
  requireUser,
  type Session,
  type SessionsOptions,
  SignInRequiredError,
  StoreError,
} from "coatcheck"
import { h3Sessions, sessionErrors } from "coatcheck/h3"
import { memoryStore } from "coatcheck/memory"
import { signedInCookie, spyStore, type SpyStore } from "coatcheck/testing"
import {
  defineHandler,
  defineWebSocketHandler,
  fromNodeHandler,
  H3,
  type H3Config,
  H3Core,
  type H3Event,
  HTTPError,
  iterable,
  type NodeHandler,
  noContent,
  onError,
  redirect,
  serve,
  toMiddleware,
} from "h3"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { bytesOf, sendRaw } from "../support/node-servers.ts"
import { requireProgram } from "../support/programs.ts"
import { bundleWorker, startWorker } from "../support/workers.ts"
import { h3App } from "./apps/h3.ts"
import { startProcess } from "./apps/process.ts"
import type { AdapterApp } from "./conformance.ts"
import { describeAdapter } from "./describe.ts"
import { createStage, KEY } from "./scenes.ts"

const server = fileURLToPath(new URL("apps/h3-server.ts", import.meta.url))
const worker = fileURLToPath(new URL("apps/h3-worker.ts", import.meta.url))

async function startH3(app: H3): Promise<AdapterApp> {
  const running = serve(app, { hostname: "127.0.0.1", port: 0, silent: true })
  await running.ready()
  return { url: (running.url as string).replace(/\/$/, ""), close: async () => running.close(true) }
}

/** Undefined where it is missing. */
function programOf(name: string): string | undefined {
  return requireProgram(name, [fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url))])
}

describeAdapter("h3 2 on Node.js", () => startH3(h3App(createStage())))

// What follows runs what is built.

const bun = programOf("bun")
const deno = programOf("deno")
const allowed = ["run", "--allow-all", "--no-lock", "--quiet", server]
describeAdapter("h3 2 on Bun", bun === undefined ? undefined : () => startProcess(bun, ["run", server]))
describeAdapter("h3 2 on Deno", deno === undefined ? undefined : () => startProcess(deno, allowed))

describeAdapter("h3 2 on workerd", async () => {
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

/** An application with sessions whose store can be told to fail. What its `onError` is told is kept. */
function createApp(options: SessionsOptions = {}, config: H3Config = {}) {
  const store: SpyStore = spyStore(memoryStore())
  const sessions = createSessions<State>({
    store,
    keys: [KEY],
    onWarning: () => undefined,
    ...options,
  } as SessionsOptions & { schema?: undefined })
  const told: HTTPError[] = []
  const app = new H3({ silent: true, onError: (error) => void told.push(error), ...config })
  return { app, sessions, store, told, ...h3Sessions(sessions) }
}

async function start(app: H3): Promise<string> {
  const running = await startH3(app)
  onTestFinished(() => running.close())
  return running.url
}

const cookieOf = (response: Response): string => response.headers.getSetCookie()[0]?.split(";")[0] ?? ""

describe("what a handler returns", () => {
  test.each<[string, number, string, (event: H3Event) => unknown]>([
    ["a text", 200, "text", () => "text"],
    ["an object", 200, '{"a":1}', () => ({ a: 1 })],
    ["null", 200, "", () => null],
    ["undefined", 200, "", () => undefined],
    ["bytes", 200, "bytes", () => new TextEncoder().encode("bytes")],
    ["a Blob", 200, "blob", () => new Blob(["blob"])],
    ["a stream", 200, "stream", () => new Blob(["stream"]).stream()],
    ["an iterable", 200, "onetwo", () => iterable(["one", "two"])],
    ["a Response", 202, "own", () => new Response("own", { status: 202, headers: { "X-Own": "1" } })],
    ["a Response that cannot be changed", 303, "", () => Response.redirect("http://localhost/next", 303)],
    [
      "a redirect",
      302,
      "",
      () => redirect("/next").body === undefined || new Response(null, { status: 302 }),
    ],
    ["an error", 404, "gone", () => new HTTPError({ status: 404, message: "gone" })],
    ["a thrown error", 422, "refused", () => raise(new HTTPError({ status: 422, message: "refused" }))],
    ["noContent", 204, "", () => noContent()],
    ["what event.res says", 418, "tea", (event) => ((event.res.status = 418), "tea")],
  ])("%s is answered with %i and the cookie", async (_, status, text, handler) => {
    const { app, getSession, middleware, store } = createApp()
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "stored")
      event.res.headers.set("X-Prepared", "1")
      event.res.errHeaders.set("X-Prepared", "1")
      return handler(event)
    })
    for (const response of [await app.request("/"), await fetch(await start(app), { redirect: "manual" })]) {
      expect(response.status).toBe(status)
      expect(await response.text()).toContain(text)
      expect(cookieOf(response)).toMatch(/^__Host-id=/)
      expect(response.headers.get("cache-control")).toBe("no-store")
      expect(response.headers.get("x-prepared")).toBe("1")
    }
    expect(store.operations()).toEqual(["create", "create"])
  })

  test("is nothing to an untouched session: it is answered as without", async () => {
    const handler = (event: H3Event): unknown => {
      event.res.headers.set("X-Case", "kept")
      return { untouched: true }
    }
    const { app, middleware } = createApp()
    app.use(middleware).get("/", handler)
    const ports = [app, new H3().get("/", handler)].map(async (each) =>
      Number(new URL(await start(each)).port),
    )
    const [ours = 0, theirs = 0] = await Promise.all(ports)
    expect(await bytesOf(ours, "/")).toBe(await bytesOf(theirs, "/"))
  })

  test("is saved before the first byte, and the cookie comes with the head", async () => {
    const { app, getSession, middleware, store } = createApp()
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "stored")
      return "done"
    })
    store.delay("create", 200)
    const port = Number(new URL(await start(app)).port)
    const raw = sendRaw(port, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await raw.closed()
    expect(raw.pieces[0]?.at).toBeGreaterThan(190)
    expect(
      raw
        .text()
        .split("\r\n\r\n")[0]
        ?.match(/^set-cookie: __Host-id=/gim),
    ).toHaveLength(1)
  })

  test("that cannot be made into an answer is an error, and saves nothing", async () => {
    const { app, getSession, middleware, store, told } = createApp()
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "dropped")
      return { count: 1n }
    })
    expect((await app.request("/")).status).toBe(500)
    expect(told).toHaveLength(1)
    expect(store.operations()).toEqual([])
  })
})

describe("errors", () => {
  test("of handlers go to onError once, whose answer decides what is saved and has the cookie", async () => {
    for (const status of [200, 404, 500]) {
      const told: unknown[] = []
      const answerErrors = (error: HTTPError): Response => {
        told.push(error.cause)
        return new Response("own page", { status })
      }
      const { app, getSession, middleware, store } = createApp({}, { onError: answerErrors })
      const failure = new Error("failed")
      app.use(middleware).get("/", (event) => {
        getSession(event).set("note", "stored unless 500")
        throw failure
      })
      const response = await app.request("/")
      expect([response.status, await response.text()]).toEqual([status, "own page"])
      expect(told).toEqual([failure])
      expect(store.operations()).toEqual(status === 500 ? [] : ["create"])
      expect(cookieOf(response)).toMatch(status === 500 ? /^$/ : /^__Host-id=/)
    }
  })

  test("of handlers keep their headers, and the sign-out goes with them", async () => {
    const { app, getSession, middleware, sessions } = createApp()
    app.use(middleware).get("/", (event) => {
      getSession(event).invalidate()
      throw new HTTPError({ status: 500, headers: { "X-Error": "1" } })
    })
    const { header } = await signedInCookie(sessions, "ada")
    const response = await app.request("/", { headers: { cookie: header } })
    expect(response.status).toBe(500)
    expect(response.headers.get("x-error")).toBe("1")
    expect(response.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-id=; Max-Age=0/)])
    expect(await sessions.listByUser("ada")).toEqual([])
  })

  test("of a request without a session that was used pass through", async () => {
    const { app, middleware } = createApp()
    const seen: unknown[] = []
    app.use(onError((error) => void seen.push(error.cause)))
    const failure = new Error("failed")
    app.use(middleware).get("/", () => raise(failure))
    expect((await app.request("/")).status).toBe(500)
    expect(seen).toEqual([failure])
  })

  test("of a save that fails go to onError, with no cookie but the headers prepared for errors", async () => {
    const { app, getSession, middleware, store, told } = createApp()
    app.use((event) => void event.res.errHeaders.set("X-Cors", "1"))
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "never stored")
      event.res.headers.set("X-Handler", "1")
      event.res.headers.set("ETag", '"1"')
      return new Response("done", { headers: { "Cache-Control": "public", "Content-Encoding": "br" } })
    })
    const url = await start(app)
    for (const ask of [() => app.request("/"), () => fetch(url)]) {
      told.length = 0
      store.failNext("create")
      const response = await ask()
      expect(response.status).toBe(500)
      expect(told.map(({ cause }) => cause)).toEqual([expect.any(StoreError)])
      expect(response.headers.getSetCookie()).toEqual([])
      expect(response.headers.get("x-cors")).toBe("1")
      for (const name of ["x-handler", "cache-control", "content-encoding", "etag"]) {
        expect(response.headers.get(name)).toBeNull()
      }
    }
  })

  test("have their status and Retry-After with sessionErrors, and tell clients nothing of the store", async () => {
    const { app, getSession, middleware, store } = createApp({}, { onError: sessionErrors })
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "never stored")
    })
    app.get("/load", async (event) => {
      try {
        return await getSession(event).get("note")
      } catch (cause) {
        throw new HTTPError({ status: 500, cause })
      }
    })
    app.get("/other", () => raise(new Error("none of a session's")))
    store.failNext("create")
    const response = await app.request("/")
    expect(response.status).toBe(503)
    expect(response.headers.get("retry-after")).toBe("5")
    expect(response.headers.get("cache-control")).toBe("no-store")
    expect(await response.json()).toEqual({ status: 503, message: "Service Unavailable" })
    expect((await app.request("/other")).status).toBe(500)
    const cookie = cookieOf(await app.request("/"))
    store.failNext("load")
    expect((await app.request("/load", { headers: { cookie } })).status).toBe(503)
  })

  test("of guards are h3's own, with their status: nobody is alarmed", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined)
    onTestFinished(() => logged.mockRestore())
    const { app, middleware, requireUser: guard, getSession, told } = createApp({}, { silent: false })
    app.use(middleware)
    app.get("/guarded", () => "in", { middleware: [guard()] })
    app.get("/inside", (event) => requireUser(getSession(event)))
    for (const path of ["/guarded", "/inside"]) {
      const response = await app.request(path)
      expect(await response.json()).toEqual({ status: 401, message: "Nobody is signed in." })
      expect(response.headers.get("vary")).toBe("Cookie")
    }
    expect(logged).not.toHaveBeenCalled()
    const refusal = expect.any(SignInRequiredError)
    expect(told.map(({ cause }) => cause)).toEqual([refusal, refusal])
  })
})

test("a guard with redirectTo sends those away who are not signed in", async () => {
  const { app, middleware, requireFresh, requireUser: guard, sessions } = createApp()
  app.use(middleware)
  app.use("/account/**", guard({ redirectTo: "/sign-in" }))
  app.use("/account/**", requireFresh({ within: "1h", redirectTo: "/again" }))
  app.get("/account/page", () => "in")
  const refused = await app.request("/account/page")
  expect([refused.status, refused.headers.get("location")]).toEqual([303, "/sign-in"])
  const { header } = await signedInCookie(sessions, "ada")
  expect(await (await app.request("/account/page", { headers: { cookie: header } })).text()).toBe("in")
})

describe("where things are mounted", () => {
  test("the property has the session, which an application's own type may say", async () => {
    const { app, middleware } = createApp()
    app.use(middleware).get("/", async ({ context }) => {
      const session = context.session as Session<State>
      session.set("note", "by property")
      return session.get("note")
    })
    expect(await (await app.request("/")).text()).toBe("by property")
  })

  test("twice is an error that says so", async () => {
    const { app, middleware, told } = createApp()
    app
      .use(middleware)
      .use(middleware)
      .get("/", () => "done")
    expect((await app.request("/")).status).toBe(500)
    expect(told[0]?.cause).toMatchObject({ message: expect.stringContaining("mount them once per request") })
  })

  test("two kinds under one name is an error that tells the remedy, and without a name is none", async () => {
    const other = createApp({ cookie: { name: "other" } })
    const { app, middleware, told } = createApp()
    app.use(middleware).use("/bad", other.middleware)
    const hidden = h3Sessions(other.sessions, { property: false })
    app.use("/good", hidden.middleware).get("/good", (event) => {
      hidden.getSession(event).set("note", "hidden")
      return "done"
    })
    expect((await app.request("/bad")).status).toBe(500)
    expect(told[0]?.cause).toMatchObject({ message: expect.stringContaining('{ property: "adminSession" }') })
    expect(cookieOf(await app.request("/good"))).toMatch(/^__Host-other=/)
  })

  test("nowhere is an error that tells the remedy", async () => {
    const { app, getSession, told } = createApp()
    app.get("/", (event) => void getSession(event))
    expect((await app.request("/")).status).toBe(500)
    expect(told[0]?.cause).toMatchObject({
      message: expect.stringContaining("Mount the middleware of h3Sessions"),
    })
  })

  test("in a route's matcher, in an application that is mounted, or above one mounted by its fetch", async () => {
    const { app, getSession, middleware } = createApp()
    const count = (event: H3Event): string => {
      getSession(event).set("note", "stored")
      return event.url.pathname
    }
    app.use("/matched/**", middleware, { method: "GET" }).get("/matched/page", count)
    app.mount("/mounted", new H3().use(middleware).get("/page", count))
    app.use("/fetched/**", middleware)
    app.mount("/fetched", { fetch: new H3().get("/page", count).fetch })
    app.get("/else", () => "no session")
    for (const [path, text] of [
      ["/matched/page", "/matched/page"],
      ["/mounted/page", "/mounted/page"],
      ["/fetched/page", "/page"],
    ] as const) {
      const response = await app.request(path)
      expect(await response.text()).toBe(text)
      expect(cookieOf(response)).toMatch(/^__Host-id=/)
    }
    expect(cookieOf(await app.request("/else"))).toBe("")
  })

  test("as the one middleware of a core that finds its middleware and routes anew for each request, as Nitro does", async () => {
    const { getSession, middleware, store } = createApp()
    const core = new H3Core({ onError: sessionErrors, silent: true })
    const handler = defineHandler((event) => {
      getSession(event).set("note", "stored")
      return { stored: true }
    })
    core["~findRoute"] = ({ url }) => (url.pathname === "/" ? { data: { route: "/", handler } } : undefined)
    core["~getMiddleware"] = () => [toMiddleware(middleware)]
    const response = await core.fetch(new Request("http://localhost/"))
    expect([await response.json(), cookieOf(response)]).toEqual([
      { stored: true },
      expect.stringMatching(/^__Host-id=/),
    ])
    expect((await core.fetch(new Request("http://localhost/nowhere"))).status).toBe(404)
    store.failNext("create")
    expect((await core.fetch(new Request("http://localhost/"))).status).toBe(503)
  })

  test("the hook onResponse sees the answer with its cookie, once", async () => {
    const seen: string[] = []
    const { app, getSession, middleware } = createApp(
      {},
      { onResponse: (response) => void seen.push(cookieOf(response)) },
    )
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "stored")
      return "done"
    })
    await app.request("/")
    expect(seen).toEqual([expect.stringMatching(/^__Host-id=/)])
  })

  test("middleware before it can add headers to the answer, and cannot change the session any more", async () => {
    const { app, getSession, middleware, told } = createApp()
    app.use(async (event, next) => {
      const answer = await next()
      event.res.headers.append("Set-Cookie", "own=1")
      if (event.url.searchParams.has("change")) getSession(event).set("note", "too late")
      return answer
    })
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "in time")
      return "done"
    })
    const names = (await app.request("/")).headers.getSetCookie().map((line) => line.split("=")[0])
    expect(names.toSorted()).toEqual(["__Host-id", "own"])
    expect((await app.request("/?change")).status).toBe(500)
    expect(told[0]?.cause).toMatchObject({ code: "ERR_SESSION_FINALIZED" })
  })
})

describe("handlers of Node.js", () => {
  function startWithNodeHandler(handler: (request: unknown, response: ServerResponse) => void) {
    const told: unknown[] = []
    const created = createApp({}, { onError: (error) => (told.push(error.cause), sessionErrors(error)) })
    const { app, getSession, middleware } = created
    app.use(middleware)
    app.use((event) => getSession(event).set("note", "stored"))
    app.get("/", fromNodeHandler(handler as NodeHandler))
    return { ...created, told, url: start(app) }
  }

  test("are held until the session is saved, and carry its cookie", async () => {
    const { store, url } = startWithNodeHandler((_, response) => {
      response.writeHead(201, { "X-Handler": "1" })
      response.write("first;")
      response.end("last;")
    })
    store.delay("create", 200)
    const base = await url
    const began = performance.now()
    const response = await fetch(base)
    expect(performance.now() - began).toBeGreaterThan(190)
    expect([response.status, await response.text()]).toEqual([201, "first;last;"])
    expect(response.headers.get("x-handler")).toBe("1")
    expect(cookieOf(response)).toMatch(/^__Host-id=/)
  })

  test("are answered for, by onError, when the save fails", async () => {
    const { store, told, url } = startWithNodeHandler((_, response) => response.end("done"))
    store.failNext("create")
    const response = await fetch(await url)
    expect(response.status).toBe(503)
    expect(response.headers.get("retry-after")).toBe("5")
    expect(await response.json()).toMatchObject({ status: 503 })
    expect(cookieOf(response)).toBe("")
    expect(told).toEqual([expect.any(StoreError)])
  })
})

test("a save that fails leaves a text of onError without the headers of the answer", async () => {
  const answerErrors = (_error: HTTPError, event: H3Event): string => {
    event.res.status = 503
    return "own page"
  }
  const { app, getSession, middleware, store } = createApp({}, { onError: answerErrors })
  app.use(middleware)
  app.use((event) => {
    getSession(event).set("note", "never stored")
    event.res.headers.set("Cache-Control", "public")
    event.res.headers.set("ETag", '"1"')
  })
  const handler = (_: unknown, response: ServerResponse): unknown => response.end("done")
  app.get("/node", fromNodeHandler(handler as NodeHandler)).get("/web", () => "done")
  const url = await start(app)
  for (const path of ["/node", "/web"]) {
    store.failNext("create")
    const response = await fetch(`${url}${path}`)
    expect([response.status, await response.text()]).toEqual([503, "own page"])
    expect([response.headers.get("cache-control"), response.headers.get("etag")]).toEqual([null, null])
  }
})

describe("proxies", () => {
  test.each<[string, object, object, RegExp]>([
    ["nobody is believed", {}, {}, /^id=/],
    ["the sessions are told to", { trustProxy: true }, {}, /^__Host-id=/],
    ["the server is told to", {}, { trustProxy: true }, /^__Host-id=/],
  ])("X-Forwarded-Proto makes a cookie secure where %s", async (name, options, serverOptions, cookie) => {
    const { app, sessions } = createApp({ cookie: { secure: "auto" } })
    const { getSession, middleware } = h3Sessions(sessions, options)
    app.use(middleware).get("/", (event) => {
      getSession(event).set("note", "stored")
      return "done"
    })
    const running = serve(app, { hostname: "127.0.0.1", port: 0, silent: true, ...serverOptions })
    await running.ready()
    onTestFinished(() => running.close(true))
    const headers = { "X-Forwarded-Proto": "https" }
    const response = await fetch(running.url as string, { headers })
    // Unbelieved, it leaves open what the client speaks, which is no reason to send a plain cookie.
    expect(cookieOf(response)).toMatch(name === "nobody is believed" ? /^__Host-id=/ : cookie)
    expect(cookieOf(await fetch(running.url as string))).toMatch(/^id=/)
  })

  test.each([
    [false, "h3Sessions(sessions, { trustProxy: true })"],
    [true, "let it send X-Forwarded-Proto"],
  ])(
    "in production a plain connection is warned of: with trustProxy %s, say %s",
    async (trustProxy, advice) => {
      vi.stubEnv("NODE_ENV", "production")
      onTestFinished(() => void vi.unstubAllEnvs())
      const warnings: string[] = []
      const { app, sessions } = createApp({
        onWarning: (message, code) => void warnings.push(`${code}: ${message}`),
      })
      const { getSession, middleware } = h3Sessions(sessions, { trustProxy })
      app.use(middleware).get("/", (event) => {
        getSession(event).set("note", "stored")
        return "done"
      })
      await fetch(await start(app))
      expect(warnings).toEqual([expect.stringContaining(`say so: ${advice}.`)])
      expect(warnings[0]).toMatch(/^COATCHECK_PLAIN_HTTP/)
    },
  )
})

test("a request for a WebSocket can read its session, change nothing, and keeps its hooks", async () => {
  const { app, getSession, middleware, sessions } = createApp()
  const refused: unknown[] = []
  app.use(middleware)
  app.get(
    "/socket",
    defineWebSocketHandler(async (event: H3Event) => {
      const session = getSession(event)
      const user = await session.userId()
      try {
        session.set("note", "refused")
      } catch (error) {
        refused.push(error)
      }
      return { open: (peer: { send(text: string): void }) => peer.send(String(user)) }
    }),
  )
  const { header } = await signedInCookie(sessions, "ada")
  const request = new Request("http://localhost/socket", {
    headers: { upgrade: "websocket", cookie: header },
  })
  const response = (await app.fetch(request)) as Response & { crossws?: { open?: (peer: unknown) => void } }
  const sent: string[] = []
  response.crossws?.open?.({ send: (text: string) => sent.push(text) })
  expect(sent).toEqual(["ada"])
  expect(refused).toEqual([expect.objectContaining({ code: "ERR_SESSION_READ_ONLY" })])
  expect(response.headers.getSetCookie()).toEqual([])
})

test("csrf refuses a WebSocket that a page of another site opens", async () => {
  const { app, sessions } = createApp()
  app.use(h3Sessions(sessions, { csrf: true }).middleware)
  app.get("/socket", defineWebSocketHandler({}))
  const headers = { upgrade: "websocket", origin: "https://evil.example" }
  expect((await app.request("/socket", { headers })).status).toBe(403)
  expect((await app.request("/socket", { headers: { ...headers, origin: "http://localhost" } })).status).toBe(
    426,
  )
})

test("signedInCookie signs a request of app.request or app.fetch in", async () => {
  const { app, getSession, middleware, requireUser: guard, sessions } = createApp()
  app.use(middleware).use(guard())
  app.get("/", async (event) => `${await getSession(event).userId()} ${await getSession(event).get("note")}`)
  const { header } = await signedInCookie(sessions, "ada", {
    prepare: (session) => session.set("note", "prepared"),
  })
  expect((await app.request("/")).status).toBe(401)
  const headers = { cookie: header }
  expect(await (await app.request("/", { headers })).text()).toBe("ada prepared")
  expect(await (await app.fetch(new Request("https://localhost/", { headers }))).text()).toBe("ada prepared")
})

function raise(error: Error): never {
  throw error
}

import { once } from "node:events"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { constants, gunzipSync } from "node:zlib"
import { createSessions, type SessionEvent, type SessionsOptions, StoreError } from "coatcheck"
import { koaSessions, sessionErrors } from "coatcheck/koa"
import { memoryStore } from "coatcheck/memory"
import { readSession } from "coatcheck/node"
import { signedInCookie, spyStore, type SpyStore } from "coatcheck/testing"
import Koa from "koa"
import compress from "koa-compress"
import { createSession } from "koa-session"
import supertest from "supertest"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { bytesOf, type Protocol, type Running, sendRaw, serve } from "../support/node-servers.ts"
import { startKoa } from "./apps/koa.ts"
import { describeAdapter } from "./describe.ts"
import { createStage } from "./scenes.ts"

/** With which streams come piece by piece. */
const FLUSHING = { gzip: { flush: constants.Z_SYNC_FLUSH }, br: false, zstd: false, deflate: false } as const

describeAdapter("Koa 3", () => startKoa(createStage()))
describeAdapter("Koa 3 with koa-compress before the sessions", () =>
  startKoa(createStage(), { before: compress(FLUSHING) }),
)
describeAdapter("Koa 3 with koa-compress after the sessions", () =>
  startKoa(createStage(), { after: compress(FLUSHING) }),
)

const PLAIN = { "content-type": "text/plain; charset=utf-8" }

interface State {
  note: string
}

/** An application with sessions whose store can be told to fail. Its `error` events are kept. */
function createApp(options: SessionsOptions = {}) {
  const store: SpyStore = spyStore(memoryStore())
  const events: SessionEvent[] = []
  const sessions = createSessions<State>({
    store,
    keys: ["a key of these tests, long enough to seal"],
    onEvent: (event) => void events.push(event),
    onWarning: () => undefined,
    ...options,
  } as SessionsOptions & { schema?: undefined })
  const app = new Koa()
  const errors: Error[] = []
  app.on("error", (error: Error) => void errors.push(error))
  return { app, errors, events, sessions, store, ...koaSessions(sessions) }
}

async function start(app: { callback(): unknown }, protocol: Protocol = "http"): Promise<Running> {
  const running = await serve(protocol, app.callback())
  onTestFinished(() => running[Symbol.asyncDispose]())
  return running
}

const cookieOf = ({ headers }: { headers: Record<string, string | string[] | undefined> }): string =>
  ([headers["set-cookie"]].flat()[0] ?? "").split(";")[0] as string

describe("a save that fails", () => {
  test("is thrown at the middleware before the sessions, whose answer goes out as it is", async () => {
    const { app, errors, middleware, store } = createApp()
    const caught: unknown[] = []
    app.use(async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        caught.push(error)
        ctx.status = 502
        ctx.body = "The application's own page"
      }
    })
    app.use(middleware)
    app.use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.body = "done"
    })
    const running = await start(app)
    store.failNext("create")
    const { status, body, headers } = await running.get()
    expect([status, body]).toEqual([502, "The application's own page"])
    expect(headers["set-cookie"]).toBeUndefined()
    expect(caught).toEqual([expect.any(StoreError)])
    expect(errors).toEqual([])
  })

  test("leaves a page of the application's own without the headers of the answer, and with those of every answer", async () => {
    const { app, middleware, store } = createApp()
    app.use(async (ctx, next) => {
      ctx.set("Access-Control-Allow-Origin", "https://shop.example")
      try {
        await next()
      } catch {
        ctx.body = { page: "own" }
      }
    })
    const own = {
      "Cache-Control": "public, max-age=3600",
      "Content-Disposition": "attachment",
      "Content-Encoding": "br",
      ETag: '"1"',
      "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT",
      Location: "/elsewhere",
    }
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.set(own)
      ctx.set("X-Request-Id", "7")
      ctx.type = "image/png"
      ctx.status = 201
      ctx.body = Buffer.from("dropped")
    })
    const running = await start(app)
    store.failNext("create")
    const { status, body, headers } = await running.get()
    expect([status, body]).toEqual([500, '{"page":"own"}'])
    expect(headers["content-type"]).toMatch(/^application\/json/)
    expect(headers["cache-control"]).toBe("no-store")
    for (const name of ["content-disposition", "content-encoding", "etag", "last-modified", "location"]) {
      expect(headers).not.toHaveProperty(name)
    }
    expect(headers).toMatchObject({
      "access-control-allow-origin": "https://shop.example",
      "x-request-id": "7",
    })
  })

  test("goes to app.on('error') once, and to Koa's own page", async () => {
    const { app, errors, middleware, store } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.body = "done"
    })
    const running = await start(app)
    store.failNext("create")
    expect(await running.get()).toMatchObject({ status: 500, body: "Internal Server Error" })
    expect(errors).toEqual([expect.any(StoreError)])
  })

  test("has its status and Retry-After with sessionErrors, and stays the same error", async () => {
    const { app, errors, middleware, store } = createApp()
    app.use(sessionErrors).use(middleware)
    app.use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.body = "done"
    })
    const running = await start(app)
    store.failNext("create")
    const { status, body, headers } = await running.get()
    expect([status, body]).toEqual([503, "Service Unavailable"])
    expect(headers).toMatchObject({ "retry-after": "5", "cache-control": "no-store" })
    expect(headers["content-type"]).toMatch(/^text\/plain/)
    expect(errors).toEqual([expect.any(StoreError)])
    // What an error page of another type would have to undo.
    expect(errors[0]).toMatchObject({ status: 503, headers: expect.not.objectContaining(PLAIN) })
  })

  test("is no reason to drop the cookie of the other sessions of the request", async () => {
    const { app, errors, middleware, store } = createApp()
    const others = createApp({ cookie: { name: "other" } })
    app.use(middleware).use(koaSessions(others.sessions, { property: "other" }).middleware)
    app.use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.other.set("note", "stored")
      ctx.respond = false
      ctx.res.end("done")
    })
    const running = await start(app)
    store.failNext("create")
    const { status, headers } = await running.get()
    expect(status).toBe(503)
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^__Host-other=/)])
    expect(errors).toEqual([expect.any(StoreError)])
  })

  test("after flushHeaders is answered by ctx.onerror, before a byte has left", async () => {
    const { app, errors, middleware, store } = createApp()
    app.use(middleware).use(async (ctx) => {
      ctx.session.set("note", "never stored")
      ctx.set("X-Handler", "1")
      ctx.status = 200
      ctx.flushHeaders()
      await sleep(20)
      ctx.body = "done"
    })
    const running = await start(app)
    store.failNext("create")
    const { status, body, headers } = await running.get()
    expect([status, body]).toEqual([503, "Service Unavailable"])
    expect(headers).not.toHaveProperty("x-handler")
    expect(errors).toEqual([expect.any(StoreError)])
  })

  test("is told to clients even if somebody has begun an answer meanwhile", async () => {
    const { app, errors, middleware, store } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "never stored")
      ctx.status = 200
      setTimeout(() => ctx.res.end("by hand"), 20)
    })
    const running = await start(app)
    store.delay("create", 100)
    store.failNext("create")
    const { status, body } = await running.get()
    expect([status, body]).toEqual([503, "Service Unavailable"])
    expect(new Set(errors)).toEqual(new Set([expect.any(StoreError)]))
  })

  test("can be answered by an onerror of the application's own", async () => {
    const { app, middleware, store } = createApp()
    Object.assign(app.context, {
      onerror(this: Koa.Context, error: Error | null) {
        if (error === null) return
        this.remove("Content-Length")
        this.status = 503
        this.res.end(`own page: ${error.name}`)
      },
    })
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "never stored")
      if (ctx.path === "/raw") {
        ctx.respond = false
        ctx.res.end("done")
      } else ctx.body = "done"
    })
    const running = await start(app)
    for (const path of ["/", "/raw"]) {
      store.failNext("create")
      expect(await running.get(path)).toMatchObject({ status: 503, body: "own page: StoreError" })
    }
  })
})

describe("what is written by hand", () => {
  test.each(["flush", "write", "writeHead"])("%s waits for the save, and has the cookie", async (way) => {
    const { app, middleware, store } = createApp()
    app.use(middleware).use(async (ctx) => {
      ctx.session.set("note", "stored")
      ctx.respond = false
      if (way === "flush") ctx.flushHeaders()
      else if (way === "write") ctx.res.write("first;")
      else ctx.res.writeHead(200, { "Set-Cookie": "own=1" })
      await sleep(10)
      ctx.res.end("last;")
    })
    const running = await start(app)
    store.delay("create", 200)
    const raw = sendRaw(running.port, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await raw.closed()
    expect(raw.pieces[0]?.at).toBeGreaterThan(190)
    const [head = "", ...body] = raw.text().split("\r\n\r\n")
    expect(head.match(/^set-cookie: __Host-id=/gim)).toHaveLength(1)
    expect(body.join("")).toContain("last;")
    if (way === "writeHead") expect(head).toMatch(/^set-cookie: own=1$/im)
  })

  test("later than the middleware, is saved when it begins, and not before", async () => {
    const { app, middleware, store } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.respond = false
      ctx.session.set("note", "early")
      setTimeout(() => {
        ctx.session.set("note", "late")
        ctx.res.statusCode = 200
        ctx.res.end("done")
      }, 20)
    })
    const running = await start(app)
    expect(cookieOf(await running.get())).toMatch(/^__Host-id=/)
    expect(store.operations()).toEqual(["create"])
  })

  test("by the callback of another application, has the session of the request", async () => {
    const { app, getSession, middleware } = createApp()
    const inner = new Koa()
    inner.use((ctx) => {
      getSession(ctx).set("note", "inner")
      ctx.body = "inner"
    })
    const callback = inner.callback()
    app.use(middleware).use((ctx) => {
      ctx.respond = false
      return callback(ctx.req, ctx.res)
    })
    const answer = await (await start(app)).get()
    expect(answer).toMatchObject({ status: 200, body: "inner" })
    expect(cookieOf(answer)).toMatch(/^__Host-id=/)
  })
})

describe("errors of handlers", () => {
  test("leave the sign-out on Koa's error page, which has no header of before", async () => {
    const { app, middleware, sessions } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.set("X-Handler", "1")
      ctx.session.invalidate()
      ctx.throw(500, "failed")
    })
    const { header } = await signedInCookie(sessions, "ada")
    const { status, headers } = await (await start(app)).get("/", { headers: { cookie: header } })
    expect(status).toBe(500)
    expect(headers).not.toHaveProperty("x-handler")
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^__Host-id=; Max-Age=0/)])
  })

  test.each([
    [422, ["create"]],
    [500, []],
  ])("of status %i store what was changed: %j", async (status, operations) => {
    const { app, middleware, store } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "changed")
      ctx.throw(status)
    })
    expect((await (await start(app)).get()).status).toBe(status)
    expect(store.operations()).toEqual(operations)
  })

  test("that middleware before the sessions makes good are saved with that status", async () => {
    const { app, middleware, store } = createApp()
    app.use((ctx, next) =>
      next().catch(() => {
        ctx.body = "made good"
      }),
    )
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "changed")
      throw new Error("failed")
    })
    const answer = await (await start(app)).get()
    expect(answer).toMatchObject({ status: 200, body: "made good" })
    expect(cookieOf(answer)).toMatch(/^__Host-id=/)
    expect(store.operations()).toEqual(["create"])
  })

  test("of guards have their status without more ado, and are no concern of app.on('error') by default", async () => {
    const { app, middleware, requireUser } = createApp()
    app.use(middleware).use(requireUser())
    expect(await (await start(app)).get()).toMatchObject({ status: 401, body: "Nobody is signed in." })
  })
})

test("a guard with redirectTo sends those away who are not signed in", async () => {
  const { app, middleware, requireFresh, requireUser, sessions } = createApp()
  app.use(middleware)
  app.use(requireUser({ redirectTo: "/sign-in" }))
  app.use(requireFresh({ within: "1h", redirectTo: "/again" }))
  app.use((ctx) => {
    ctx.body = "in"
  })
  const running = await start(app)
  expect(await running.get()).toMatchObject({ status: 303, headers: { location: "/sign-in" } })
  const { header } = await signedInCookie(sessions, "ada")
  expect(await running.get("/", { headers: { cookie: header } })).toMatchObject({ status: 200, body: "in" })
})

describe("where things are mounted", () => {
  test("twice is an error that says so", async () => {
    const { app, errors, middleware } = createApp()
    app.use(middleware).use(middleware)
    expect((await (await start(app)).get()).status).toBe(500)
    expect(errors[0]?.message).toContain("mount them once per request")
  })

  test("two kinds under one name is an error that tells the remedy", async () => {
    const { app, errors, middleware } = createApp()
    app.use(middleware).use(createApp({ cookie: { name: "other" } }).middleware)
    expect((await (await start(app)).get()).status).toBe(500)
    expect(errors[0]?.message).toContain('{ property: "adminSession" }')
  })

  test("nowhere is an error that tells the remedy", async () => {
    const { app, errors, getSession } = createApp()
    app.use((ctx) => void getSession(ctx))
    expect((await (await start(app)).get()).status).toBe(500)
    expect(errors[0]?.message).toContain("Mount the middleware of koaSessions")
  })

  test.each(["before", "after"])(
    "koa-session %s is told apart, and goes along without a property",
    async (order) => {
      for (const property of ["session", false] as const) {
        const { app, errors, getSession, sessions } = createApp()
        app.keys = ["key"]
        const own = koaSessions(sessions, { property }).middleware
        const theirs = createSession({}, app as never) as unknown as Koa.Middleware
        for (const layer of order === "before" ? [theirs, own] : [own, theirs]) app.use(layer)
        app.use((ctx) => {
          ctx.session.theirs = 1
          getSession(ctx).set("note", "ours")
          ctx.body = "both"
        })
        const { status, headers } = await (await start(app)).get()
        if (property === false) {
          expect(status).toBe(200)
          const names = [headers["set-cookie"]].flat().map((line) => line?.split("=")[0])
          expect(names.toSorted()).toEqual(["__Host-id", "koa.sess", "koa.sess.sig"])
        } else {
          expect(status).toBe(500)
          expect(errors[0]?.message).toContain('There is already a "session" here')
        }
      }
    },
  )

  test("around the sessions, what changes them after their save is told", async () => {
    const { app, errors, getSession, middleware } = createApp()
    app.use(async (ctx, next) => {
      await next()
      getSession(ctx).set("note", "too late")
    })
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "in time")
      ctx.body = "done"
    })
    expect((await (await start(app)).get()).status).toBe(500)
    expect(errors).toEqual([expect.objectContaining({ code: "ERR_SESSION_FINALIZED" })])
  })

  test("around the sessions, a session that nobody used can still be used", async () => {
    const { app, getSession, middleware } = createApp()
    app.use(async (ctx, next) => {
      await next()
      getSession(ctx).set("note", "in time")
    })
    app.use(middleware).use((ctx) => {
      ctx.body = "done"
    })
    expect(cookieOf(await (await start(app)).get())).toMatch(/^__Host-id=/)
  })
})

describe("app.proxy", () => {
  test("decides whose host an Origin is compared with", async () => {
    const { app, sessions } = createApp()
    app.use(koaSessions(sessions, { csrf: true }).middleware).use((ctx) => {
      ctx.body = "taken"
    })
    const running = await start(app)
    const headers = { Origin: "https://shop.example", "X-Forwarded-Host": "shop.example" }
    expect((await running.get("/", { method: "POST", headers })).status).toBe(403)
    app.proxy = true
    expect((await running.get("/", { method: "POST", headers })).status).toBe(200)
  })

  test.each([
    [false, {}, "app.proxy = true"],
    [false, { "X-Forwarded-Proto": "https" }, "app.proxy = true"],
    [true, {}, "let it send X-Forwarded-Proto"],
    [true, { "X-Forwarded-Proto": "http" }, "let it send X-Forwarded-Proto"],
    [true, { "X-Forwarded-Proto": "https" }, undefined],
  ])(
    "%s with %j: what does a warning of plain http advise in production? %s",
    async (proxy, headers, advice) => {
      vi.stubEnv("NODE_ENV", "production")
      onTestFinished(() => void vi.unstubAllEnvs())
      const warnings: string[] = []
      const { app, middleware } = createApp({
        onWarning: (message, code) => void warnings.push(`${code}: ${message}`),
      })
      app.proxy = proxy
      app.use(middleware).use((ctx) => {
        ctx.session.set("note", "sent")
        ctx.body = "done"
      })
      await (await start(app)).get("/", { headers })
      if (advice !== undefined) {
        expect(warnings).toEqual([expect.stringContaining(`say so: ${advice}.`)])
        expect(warnings[0]).toMatch(/^COATCHECK_PLAIN_HTTP/)
      } else expect(warnings).toEqual([])
    },
  )

  test("is believed of plain http as well, where a cookie need not be secure", async () => {
    const { app, middleware } = createApp({ cookie: { secure: "auto" } })
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "sent")
      ctx.body = "done"
    })
    const running = await start(app)
    const headers = { host: "localhost", "X-Forwarded-Proto": "http" }
    expect(cookieOf(await running.get("/", { headers }))).toMatch(/^__Host-id=/)
    app.proxy = true
    expect(cookieOf(await running.get("/", { headers }))).toMatch(/^id=/)
  })

  test("an application's own idea of ctx.secure and ctx.host counts", async () => {
    const { app, middleware } = createApp({ cookie: { secure: "auto" } })
    Object.defineProperty(app.request, "protocol", {
      get(this: Koa.Request) {
        return this.get("CF-Visitor").includes("https") ? "https" : "http"
      },
    })
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "sent")
      ctx.body = "done"
    })
    const running = await start(app)
    const host = `localhost:${running.port}`
    expect(cookieOf(await running.get("/", { headers: { host } }))).toMatch(/^id=/)
    const headers = { host, "CF-Visitor": '{"scheme":"https"}' }
    expect(cookieOf(await running.get("/", { headers }))).toMatch(/^__Host-id=/)
  })
})

describe("HTTP", () => {
  test("an untouched answer is what Koa would send without sessions, to the byte", async () => {
    const handler: Koa.Middleware = (ctx) => {
      ctx.set("X-Case", "Kept")
      ctx.body = { untouched: true }
    }
    const { app, middleware } = createApp()
    app.use(middleware).use(handler)
    const plain = new Koa().use(handler)
    const [ours, theirs] = [await start(app), await start(plain)]
    expect(await bytesOf(ours.port, "/")).toBe(await bytesOf(theirs.port, "/"))
  })

  test("a touched one has the same bytes, and what it says of the session behind them", async () => {
    const { app, middleware } = createApp()
    app.use(middleware).use(async (ctx) => {
      await ctx.session.get("note")
      ctx.session.set("note", "touched")
      ctx.set("X-Case", "Kept")
      ctx.body = "touched"
    })
    const bytes = await bytesOf((await start(app)).port, "/")
    expect(bytes).toMatch(
      /^HTTP\/1\.1 200 OK\r\nX-Case: Kept\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: 7\r\nVary: Cookie\r\nSet-Cookie: __Host-id=[^\r]+\r\nCache-Control: no-store\r\nConnection: close\r\n\r\ntouched$/,
    )
  })

  test("304 by ctx.fresh, and HEAD, are saved and have the cookie", async () => {
    const { app, middleware, store } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", ctx.method)
      ctx.status = 200
      ctx.etag = "1"
      if (ctx.fresh) ctx.status = 304
      else ctx.body = "four"
    })
    const running = await start(app)
    const fresh = await running.get("/", { headers: { "If-None-Match": '"1"' } })
    expect(fresh.status).toBe(304)
    expect(cookieOf(fresh)).toMatch(/^__Host-id=/)
    const head = await running.get("/", { method: "HEAD" })
    expect(head).toMatchObject({ status: 200, headers: { "content-length": "4" }, body: "" })
    expect(cookieOf(head)).toMatch(/^__Host-id=/)
    expect(store.operations()).toEqual(["create", "create"])
  })

  test("early hints go out before the save, without the cookie", async () => {
    const { app, middleware } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "hinted")
      ctx.res.writeEarlyHints({ link: "</a.css>; rel=preload; as=style" })
      ctx.body = "done"
    })
    const answer = await (await start(app)).get()
    expect(answer).toMatchObject({ before: [103], status: 200, body: "done" })
    expect(cookieOf(answer)).toMatch(/^__Host-id=/)
  })

  test.each([
    ["a web stream", () => new Blob(["streamed"]).stream()],
    ["a Blob", () => new Blob(["streamed"])],
    ["a Response", () => new Response("streamed", { headers: { "X-Handler": "1" } })],
    ["a stream of Node.js", () => Readable.from(["stream", "ed"])],
  ])("%s as a body comes with the cookie", async (_, body) => {
    const { app, middleware } = createApp()
    app.use(middleware).use((ctx) => {
      ctx.session.set("note", "streamed")
      ctx.body = body()
    })
    const answer = await (await start(app)).get()
    expect(answer).toMatchObject({ status: 200, body: "streamed" })
    expect(cookieOf(answer)).toMatch(/^__Host-id=/)
  })

  test.each(["before", "after"])(
    "koa-compress %s the sessions compresses, and the cookie is sent",
    async (order) => {
      const { app, middleware } = createApp()
      const layers = [compress({ ...FLUSHING, threshold: 1 }), middleware]
      for (const layer of order === "before" ? layers : layers.toReversed()) app.use(layer as Koa.Middleware)
      app.use((ctx) => {
        ctx.session.set("note", "compressed")
        ctx.body = "x".repeat(5000)
      })
      const headers = { "Accept-Encoding": "gzip" }
      const answer = await (await start(app)).get("/", { headers, encoding: "latin1" })
      expect(answer.headers["content-encoding"]).toBe("gzip")
      expect(gunzipSync(Buffer.from(answer.body, "latin1")).toString()).toBe("x".repeat(5000))
      expect(cookieOf(answer)).toMatch(/^__Host-id=/)
    },
  )

  test.each<Protocol>(["h2c", "h2"])(
    "%s is saved, told of failures, and knows its host",
    async (protocol) => {
      const { app, errors, sessions, store } = createApp({ cookie: { secure: "auto" } })
      app.use(koaSessions(sessions, { csrf: true }).middleware).use((ctx) => {
        ctx.session.set("note", "stored")
        ctx.body = "done"
      })
      const running = await start(app, protocol)
      const scheme = protocol === "h2" ? "https" : "http"
      const headers = { origin: `${scheme}://127.0.0.1:${running.port}` }
      const answer = await running.get("/", { method: "POST", headers })
      expect(answer).toMatchObject({ status: 200, body: "done" })
      expect(cookieOf(answer)).toMatch(protocol === "h2" ? /^__Host-id=/ : /^id=/)
      store.failNext("create")
      expect((await running.get()).status).toBe(500)
      expect(errors).toEqual([expect.any(StoreError)])
    },
  )

  test("a request for a WebSocket can read its session, and change nothing", async () => {
    const { app, sessions } = createApp()
    const server: Server = createServer(app.callback() as RequestListener)
    const sockets = new WebSocketServer({ noServer: true })
    server.on("upgrade", (request, socket, head) => {
      const session = readSession(sessions, request)
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        let refusal = ""
        try {
          session.set("note", "refused")
        } catch (error) {
          refusal = (error as { code: string }).code
        }
        void session.userId().then((user) => webSocket.send(`${user} ${refusal}`))
      })
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    onTestFinished(() => void server.close())
    const { header } = await signedInCookie(sessions, "ada")
    const { port } = server.address() as AddressInfo
    const client = new WebSocket(`ws://127.0.0.1:${port}/`, { headers: { cookie: header } })
    onTestFinished(() => client.terminate())
    const [message] = (await once(client, "message")) as [Buffer]
    expect(message.toString()).toBe("ada ERR_SESSION_READ_ONLY")
  })
})

test("signedInCookie signs a client of supertest in", async () => {
  const { app, middleware, requireUser, sessions } = createApp()
  app.use(middleware).use(requireUser())
  app.use(async (ctx) => {
    ctx.body = `${await ctx.session.userId()} ${await ctx.session.get("note")}`
  })
  const { header } = await signedInCookie(sessions, "ada", {
    prepare: (session) => session.set("note", "prepared"),
  })
  const client = supertest(app.callback())
  await client.get("/").expect(401)
  await client.get("/").set("Cookie", header).expect(200, "ada prepared")
})

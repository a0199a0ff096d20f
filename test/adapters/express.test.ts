import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import compression from "compression"
import { createSessions, type SessionsOptions, StoreError } from "coatcheck"
import { type ExpressSessions, expressSessions, sessionErrors } from "coatcheck/express"
import { memoryStore } from "coatcheck/memory"
import { signedInCookie, type SpyStore, spyStore } from "coatcheck/testing"
import express, { type Express, type NextFunction, type Request, type Response } from "express"
import express4 from "express-4"
import expressSession from "express-session"
import request from "supertest"
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest"
import { sendRaw } from "../support/node-servers.ts"
import { startExpress, type ExpressModule } from "./apps/express.ts"
import { listening } from "./apps/node-server.ts"
import { describeAdapter } from "./describe.ts"
import { createStage, KEY } from "./scenes.ts"
import { Visitor } from "./visitor.ts"

const versions: [name: string, module: ExpressModule][] = [
  ["Express 5", express],
  ["Express 4", express4 as unknown as ExpressModule],
]

for (const [name, module] of versions) {
  describeAdapter(name, () => startExpress(module, createStage()))
}

interface State {
  note: string
}

interface Mounted extends ExpressSessions<State, object> {
  readonly app: Express
  readonly store: SpyStore
  readonly warnings: string[]
}

afterEach(() => {
  vi.unstubAllEnvs()
})

describe.each(versions)("%s", (_name, create) => {
  function mount(options: SessionsOptions = {}, own: Parameters<typeof expressSessions>[1] = {}): Mounted {
    const store = spyStore(memoryStore())
    const warnings: string[] = []
    const sessions = createSessions<State, object>({
      keys: [KEY],
      store,
      onWarning: (message) => void warnings.push(message),
      ...options,
      schema: undefined,
    })
    return { ...expressSessions(sessions, own), app: create(), store, warnings }
  }

  async function start(app: Express): Promise<{ url: string; port: number }> {
    const running = await listening(
      createServer(app as (request: IncomingMessage, response: ServerResponse) => void),
    )
    onTestFinished(() => running.close())
    return { url: running.url, port: Number(new URL(running.url).port) }
  }

  const page = "a page of text ".repeat(1000)

  test.each(["before", "after"])(
    "compression %s it compresses, and the cookie comes along",
    async (place) => {
      const { app, middleware, getSession } = mount()
      const compress = compression({ threshold: 0 }) as unknown as typeof middleware
      app.use(...(place === "before" ? [compress, middleware] : [middleware, compress]))
      app.get("/", (req, res) => {
        getSession(req).set("note", "compressed")
        res.type("text").send(page)
      })
      app.get("/note", async (req, res) => void res.send(await getSession(req).get("note")))
      app.get("/stream", async (req, res) => {
        getSession(req).set("note", "streamed")
        for (let index = 0; index < 20; index++) {
          if (!res.write(page)) await new Promise((resolve) => res.once("drain", () => resolve(undefined)))
        }
        res.end()
      })
      const visitor = new Visitor((await start(app)).url)
      const headers = { "Accept-Encoding": "gzip" }
      const first = await visitor.get("/", { headers })
      expect(first.headers.get("content-encoding")).toBe("gzip")
      expect(first.headers.get("vary")?.toLowerCase()).toContain("accept-encoding")
      expect(first.text).toBe(page)
      expect((await visitor.get("/note")).text).toBe("compressed")
      expect((await visitor.get("/stream", { headers })).text).toBe(page.repeat(20))
      expect((await visitor.get("/note")).text).toBe("streamed")
    },
  )

  test("G3: flushHeaders sends the head when the session is saved, and not before", async () => {
    const { app, middleware, getSession, store } = mount()
    app.use(middleware)
    app.get("/", async (req, res) => {
      getSession(req).set("note", "flushed")
      res.flushHeaders()
      await sleep(600)
      res.end("body")
    })
    store.delay("create", 200)
    const raw = sendRaw(
      (await start(app)).port,
      "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    await raw.until(/\r\n\r\n/)
    expect(raw.pieces[0]?.at).toBeGreaterThan(190)
    expect(raw.text()).toMatch(/set-cookie: __Host-id=/i)
    expect(raw.text()).not.toContain("body")
    await raw.closed()
    expect(raw.text()).toContain("body")
  })

  test("G3: early hints go out at once, and the session can still be changed", async () => {
    const { app, middleware, getSession } = mount()
    app.use(middleware)
    app.get("/", (req, res) => {
      res.writeEarlyHints({ link: "</style.css>; rel=preload" })
      getSession(req).set("note", "hinted")
      res.send("body")
    })
    const raw = sendRaw(
      (await start(app)).port,
      "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    await raw.closed()
    expect(raw.text()).toMatch(/^HTTP\/1\.1 103 [^]*\r\n\r\nHTTP\/1\.1 200 [^]*set-cookie: __Host-id=/i)
  })

  test("mounted twice, it says so", async () => {
    const { app, middleware } = mount()
    app.use(middleware, middleware)
    app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
      res.status(500).send(error.message)
    })
    const { text } = await request(app).get("/")
    expect(text).toMatch(/already has a session of these sessions: mount them once/)
  })

  test("without the middleware, getSession says what is missing", () => {
    expect(() => mount().getSession({} as Request)).toThrow(
      "This request has no session. Mount the middleware of expressSessions before what uses it.",
    )
  })

  test("beside express-session it needs a name of its own, and then works", async () => {
    const other = expressSession({ secret: "other", resave: false, saveUninitialized: true, name: "other" })
    const taken = mount()
    taken.app.use(other as unknown as typeof taken.middleware, taken.middleware)
    taken.app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
      res.status(500).send(error.message)
    })
    expect((await request(taken.app).get("/")).text).toContain('There is already a "session" here')

    const { app, middleware, getSession } = mount({}, { property: "visit" })
    app.use(other as unknown as typeof middleware, middleware)
    app.get("/", (req, res) => {
      getSession(req).set("note", "ours")
      res.send(String((req as unknown as { visit: unknown }).visit === getSession(req)))
    })
    const answer = await request(app).get("/")
    expect(answer.text).toBe("true")
    const names = (answer.headers["set-cookie"] as unknown as string[]).map((line) => line.split("=")[0])
    expect(names.toSorted()).toEqual(["__Host-id", "other"])
  })

  describe("a session that cannot be saved", () => {
    function failing(handler: (req: Request, res: Response) => unknown): Mounted & { errors: unknown[] } {
      const mounted = mount()
      const errors: unknown[] = []
      mounted.app.use(mounted.middleware)
      mounted.app.get("/", (req, res) => {
        mounted.getSession(req).set("note", "lost")
        handler(req, res)
      })
      mounted.store.failNext("create")
      return Object.assign(mounted, { errors })
    }

    test("goes to the application's error handler, though the route has answered", async () => {
      const { app, errors } = failing((_req, res) =>
        res
          .set({ "X-Request-Id": "1", ETag: '"a"', "Cache-Control": "public", Location: "/done" })
          .json({ done: true }),
      )
      app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
        errors.push(error)
        res.status(503).json({ error: "try again" })
      })
      const answer = await request(app).get("/")
      expect([answer.status, answer.body]).toEqual([503, { error: "try again" }])
      // What speaks of the answer goes, what every answer has stays.
      expect(answer.headers["x-request-id"]).toBe("1")
      for (const name of ["location", "cache-control"]) expect(answer.headers).not.toHaveProperty(name)
      expect(answer.headers["etag"]).not.toBe('"a"')
      expect(answer.headers).not.toHaveProperty("set-cookie")
      expect(errors).toEqual([expect.any(StoreError)])
    })

    test("may be answered by an error handler that takes its time", async () => {
      const { app } = failing((_req, res) => res.json({ done: true }))
      app.use((_error: unknown, _req: Request, res: Response, _next: NextFunction) => {
        setTimeout(() => res.status(502).send("later"), 50)
      })
      const answer = await request(app).get("/")
      expect([answer.status, answer.text]).toEqual([502, "later"])
    })

    test("is answered by Express itself, if the application has no error handler", async () => {
      vi.spyOn(console, "error").mockImplementation(() => undefined)
      const { app } = failing((_req, res) => res.json({ done: true }))
      const answer = await request(app).get("/")
      expect(answer.status).toBe(500)
      expect(answer.text).toContain("<title>Error</title>")
      vi.restoreAllMocks()
    })

    test("in place of a stream that goes on, is answered at once or for the application", async () => {
      const { app } = failing(async (_req, res) => {
        res.write("never sent")
        await sleep(20)
        res.end()
      })
      app.use((_error: unknown, _req: Request, res: Response, _next: NextFunction) => {
        setTimeout(() => res.headersSent || res.status(502).send("too late"), 50)
      })
      const answer = await request(app).get("/")
      expect([answer.status, answer.text]).toEqual([503, "Service Unavailable\n"])
    })

    test("is answered in place of a stream that had begun to be written", async () => {
      const { app } = failing(async (_req, res) => {
        res.write("never sent")
        await sleep(20)
        res.end()
      })
      app.use(sessionErrors)
      const answer = await request(app).get("/")
      expect([answer.status, answer.headers["retry-after"]]).toEqual([503, "5"])
      expect(answer.text).not.toContain("never")
    })
  })

  describe("while the session is saved, in an application that is mounted in another", () => {
    /** What a handler does after it has answered must not change the answer, let alone end the process. */
    const careless: [what: string, handle: (res: Response, next: NextFunction) => void][] = [
      ["calls next", (_res, next) => next()],
      ["ends once more", (res) => void res.end("again")],
      ["writes once more", (res) => void res.write("again")],
    ]

    test.each(careless)("a handler that has answered and then %s changes nothing", async (_what, handle) => {
      const { app, middleware, getSession, store } = mount()
      vi.spyOn(console, "error").mockImplementation(() => undefined)
      app.use(middleware)
      const sub = create()
      sub.get("/", (req, res, next) => {
        getSession(req).set("note", "saved")
        res.send("the answer")
        expect(res.headersSent).toBe(true)
        handle(res, next)
      })
      app.use("/sub", sub)
      app.get("/note", async (req, res) => void res.send(await getSession(req).get("note")))
      const visitor = new Visitor((await start(app)).url)
      store.delay("create", 100)
      const { status, text } = await visitor.get("/sub")
      expect([status, text]).toEqual([200, "the answer"])
      expect((await visitor.get("/note")).text).toBe("saved")
      vi.restoreAllMocks()
    })
  })

  test("a guard that is overtaken by an answer of somebody else leaves it alone", async () => {
    const { app, middleware, requireUser, getSession, store } = mount()
    app.use(middleware)
    app.post("/start", (req, res) => {
      getSession(req).set("note", "there")
      res.end()
    })
    app.use((_req, res, next) => {
      setTimeout(() => void res.status(503).send("out of patience"), 30)
      next()
    })
    app.get("/account", requireUser({ redirectTo: "/anmelden/ł" }), (_req, res) => void res.send("never"))
    const visitor = new Visitor((await start(app)).url)
    await visitor.post("/start")
    store.delay("load", 120)
    expect((await visitor.get("/account")).text).toBe("out of patience")
    await sleep(150)
    store.reset()
    const other = new Visitor((await start(mountedGuard())).url)
    expect((await other.get("/account")).headers.get("location")).toBe("/anmelden/%C5%82")
  })

  function mountedGuard(): Express {
    const { app, middleware, requireUser } = mount()
    app.use(middleware)
    app.get("/account", requireUser({ redirectTo: "/anmelden/ł" }), (_req, res) => void res.send("never"))
    return app
  }

  test("sessionErrors leaves other errors to the next handler", async () => {
    const { app, middleware } = mount()
    app.use(middleware)
    app.get("/", () => {
      throw new Error("of the route")
    })
    app.use(sessionErrors)
    app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
      res.status(500).send(error.message)
    })
    expect((await request(app).get("/")).text).toBe("of the route")
  })

  test("guards let in, turn away, or redirect", async () => {
    const { app, middleware, getSession, requireUser, requireFresh } = mount()
    app.use(middleware)
    app.post("/sign-in", (req, res) => {
      getSession(req).signIn("ada")
      res.end()
    })
    app.get("/account", requireUser({ redirectTo: "/sign-in" }), (_req, res) => void res.send("account"))
    app.get("/api", requireUser(), (_req, res) => void res.send("api"))
    app.get(
      "/password",
      requireFresh({ within: "5m", redirectTo: "/sign-in" }),
      (_req, res) => void res.send("password"),
    )
    app.get("/strict", requireFresh({ within: 1 }), (_req, res) => void res.send("strict"))
    app.use(sessionErrors)
    const agent = new Visitor((await start(app)).url)
    for (const path of ["/account", "/password"]) {
      const answer = await agent.get(path)
      expect([answer.status, answer.headers.get("location")]).toEqual([303, "/sign-in"])
    }
    expect((await agent.get("/api")).status).toBe(401)
    await agent.post("/sign-in")
    await sleep(5)
    for (const path of ["/account", "/api", "/password"]) {
      expect((await agent.get(path)).text).toBe(path.slice(1))
    }
    expect((await agent.get("/strict")).status).toBe(401)
    expect(() => requireFresh({ within: "soon" as "1s" })).toThrow(/within is a duration/)
  })

  describe("behind a proxy", () => {
    const forwarded = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example" }

    test("in production over what Express takes for plain http, the cookie is sent, and one warning names the setting", async () => {
      vi.stubEnv("NODE_ENV", "production")
      const { app, middleware, getSession, warnings } = mount()
      app.use(middleware)
      app.get("/", (req, res) => {
        getSession(req).set("note", "sent")
        res.end()
      })
      for (let visit = 0; visit < 3; visit++) {
        const { headers } = await request(app).get("/").set(forwarded)
        expect(headers["set-cookie"]?.[0]).toMatch(/; Secure/)
      }
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toContain('app.set("trust proxy", 1)')
    })

    test("that is trusted, nothing is warned of, and the Origin is compared with the host that the client asked for", async () => {
      vi.stubEnv("NODE_ENV", "production")
      const { app, middleware, getSession, warnings } = mount({}, { csrf: true })
      app.set("trust proxy", 1)
      app.use(middleware)
      app.post("/", (req, res) => {
        getSession(req).set("note", "sent")
        res.end()
      })
      app.use(sessionErrors)
      const own = await request(app).post("/").set(forwarded).set("Origin", "https://shop.example")
      expect([own.status, warnings]).toEqual([200, []])
      const other = await request(app).post("/").set(forwarded).set("Origin", "https://other.example")
      expect(other.status).toBe(403)
    })

    test("that is not trusted, its word for the host counts for nothing", async () => {
      const { app, middleware } = mount({}, { csrf: true })
      app.use(middleware)
      app.post("/", (_req, res) => void res.end())
      app.use(sessionErrors)
      const answer = await request(app).post("/").set(forwarded).set("Origin", "https://shop.example")
      expect(answer.status).toBe(403)
    })
  })

  test("a signed-in cookie works with supertest", async () => {
    const sessions = createSessions<State>({ keys: [KEY] })
    const { middleware, getSession } = expressSessions(sessions)
    const app = create()
    app.use(middleware)
    app.get("/", async (req, res) => void res.send(await getSession(req).userId()))
    const cookie = await signedInCookie(sessions, "ada")
    expect((await request(app).get("/").set("Cookie", cookie.header)).text).toBe("ada")
  })
})

import { once } from "node:events"
import { request as httpRequest } from "node:http"
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import compress from "@fastify/compress"
import cookie from "@fastify/cookie"
import fastifySession from "@fastify/session"
import { createSessions, SessionError, StoreError } from "coatcheck"
import {
  type FastifySessions,
  fastifySessions,
  type FastifySessionsOptions,
  sessionErrors,
} from "coatcheck/fastify"
import { memoryStore } from "coatcheck/memory"
import { readSession } from "coatcheck/node"
import { signedInCookie } from "coatcheck/testing"
import Fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify"
import { afterEach, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { serve } from "../support/node-servers.ts"
import { listeningFastify, parseForms, startFastify } from "./apps/fastify.ts"
import { describeAdapter } from "./describe.ts"
import { type ClientState, createStage, KEY, type SceneSession, type Stage, type State } from "./scenes.ts"
import { Visitor } from "./visitor.ts"

describeAdapter("Fastify 5", () => startFastify(createStage()))

interface Own extends Stage {
  readonly app: FastifyInstance
  readonly getSession: FastifySessions<State, ClientState>["getSession"]
  /** What the application has logged, as objects. */
  readonly logged: Record<string, unknown>[]
}

interface Running extends Own {
  readonly url: string
  readonly visitor: Visitor
}

const opened: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

/** An application whose plugin is registered, and then what the test adds. */
async function prepared(
  add: (own: Own) => unknown,
  options: FastifySessionsOptions = {},
  server: FastifyServerOptions = {},
): Promise<Own> {
  const stage = createStage()
  const logged: Record<string, unknown>[] = []
  const stream = { write: (line: string) => void logged.push(JSON.parse(line) as Record<string, unknown>) }
  const app: FastifyInstance = Fastify({ logger: { level: "warn", stream }, ...server })
  const { plugin, getSession } = fastifySessions(stage.sessions, options)
  await app.register(plugin)
  const own: Own = { ...stage, app, getSession, logged }
  await add(own)
  opened.push(() => app.close())
  return own
}

async function started(...given: Parameters<typeof prepared>): Promise<Running> {
  const own = await prepared(...given)
  const { url, close } = await listeningFastify(own.app)
  opened.push(close)
  return { ...own, url, visitor: new Visitor(url) }
}

/** A route that tells what the session holds. */
function addRead({ app, getSession }: Own): void {
  app.get("/read", async (request) => ({ note: (await getSession(request).get("note")) ?? null }))
}

describe("the property", () => {
  test("request.session is the session, and there is none before the plugin has run", async () => {
    const { visitor } = await started(({ app, getSession }) => {
      app.get("/", async (request) => {
        const { session } = request as unknown as { session: SceneSession }
        session.set("note", "by the property")
        return { same: session === getSession(request), note: await getSession(request).get("note") }
      })
    })
    expect(JSON.parse((await visitor.get("/")).text)).toEqual({ same: true, note: "by the property" })
  })

  test("false leaves the request as it is", async () => {
    const { visitor } = await started(
      ({ app, getSession }) => {
        app.get("/", async (request) => ({
          property: "session" in request,
          user: await getSession(request).userId(),
        }))
      },
      { property: false },
    )
    expect(JSON.parse((await visitor.get("/")).text)).toEqual({ property: false, user: null })
  })

  test("beside @fastify/session, the other name is asked for, and both work", async () => {
    const stage = createStage()
    const app = Fastify()
    opened.push(() => app.close())
    await app.register(cookie)
    await app.register(fastifySession, { secret: KEY, cookie: { secure: false } })
    const taken = async (): Promise<unknown> => {
      const other = Fastify()
      await other.register(cookie)
      await other.register(fastifySession, { secret: KEY, cookie: { secure: false } })
      return other.register(fastifySessions(stage.sessions).plugin)
    }
    await expect(taken()).rejects.toThrow(/already a "session" here.*\{ property: "adminSession" \}/)
    const { plugin, getSession } = fastifySessions(stage.sessions, { property: "coat" })
    await app.register(plugin)
    app.get("/", async (request) => {
      const theirs = request.session as unknown as {
        get(key: string): number
        set(key: string, value: number): void
      }
      theirs.set("count", (theirs.get("count") ?? 0) + 1)
      const count = ((await getSession(request).get("count")) ?? 0) + 2
      getSession(request).set("count", count)
      return { theirs: theirs.get("count"), ours: count, coat: "coat" in request }
    })
    const { url, close } = await listeningFastify(app)
    opened.push(close)
    const visitor = new Visitor(url)
    const first = await visitor.get("/")
    expect(first.headers.getSetCookie()).toHaveLength(2)
    expect(JSON.parse((await visitor.get("/")).text)).toEqual({ theirs: 2, ours: 4, coat: true })
  })
})

describe("registering", () => {
  test("twice in one context is an error that says so", async () => {
    const { app, sessions } = await prepared(() => undefined)
    const again = app.register(fastifySessions(sessions, { property: "another" }).plugin)
    await expect(again).rejects.toThrow(SessionError)
    await expect(again).rejects.toThrow(/registered twice/)
  })

  test("twice, in a context and one inside of it, is as well", async () => {
    const { app, sessions } = await prepared(() => undefined)
    const inside = app.register(async (child) => {
      await child.register(async (grandchild) => {
        await grandchild.register(fastifySessions(sessions, { property: "another" }).plugin)
      })
    })
    await expect(inside).rejects.toThrow(/registered twice/)
  })

  test("inside of a context limits the sessions to it and to those inside", async () => {
    const stage = createStage()
    const { plugin, getSession } = fastifySessions(stage.sessions)
    const app = Fastify()
    await app.register(async (shop) => {
      await shop.register(plugin)
      shop.get("/inside", async (request) => String(getSession(request).isNew))
      await shop.register(async (child) => {
        child.get("/further", async (request) => String(getSession(request).isNew))
      })
    })
    app.get("/outside", async (request) => {
      expect("session" in request).toBe(false)
      return getSession(request).isNew
    })
    const { url, close } = await listeningFastify(app)
    opened.push(close)
    const visitor = new Visitor(url)
    expect((await visitor.get("/inside")).text).toBe("true")
    expect((await visitor.get("/further")).text).toBe("true")
    const outside = await visitor.get("/outside")
    expect(outside.status).toBe(500)
    expect(outside.text).toContain("This request has no session. Register the plugin of fastifySessions")
  })

  test("the same sessions in two contexts beside each other works, under one name", async () => {
    const stage = createStage()
    const { plugin, getSession } = fastifySessions(stage.sessions)
    const app = Fastify()
    for (const prefix of ["/one", "/two"]) {
      await app.register(
        async (part) => {
          await part.register(plugin)
          part.get("/", async (request) => {
            const session = getSession(request)
            session.set("count", ((await session.get("count")) ?? 0) + 1)
            return String(await session.get("count"))
          })
        },
        { prefix },
      )
    }
    const { url, close } = await listeningFastify(app)
    opened.push(close)
    const visitor = new Visitor(url)
    expect((await visitor.get("/one")).text).toBe("1")
    expect((await visitor.get("/two")).text).toBe("2")
  })

  test("another kind under the same name inside is an error that speaks of property", async () => {
    const { app, admins } = await prepared(() => undefined)
    const inside = app.register(async (child) => {
      await child.register(fastifySessions(admins).plugin)
    })
    await expect(inside).rejects.toThrow(/already a "session" here/)
  })

  test("the plugin has a name, for those that depend on it", async () => {
    const { app } = await prepared(() => undefined)
    const dependent = Object.assign(async () => undefined, {
      [Symbol.for("plugin-meta")]: { name: "dependent", dependencies: ["coatcheck"] },
    })
    await app.register(dependent)
    expect(app.printPlugins()).toContain("coatcheck")
  })
})

describe("what cannot be saved", () => {
  const routes = ({ app, getSession }: Own): void => {
    app.get("/json", async (request) => {
      getSession(request).set("note", "json")
      return { fine: true }
    })
    app.get("/redirect", async (request, reply) => {
      getSession(request).set("note", "redirect")
      return reply.header("Cache-Control", "public").header("ETag", '"1"').redirect("/elsewhere", 303)
    })
    app.get("/encoded", async (request, reply) => {
      getSession(request).set("note", "encoded")
      return reply.code(422).header("Content-Encoding", "br").send(Buffer.from("not really"))
    })
    app.get("/stream", async (request, reply) => {
      getSession(request).set("note", "stream")
      return reply.type("text/plain").send(Readable.from(["a".repeat(100_000), "b".repeat(100_000)]))
    })
    app.get("/response", async (request) => {
      getSession(request).set("note", "response")
      return new Response("fine")
    })
    app.get("/raw-end", (request, reply) => {
      getSession(request).set("note", "raw")
      reply.raw.writeHead(200, { "Content-Type": "text/plain" }).end("fine")
    })
    app.get("/raw-open", (request, reply) => {
      getSession(request).set("note", "raw")
      reply.raw.write("fine")
      setTimeout(() => reply.raw.end("later"), 100)
    })
    app.get("/hijacked", (request, reply) => {
      getSession(request).set("note", "hijacked")
      reply.hijack()
      reply.raw.end("fine")
    })
  }
  const byFastify = ["/json", "/redirect", "/encoded", "/stream", "/response"]

  test.each(byFastify)("goes to setErrorHandler, whose page arrives as it is: %s", async (path) => {
    const errors: unknown[] = []
    const { visitor, store } = await started((own) => {
      own.app.setErrorHandler((error, _request, reply) => {
        errors.push(error)
        reply.code(503).header("X-Own", "yes").send({ page: "the application's own" })
      })
      routes(own)
      addRead(own)
    })
    store.failNext("create")
    const { status, headers, text } = await visitor.get(path)
    expect([status, text]).toEqual([503, '{"page":"the application\'s own"}'])
    expect(headers.get("x-own")).toBe("yes")
    expect(headers.getSetCookie()).toEqual([])
    expect(headers.get("cache-control")).toBe("no-store")
    for (const name of ["location", "etag", "content-encoding"]) expect(headers.has(name)).toBe(false)
    expect(errors).toEqual([expect.any(StoreError)])
    expect(JSON.parse((await visitor.get("/read")).text)).toEqual({ note: null })
    expect(store.log.map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual(["create rejected"])
  })

  test.each([...byFastify, "/raw-end"])("goes to an error handler that takes its time: %s", async (path) => {
    const { visitor, store } = await started((own) => {
      own.app.setErrorHandler(async (_error, _request, reply) => {
        await sleep(50)
        return reply.code(503).send("in a moment")
      })
      routes(own)
    })
    store.failNext("create")
    const { status, text } = await visitor.get(path)
    expect([status, text]).toEqual([503, "in a moment"])
  })

  test("is answered with 500 by Fastify's own handler, and logged", async () => {
    const { visitor, store, logged } = await started(routes)
    store.failNext("create")
    const { status, text } = await visitor.get("/encoded")
    expect(status).toBe(500)
    expect(JSON.parse(text)).toMatchObject({ statusCode: 500, code: "ERR_SESSION_STORE" })
    expect(logged).toMatchObject([{ err: { code: "ERR_SESSION_STORE" } }])
  })

  test("is answered with 503 by sessionErrors, which passes other errors on", async () => {
    const { visitor, store, logged } = await started((own) => {
      own.app.setErrorHandler((_error, _request, reply) => reply.send("outer"))
      own.app.register(async (child) => {
        child.setErrorHandler(sessionErrors)
        routes({ ...own, app: child })
        child.get("/other", () => {
          throw new Error("something else")
        })
        child.get("/status", async (_request, reply) => {
          reply.code(404)
          throw new Error("not here")
        })
        child.get("/no-error", () => {
          // oxlint-disable-next-line typescript/only-throw-error -- what some applications do
          throw "no error"
        })
      })
    })
    store.failNext("create")
    const { status, headers, text } = await visitor.get("/json")
    expect([status, headers.get("retry-after"), text]).toEqual([503, "5", "Service Unavailable\n"])
    expect(headers.get("content-type")).toBe("text/plain; charset=utf-8")
    expect(logged).toMatchObject([{ err: { code: "ERR_SESSION_STORE" } }])
    expect((await visitor.get("/other")).text).toBe("outer")
    expect((await visitor.get("/status")).status).toBe(404)
    const { status: strange } = await visitor.get("/no-error")
    expect(strange).toBe(500)
  })

  test("goes to setErrorHandler, too, if the answer was written to reply.raw", async () => {
    const { visitor, store } = await started((own) => {
      own.app.setErrorHandler((_error, _request, reply) => reply.code(503).send("own page"))
      routes(own)
    })
    for (const path of ["/raw-end", "/raw-open"]) {
      store.failNext("create")
      const { status, text, headers } = await visitor.get(path)
      expect([path, status, text]).toEqual([path, 503, "own page"])
      expect(headers.getSetCookie()).toEqual([])
    }
  })

  test("is answered at once if an answer to reply.raw has not ended and the error handler takes its time", async () => {
    const { visitor, store } = await started((own) => {
      own.app.setErrorHandler(async (_error, _request, reply) => {
        await sleep(50)
        return reply.code(503).send("in a moment")
      })
      routes(own)
    })
    store.failNext("create")
    const { status, text } = await visitor.get("/raw-open")
    expect([status, text]).toEqual([503, "Service Unavailable\n"])
    await sleep(150)
    expect((await visitor.get("/json")).status).toBe(200)
  })

  test("is logged and answered with 503 if the reply is hijacked", async () => {
    const errors: unknown[] = []
    const { visitor, store, logged } = await started((own) => {
      own.app.setErrorHandler((error) => void errors.push(error))
      routes(own)
    })
    store.failNext("create")
    const { status, headers } = await visitor.get("/hijacked")
    expect([status, headers.get("retry-after")]).toEqual([503, "5"])
    expect(logged).toMatchObject([
      { msg: "The session could not be saved.", err: { code: "ERR_SESSION_STORE" } },
    ])
    expect(errors).toEqual([])
  })

  test("leaves the session as it is: what error handlers and hooks do with it has the library's own answers", async () => {
    const seen: unknown[] = []
    const { visitor, store } = await started((own) => {
      const { app, getSession } = own
      app.addHook("onResponse", async (request) => {
        const session = getSession(request)
        seen.push(
          session.isTouched,
          Object.keys(Object.getOwnPropertyDescriptors(session)).includes("finalize"),
        )
      })
      app.setErrorHandler((_error, _request, reply) => reply.code(503).send("own page"))
      routes(own)
    })
    for (const path of ["/json", "/raw-end"]) {
      seen.length = 0
      store.failNext("create")
      expect((await visitor.get(path)).text).toBe("own page")
      await expect.poll(() => seen).toEqual([true, false])
    }
  })

  test("leaves an error handler that fails as well to the one around it", async () => {
    const { visitor, store } = await started((own) => {
      own.app.setErrorHandler((_error, _request, reply) => reply.code(503).send("outer"))
      own.app.register(async (child) => {
        child.setErrorHandler((_error, request) => {
          own.getSession(request).set("note", "too late")
        })
        routes({ ...own, app: child })
      })
    })
    store.failNext("create")
    expect((await visitor.get("/json")).text).toBe("outer")
  })
})

describe("answers of 5xx", () => {
  test("save nothing, whatever way their status comes", async () => {
    const { visitor, store } = await started((own) => {
      const { app, getSession } = own
      addRead(own)
      app.setErrorHandler((_error, _request, reply) => reply.code(502).send("bad"))
      app.get("/code", async (request, reply) => {
        getSession(request).set("note", "code")
        return reply.code(500).send("failed")
      })
      app.get("/thrown", async (request) => {
        getSession(request).set("note", "thrown")
        throw new Error("failed")
      })
      app.get("/response", async (request) => {
        getSession(request).set("note", "response")
        return new Response("failed", { status: 500 })
      })
      app.get("/hijacked", (request, reply) => {
        getSession(request).set("note", "hijacked")
        reply.hijack()
        reply.raw.writeHead(500).end()
      })
      app.get("/serialized", { schema: { response: { 200: { $ref: "strict#" } } } }, async (request) => {
        getSession(request).set("note", "serialized")
        return { wrong: 1n }
      })
      app.addSchema({
        $id: "strict",
        type: "object",
        properties: { wrong: { type: "object" } },
        required: ["right"],
      })
    })
    for (const path of ["/code", "/thrown", "/response", "/hijacked", "/serialized"]) {
      const { status, headers } = await visitor.get(path)
      expect([path, Math.floor(status / 100), headers.getSetCookie()]).toEqual([path, 5, []])
    }
    expect(store.operations()).toEqual([])
  })
})

describe("what goes past reply.send", () => {
  test("hijack: the session is saved before the head, which brings the cookie", async () => {
    const { visitor, store } = await started((own) => {
      addRead(own)
      own.app.get("/", (request, reply) => {
        own.getSession(request).set("note", "hijacked")
        reply.hijack()
        reply.raw.writeHead(201, { "Content-Type": "text/plain" })
        reply.raw.end("by hand")
      })
    })
    store.delay("create", 200)
    const began = performance.now()
    const { status, text, headers } = await visitor.get("/")
    expect(performance.now() - began).toBeGreaterThan(190)
    expect([status, text]).toEqual([201, "by hand"])
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(JSON.parse((await visitor.get("/read")).text)).toEqual({ note: "hijacked" })
  })

  test("reply.raw.write streams, after the save", async () => {
    const { visitor } = await started((own) => {
      addRead(own)
      own.app.get("/", async (request, reply) => {
        own.getSession(request).set("note", "raw")
        reply.hijack()
        for (const piece of ["one;", "two;", "three;"]) {
          reply.raw.write(piece)
          await sleep(60)
        }
        reply.raw.end()
      })
    })
    const { pieces, text, headers } = await visitor.stream("/")
    expect(text).toBe("one;two;three;")
    expect(pieces.length).toBeGreaterThan(1)
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(JSON.parse((await visitor.get("/read")).text)).toEqual({ note: "raw" })
  })

  test("flushHeaders waits for the save, and its head brings the cookie", async () => {
    const { visitor, store } = await started((own) => {
      own.app.get("/", async (request, reply) => {
        own.getSession(request).set("note", "flushed")
        reply.hijack()
        reply.raw.flushHeaders()
        await sleep(20)
        reply.raw.end("flushed")
      })
    })
    store.delay("create", 100)
    const { text, headers } = await visitor.get("/")
    expect(text).toBe("flushed")
    expect(headers.getSetCookie()).toHaveLength(1)
  })

  test("early hints go out at once, and the head after the save", async () => {
    const own = await prepared(({ app, getSession }) => {
      app.get("/", async (request, reply) => {
        getSession(request).set("note", "hinted")
        reply.raw.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" })
        return "page"
      })
    })
    await own.app.ready()
    await using server = await serve("http", own.app.routing)
    const { before, status, headers } = await server.get("/")
    expect([before, status]).toEqual([[103], 200])
    expect(headers["set-cookie"]).toHaveLength(1)
  })
})

test("a hook onSend that comes later may use a session for the first time, and not change one that was saved", async () => {
  const { visitor } = await started((own) => {
    addRead(own)
    own.app.addHook("onSend", async (request) => {
      if (request.url !== "/read") own.getSession(request).set("note", "by a hook")
    })
    own.app.get("/untouched", async () => "fine")
    own.app.get("/touched", async (request) => String(own.getSession(request).isNew))
  })
  expect((await visitor.get("/untouched")).text).toBe("fine")
  expect(JSON.parse((await visitor.get("/read")).text)).toEqual({ note: "by a hook" })
  const { status, text } = await visitor.get("/touched")
  expect([status, JSON.parse(text)]).toEqual([
    500,
    expect.objectContaining({ code: "ERR_SESSION_FINALIZED" }),
  ])
})

test("what a later hook onSend has changed and cannot be saved goes to setErrorHandler, too", async () => {
  const { visitor, store } = await started((own) => {
    own.app.setErrorHandler((_error, _request, reply) => reply.code(503).send("own page"))
    own.app.addHook("onSend", async (request, reply) => {
      if (reply.statusCode === 422) own.getSession(request).set("note", "by a hook")
    })
    own.app.get("/", async (_request, reply) => {
      return reply.code(422).header("Cache-Control", "public").header("Content-Encoding", "br").send("x")
    })
  })
  store.failNext("create")
  const { status, text, headers } = await visitor.get("/")
  expect([status, text]).toEqual([503, "own page"])
  expect([headers.get("cache-control"), headers.get("content-encoding")]).toEqual(["no-store", null])
  expect(headers.getSetCookie()).toEqual([])
})

test("a hook onSend that comes later and fails leaves what was saved, and its cookie", async () => {
  const { visitor } = await started((own) => {
    addRead(own)
    own.app.addHook("onSend", async (request, reply) => {
      if (request.url === "/" && reply.statusCode === 200) throw new Error("failed")
    })
    own.app.get("/", async (request) => {
      own.getSession(request).set("note", "saved")
      return "never sent"
    })
  })
  const { status, headers } = await visitor.get("/")
  expect(status).toBe(500)
  expect(headers.getSetCookie()).toHaveLength(1)
  expect(JSON.parse((await visitor.get("/read")).text)).toEqual({ note: "saved" })
})

test("setNotFoundHandler has the session, by the router and by callNotFound", async () => {
  const { visitor } = await started(({ app, getSession }) => {
    app.setNotFoundHandler(async (request, reply) => {
      const session = getSession(request)
      session.set("count", ((await session.get("count")) ?? 0) + 1)
      return reply.code(404).send(`lost ${await session.get("count")} times`)
    })
    app.get("/called", (_request, reply) => void reply.callNotFound())
  })
  expect((await visitor.get("/nowhere")).text).toBe("lost 1 times")
  const { status, text } = await visitor.get("/called")
  expect([status, text]).toEqual([404, "lost 2 times"])
})

describe.each(["before", "after"])("@fastify/compress registered %s", (when) => {
  test("compresses what has a session", async () => {
    const stage = createStage()
    const app = Fastify()
    const { plugin, getSession } = fastifySessions(stage.sessions)
    const plugins = [() => app.register(compress, { threshold: 1 }), () => app.register(plugin)]
    for (const register of when === "before" ? plugins : plugins.toReversed()) await register()
    app.get("/text", async (request) => {
      getSession(request).set("note", "text")
      return "compressible ".repeat(1000)
    })
    app.get("/stream", async (request, reply) => {
      getSession(request).set("note", "stream")
      return reply.type("text/plain").send(Readable.from(["compressible ".repeat(1000), "stream"]))
    })
    app.get("/read", async (request) => String(await getSession(request).get("note")))
    const { url, close } = await listeningFastify(app)
    opened.push(close)
    for (const path of ["/text", "/stream"]) {
      const visitor = new Visitor(url)
      const { text, headers } = await visitor.get(path, { headers: { "Accept-Encoding": "gzip" } })
      expect(headers.get("content-encoding")).toBe("gzip")
      expect(headers.get("vary")?.toLowerCase()).toContain("accept-encoding")
      expect(headers.get("cache-control")).toBe("no-store")
      expect(headers.getSetCookie()).toHaveLength(1)
      expect(text).toContain("compressible compressible")
      expect((await visitor.get("/read")).text).toBe(path.slice(1))
      stage.store.failNext("update")
      const failed = await visitor.get(path, { headers: { "Accept-Encoding": "gzip" } })
      expect([failed.status, JSON.parse(failed.text)]).toMatchObject([500, { code: "ERR_SESSION_STORE" }])
    }
  })
})

describe("app.inject", () => {
  const add = ({ app, getSession }: Own): void => {
    app.get("/count", async (request) => {
      const session = getSession(request)
      session.set("count", ((await session.get("count")) ?? 0) + 1)
      return { count: await session.get("count"), user: await session.userId() }
    })
  }

  test("is answered as requests are, cookies included", async () => {
    const { app } = await prepared(add)
    const first = await app.inject("/count")
    expect(first.statusCode).toBe(200)
    const [{ name, value } = { name: "", value: "" }] = first.cookies
    const second = await app.inject({ url: "/count", cookies: { [name]: value } })
    expect(second.json()).toEqual({ count: 2, user: null })
  })

  test("takes signedInCookie of coatcheck/testing", async () => {
    const { app, sessions } = await prepared(add)
    const { header } = await signedInCookie(sessions, "ada", {
      prepare: (session) => session.set("count", 41),
    })
    const answer = await app.inject({ url: "/count", headers: { cookie: header } })
    expect(answer.json()).toEqual({ count: 42, user: "ada" })
  })

  test("sees a store that fails", async () => {
    const { app, store } = await prepared((own) => {
      own.app.setErrorHandler(sessionErrors)
      add(own)
    })
    store.failNext("create")
    const { statusCode, headers } = await app.inject("/count")
    expect([statusCode, headers["retry-after"], headers["set-cookie"]]).toEqual([503, "5", undefined])
  })
})

test("HTTP/2 has sessions", async () => {
  const stage = createStage()
  const app = Fastify({ http2: true })
  const { plugin, getSession, requireUser } = fastifySessions(stage.sessions)
  await app.register(plugin)
  app.get("/", async (request) => {
    getSession(request).set("note", "h2")
    return "page"
  })
  app.get("/stream", async (request, reply) => {
    getSession(request).set("note", "streamed")
    return reply.send(Readable.from(["a", "b"]))
  })
  app.get("/mine", { preHandler: requireUser() }, async () => "mine")
  await app.ready()
  opened.push(() => app.close())
  await using server = await serve("h2c", app.routing)
  for (const path of ["/", "/stream"]) {
    const { status, headers } = await server.get(path)
    expect([status, headers["set-cookie"]]).toEqual([200, [expect.stringMatching(/^__Host-id=/)]])
  }
  expect((await server.get("/mine")).status).toBe(401)
  stage.store.failNext("create")
  expect((await server.get("/stream")).status).toBe(500)
})

describe("guards", () => {
  const add = (own: Own): void => {
    const { app, sessions } = own
    const { requireUser, requireFresh } = fastifySessions(sessions)
    let handled = 0
    const answer = async (): Promise<string> => `handled ${++handled}`
    app.get("/sign-in", async (request) => {
      own.getSession(request).signIn("ada")
      return "welcome"
    })
    app.get("/handler", { preHandler: requireUser() }, answer)
    app.get("/request", { onRequest: requireUser({ redirectTo: "/sign-in" }) }, answer)
    app.get("/fresh", { preHandler: [requireUser(), requireFresh({ within: "5m" })] }, answer)
    app.get("/stale", { preHandler: requireFresh({ within: 1, redirectTo: "/again" }) }, answer)
  }

  test("let nobody pass but who has signed in", async () => {
    const { visitor } = await started(add)
    const { status, text } = await visitor.get("/handler")
    expect([status, JSON.parse(text)]).toMatchObject([401, { code: "ERR_SESSION_SIGN_IN_REQUIRED" }])
    const redirect = await visitor.get("/request")
    expect([redirect.status, redirect.headers.get("location")]).toEqual([303, "/sign-in"])
    expect((await visitor.get("/fresh")).status).toBe(401)
    await visitor.get("/sign-in")
    expect((await visitor.get("/handler")).text).toBe("handled 1")
    expect((await visitor.get("/request")).text).toBe("handled 2")
    expect((await visitor.get("/fresh")).text).toBe("handled 3")
    await sleep(10)
    expect((await visitor.get("/stale")).headers.get("location")).toBe("/again")
  })

  test("within must be a duration, when the application starts", () => {
    expect(() => fastifySessions(createStage().sessions).requireFresh({ within: "soon" as "5m" })).toThrow(
      /within is a duration/,
    )
  })
})

describe("csrf", () => {
  const add = (own: Own): void => {
    parseForms(own.app)
    const body = { type: "object", additionalProperties: false, properties: { note: { type: "string" } } }
    own.app.post("/note", { schema: { body } }, async (request) => {
      own.getSession(request).set("note", (request.body as { note: string }).note)
      return Object.keys(request.body as object)
    })
    own.app.get("/token", async (request) => own.getSession(request).csrfToken())
  }

  test("refuses other sites before the body is read", async () => {
    const { visitor } = await started(add, { csrf: { token: true } })
    const { status, text } = await visitor.post("/note", {
      headers: { "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json" },
      body: "{ no JSON",
    })
    expect([status, JSON.parse(text)]).toMatchObject([403, { code: "ERR_SESSION_CSRF" }])
  })

  test("finds the token in a parsed form, even if the schema strips it afterwards", async () => {
    const { visitor } = await started(add, { csrf: { token: true } })
    const token = (await visitor.get("/token")).text
    const form = new URLSearchParams({ note: "by form", _csrf: token })
    const { status, text } = await visitor.post("/note", { headers: {}, body: form })
    expect([status, text]).toEqual([200, '["note"]'])
    form.set("_csrf", "wrong")
    expect((await visitor.post("/note", { headers: {}, body: form })).status).toBe(403)
    const json = { headers: { "Content-Type": "application/json" }, body: '{"note":"by JSON"}' }
    expect((await visitor.post("/note", json)).status).toBe(403)
    const headers = { ...json.headers, "X-CSRF-Token": token }
    expect((await visitor.post("/note", { ...json, headers })).status).toBe(200)
  })

  test("is off unless asked for", async () => {
    const { visitor } = await started(add)
    const headers = { "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json" }
    expect((await visitor.post("/note", { headers, body: '{"note":"x"}' })).status).toBe(200)
  })
})

describe("proxies", () => {
  const PLAIN_HTTP = /COATCHECK_PLAIN_HTTP: .*Fastify\(\{ trustProxy: true \}\)/

  async function warningsOf(
    server: FastifyServerOptions,
    headers: Record<string, string>,
  ): Promise<readonly string[]> {
    const environment = process.env["NODE_ENV"]
    process.env["NODE_ENV"] = "production"
    try {
      const { visitor, warnings } = await started(
        ({ app, getSession }) => {
          app.get("/", async (request) => {
            getSession(request).set("note", "x")
            return "fine"
          })
        },
        {},
        server,
      )
      await visitor.get("/", { headers })
      return warnings
    } finally {
      process.env["NODE_ENV"] = environment
    }
  }

  test("in production over plain http, a warning names the setting", async () => {
    expect(await warningsOf({}, {})).toEqual([expect.stringMatching(PLAIN_HTTP)])
    expect(await warningsOf({}, { "X-Forwarded-Proto": "https" })).toEqual([
      expect.stringMatching(PLAIN_HTTP),
    ])
    const strangers = await warningsOf({ trustProxy: "10.0.0.1" }, { "X-Forwarded-Proto": "https" })
    expect(strangers).toEqual([expect.stringMatching(PLAIN_HTTP)])
  })

  test("where proxies are trusted already, the warning asks for what they do not send", async () => {
    const advised = [expect.stringContaining("say so: let it send X-Forwarded-Proto.")]
    expect(await warningsOf({ trustProxy: true }, {})).toEqual(advised)
    expect(await warningsOf({ trustProxy: true }, { "X-Forwarded-Proto": "http" })).toEqual(advised)
  })

  test("with trustProxy, a proxy that speaks https is believed, and there is none", async () => {
    expect(await warningsOf({ trustProxy: true }, { "X-Forwarded-Proto": "https" })).toEqual([])
    expect(await warningsOf({ trustProxy: "127.0.0.1" }, { "X-Forwarded-Proto": "https" })).toEqual([])
    expect(await warningsOf({ trustProxy: "10.0.0.1" }, { "X-Forwarded-Proto": "https" })).toHaveLength(1)
  })

  test("the cookie of secure: auto follows it", async () => {
    const sessions = createSessions<{ n: number }>({
      keys: [KEY],
      store: memoryStore(),
      cookie: { secure: "auto" },
    })
    const app = Fastify({ trustProxy: true })
    const { plugin, getSession } = fastifySessions(sessions)
    await app.register(plugin)
    app.get("/", async (request) => {
      getSession(request).set("n", 1)
      return "fine"
    })
    const { url, close } = await listeningFastify(app)
    opened.push(close)
    const nameOf = async (headers: Record<string, string>): Promise<string | undefined> =>
      (await fetch(url, { headers })).headers.getSetCookie()[0]?.split("=")[0]
    expect(await nameOf({})).toBe("id")
    expect(await nameOf({ "X-Forwarded-Proto": "http" })).toBe("id")
    expect(await nameOf({ "X-Forwarded-Proto": "https" })).toBe("__Host-id")
    expect(await nameOf({ "X-Forwarded-Host": "shop.example" })).toBe("__Host-id")
  })

  test("csrf compares the origin with the host that the proxy was asked for", async () => {
    const { visitor } = await started(
      ({ app }) => app.post("/", async () => "fine"),
      { csrf: true },
      { trustProxy: true },
    )
    const origin = { Origin: "https://shop.example" }
    expect((await visitor.post("/", { headers: origin })).status).toBe(403)
    const headers = { ...origin, "X-Forwarded-Host": "shop.example" }
    expect((await visitor.post("/", { headers })).status).toBe(200)
  })
})

describe("WebSockets", () => {
  test("read the session of their upgrade by readSession of coatcheck/node", async () => {
    const { url, sessions } = await started(({ app, sessions: own }) => {
      const sockets = new WebSocketServer({ noServer: true })
      app.server.on("upgrade", (request, socket, head) => {
        const session = readSession(own, request)
        void session.userId().then((user) => {
          if (user === null) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n")
          return sockets.handleUpgrade(request, socket, head, (webSocket) => webSocket.send(`hello ${user}`))
        })
      })
    })
    const { header } = await signedInCookie(sessions, "ada")
    const socket = new WebSocket(url.replace("http", "ws"), { headers: { Cookie: header } })
    const [message] = (await once(socket, "message")) as [Buffer]
    expect(String(message)).toBe("hello ada")
    socket.terminate()
    const stranger = new WebSocket(url.replace("http", "ws"))
    const [error] = (await once(stranger, "error")) as [Error]
    expect(error.message).toContain("401")
  })
})

test("requests at the same time keep their sessions apart", async () => {
  const { url } = await started(({ app, getSession }) => {
    app.get("/:note", async (request) => {
      const session = getSession(request)
      session.set("note", (request.params as { note: string }).note)
      await sleep(Math.random() * 20)
      return (await session.get("note")) ?? ""
    })
  })
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => (await fetch(`${url}/${index}`)).text()),
  )
  expect(answers).toEqual(Array.from({ length: 20 }, (_, index) => String(index)))
})

test("a client that leaves early leaves a session that was saved or not, and a server that goes on", async () => {
  const { url, visitor, store } = await started((own) => {
    addRead(own)
    own.app.get("/", async (request) => {
      own.getSession(request).set("note", "left")
      return "nobody is there"
    })
  })
  const held = store.hold("create")
  const request = httpRequest(url)
  request.on("error", () => undefined)
  request.end()
  await held.reached
  request.destroy()
  await sleep(30)
  held.release()
  expect((await visitor.get("/read")).status).toBe(200)
})

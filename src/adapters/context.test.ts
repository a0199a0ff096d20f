import { AsyncLocalStorage } from "node:async_hooks"
import { EventEmitter } from "node:events"
import { Agent, createServer, get, type IncomingMessage, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, onTestFinished, test } from "vitest"
import type { Session, Sessions } from "../api.ts"
import { SessionError, SessionFinalizedError } from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { memoryStore } from "../stores/memory.ts"
import { type SpyStore, spyStore } from "../testing/spy-store.ts"
import { type SessionContext, sessionContext } from "./context.ts"
import { attachSession, withSession } from "./node.ts"

interface State {
  who: string
}

interface World extends SessionContext<State, object> {
  readonly sessions: Sessions<State, object>
  readonly store: SpyStore
}

function world(cookieName = "id"): World {
  const store = spyStore(memoryStore())
  const sessions = createSessions<State, object>({
    store,
    keys: ["a key for tests, long enough: 32 bytes"],
    cookie: { name: cookieName, secure: false },
  })
  return { sessions, store, ...sessionContext(sessions) }
}

function request(cookie?: string): Request {
  return new Request("https://shop.example/", { headers: cookie === undefined ? {} : { cookie } })
}

function cookieOf(response: Response): string {
  return response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
}

describe("handle", () => {
  test("G1: looking for a session and not using it costs nothing", async () => {
    const w = world()
    const first = await w.handle(() => {
      w.getSession().set("who", "Ada")
      return new Response()
    })(request())
    w.store.reset()
    const response = new Response()
    let session: Session<State, object> | undefined
    const answered = await w.handle(async () => {
      session = await Promise.resolve(w.getSession())
      w.tryGetSession()
      return response
    })(request(cookieOf(first)))
    expect(answered).toBe(response)
    expect([...response.headers]).toEqual([])
    expect(session?.isTouched).toBe(false)
    expect(w.store.operations()).toEqual([])
  })

  test("hands over what sessions.handle does, and the session that getSession finds", async () => {
    const w = world()
    const asked = request()
    const seen: unknown[] = []
    const handler = w.handle((...given: [Request, Session<State, object>, string, number]) => {
      seen.push(...given, w.getSession(), w.tryGetSession())
      return new Response("hello")
    })
    const response = await handler(asked, "a", 1)
    expect(await response.text()).toBe("hello")
    const [givenRequest, session, ...rest] = seen
    expect(givenRequest).toBe(asked)
    expect(rest).toEqual(["a", 1, session, session])
  })

  test("concurrent requests never see each other's session, however deep and late they look", async () => {
    const w = world()
    const deep = async (levels: number): Promise<string | undefined> => {
      await sleep(Math.random() * 3)
      return levels === 0 ? w.getSession().get("who") : deep(levels - 1)
    }
    const handler = w.handle(async (_request, _session, name: string) => {
      w.getSession().set("who", name)
      const seen = await Promise.all([deep(3), deep(1), Promise.resolve().then(() => deep(0))])
      return Response.json(seen)
    })
    const names = Array.from({ length: 50 }, (_, index) => `visitor ${index}`)
    const seen = await Promise.all(names.map(async (name) => (await handler(request(), name)).json()))
    expect(seen).toEqual(names.map((name) => [name, name, name]))
  })

  test("sessions of two kinds side by side do not interfere", async () => {
    const shop = world("shop")
    const admin = world("admin")
    const handler = shop.handle((asked) =>
      admin.handle(async () => {
        shop.getSession().set("who", "visitor")
        expect(admin.getSession()).not.toBe(shop.getSession())
        expect(await admin.getSession().get("who")).toBe(undefined)
        admin.getSession().set("who", "operator")
        return Response.json([await shop.getSession().get("who"), await admin.getSession().get("who")])
      })(asked),
    )
    const response = await handler(request())
    expect(await response.json()).toEqual(["visitor", "operator"])
    const names = response.headers.getSetCookie().map((line) => line.split("=")[0])
    expect(names.toSorted()).toEqual(["admin", "shop"])
  })

  test("what goes on after the response has the session still, and is told that it is too late to change it", async () => {
    const w = world()
    const late = Promise.withResolvers<unknown[]>()
    await w.handle(async (_request, session) => {
      session.set("who", "Ada")
      setTimeout(() => {
        const found = w.getSession()
        const error = thrown(() => found.set("who", "Bob"))
        void found.get("who").then((who) => late.resolve([found === session, who, error]))
      }, 5)
      return new Response()
    })(request())
    const [isSame, who, error] = await late.promise
    expect([isSame, who]).toEqual([true, "Ada"])
    expect(error).toBeInstanceOf(SessionFinalizedError)
    expect((error as Error).message).toMatch(/after its response has begun/)
  })

  test("what a handler throws is thrown", async () => {
    const w = world()
    await expect(w.handle(() => Promise.reject(new Error("broken")))(request())).rejects.toThrow("broken")
    expect(() => w.handle(undefined as never)).toThrow(TypeError)
  })
})

describe("a body that is made while it is sent", () => {
  async function bodyOf(w: World, body: () => ReadableStream<Uint8Array>): Promise<string> {
    const response = await w.handle(async () => {
      w.getSession().set("who", "Ada")
      return new Response(body())
    })(request())
    return response.text()
  }

  const line = async (w: World): Promise<Uint8Array> =>
    new TextEncoder().encode(`${await w.getSession().get("who")},`)

  test("has the session where the handler itself goes on", async () => {
    const w = world()
    const started = (): ReadableStream<Uint8Array> =>
      new ReadableStream({
        async start(controller) {
          for (let round = 0; round < 3; round++) {
            await sleep(1)
            controller.enqueue(await line(w))
          }
          controller.close()
        },
      })
    expect(await bodyOf(w, started)).toBe("Ada,Ada,Ada,")
  })

  test("has it in a pull that is bound, or run with the session", async () => {
    const w = world()
    const lazily = (bind: (pull: () => Promise<Uint8Array>) => () => Promise<Uint8Array>) => () => {
      const next = bind(() => line(w))
      let count = 0
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            controller.enqueue(await next())
            count += 1
            if (count === 3) controller.close()
          },
        },
        { highWaterMark: 0 },
      )
    }
    await expect(
      bodyOf(
        w,
        lazily((pull) => pull),
      ),
    ).rejects.toThrow(SessionError)
    expect(
      await bodyOf(
        w,
        lazily((pull) => AsyncLocalStorage.bind(pull)),
      ),
    ).toBe("Ada,Ada,Ada,")
    const running = lazily((pull) => {
      const session = w.getSession()
      return () => w.run(session, pull)
    })
    expect(await bodyOf(w, running)).toBe("Ada,Ada,Ada,")
  })
})

describe("outside of a request", () => {
  test("getSession throws what to do about it, tryGetSession finds nothing", () => {
    const w = world()
    const error = thrown(() => w.getSession())
    expect(error).toBeInstanceOf(SessionError)
    expect((error as SessionError).code).toBe("ERR_SESSION")
    expect((error as Error).message).toMatch(/outside of a request.*handle.*run.*AsyncLocalStorage\.bind/)
    expect(w.tryGetSession()).toBe(undefined)
  })

  test("is what a listener of an emitter from elsewhere is in, unless it is bound", async () => {
    const w = world()
    const emitter = new EventEmitter()
    const seen: unknown[] = []
    await w.handle(() => {
      emitter.on("news", () => seen.push(w.tryGetSession()))
      emitter.on(
        "news",
        AsyncLocalStorage.bind(() => seen.push(w.tryGetSession() === undefined)),
      )
      return new Response()
    })(request())
    emitter.emit("news")
    expect(seen).toEqual([undefined, false])
  })
})

describe("run", () => {
  test("gives back what its function does, and throws what it throws", async () => {
    const w = world()
    const session = w.sessions.open(null)
    expect(w.run(session, () => w.getSession())).toBe(session)
    expect(await w.run(session, async () => w.getSession() === session)).toBe(true)
    expect(() => w.run(session, () => fail("broken"))).toThrow("broken")
    expect(w.tryGetSession()).toBe(undefined)
  })

  test("inside another takes its place until it is done", async () => {
    const w = world()
    const [outer, inner] = [w.sessions.open(null), w.sessions.open(null)]
    await w.run(outer, async () => {
      const nested = w.run(inner, async () => {
        await sleep(1)
        expect(w.getSession()).toBe(inner)
      })
      expect(w.getSession()).toBe(outer)
      await nested
      expect(() => w.run(inner, () => fail("broken"))).toThrow("broken")
      expect(w.getSession()).toBe(outer)
    })
  })

  describe.each<[string, (w: World, listener: RequestListener) => RequestListener]>([
    [
      "withSession",
      (w, listener) =>
        withSession(w.sessions, (asked, response, session) =>
          w.run(session, () => listener(asked, response)),
        ),
    ],
    [
      "attachSession",
      (w, listener) => (asked, response) =>
        w.run(attachSession(w.sessions, asked, response), () => listener(asked, response)),
    ],
  ])("with %s of coatcheck/node", (_name, wrap) => {
    test("gives each of many requests on few connections its own session", async () => {
      const w = world()
      const answer = async (asked: IncomingMessage): Promise<string> => {
        const name = decodeURIComponent(asked.url?.slice(1) ?? "")
        w.getSession().set("who", name)
        await text(asked)
        await sleep(Math.random() * 5)
        return `${name}=${await w.getSession().get("who")}`
      }
      const server = createServer(
        wrap(w, (asked, response) => {
          void answer(asked).then((seen) => response.end(seen))
        }),
      )
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const agent = new Agent({ keepAlive: true, maxSockets: 3 })
      onTestFinished(() => {
        agent.destroy()
        server.close()
      })
      const { port } = server.address() as AddressInfo
      const names = Array.from({ length: 40 }, (_, index) => `visitor ${index}`)
      const visit = (name: string): Promise<string> =>
        new Promise((resolve, reject) => {
          const path = `/${encodeURIComponent(name)}`
          get({ host: "127.0.0.1", port, path, agent }, (response) => resolve(text(response))).on(
            "error",
            reject,
          )
        })
      expect(await Promise.all(names.map(visit))).toEqual(names.map((name) => `${name}=${name}`))
      const stored = w.store.log.filter(({ operation }) => operation === "create")
      expect(stored).toHaveLength(names.length)
    })
  })
})

function thrown(task: () => unknown): unknown {
  try {
    task()
  } catch (error) {
    return error
  }
  return undefined
}

function fail(message: string): never {
  throw new Error(message)
}

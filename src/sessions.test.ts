import { setImmediate } from "node:timers/promises"
import { afterEach, describe, expect, test, vi } from "vitest"
import type { Revocation, Session } from "./api.ts"
import { CapabilityError, ConfigError, StoreError } from "./errors.ts"
import { createSessions } from "./sessions.ts"
import type { SessionStore, StoreCapabilities } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"
import { fakeClock } from "./testing/clock.ts"
import { cookieAfter, KEY, Visitor, world } from "./visitor.test-helper.ts"

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const NO_SUCH_ID = "A".repeat(43)

function request(cookie?: string, init: RequestInit = {}, url = "https://shop.example/"): Request {
  const asked = new Request(url, init)
  if (cookie !== undefined) asked.headers.set("cookie", cookie)
  return asked
}

/** A response whose headers cannot be changed, as `fetch` gives. */
function redirect(): Response {
  return Response.redirect("https://shop.example/next", 303)
}

function storeThatCannot(...missing: (keyof StoreCapabilities)[]): SessionStore {
  const inner = memoryStore({ clock: fakeClock() })
  const capabilities = { ...inner.capabilities, ...Object.fromEntries(missing.map((name) => [name, false])) }
  return new Proxy(inner, {
    get(target, name) {
      if (name === "capabilities") return capabilities
      const member: unknown = Reflect.get(target, name)
      return typeof member === "function" ? member.bind(target) : member
    },
  })
}

describe("handle", () => {
  test("G1: an untouched session leaves the very response of the handler, its headers as they are", async () => {
    const w = world()
    const response = new Response("hello")
    const handler = w.sessions.handle(() => response)
    expect(await handler(request("__Host-id=whatever"))).toBe(response)
    expect([...response.headers.keys()]).toEqual(["content-type"])
    expect(w.store.operations()).toEqual([])
    expect(w.events).toEqual([])
  })

  test("an untouched session that is used once the response is there is told that it is too late", async () => {
    const w = world()
    let kept: Session | undefined
    await w.sessions.handle((_request, session) => {
      kept = session
      return new Response()
    })(request())
    expect(() => kept?.set("a", 1)).toThrow(/after its response has begun/)
  })

  test("a session that was used sets its cookie on the handler's own response", async () => {
    const w = world()
    const response = new Response("hello")
    const answered = await w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return response
    })(request())
    expect(answered).toBe(response)
    const [setCookie] = answered.headers.getSetCookie()
    expect(setCookie).toMatch(/^__Host-id=[\w-]+; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/)
    expect(answered.headers.get("cache-control")).toBe("no-store")
    expect(answered.headers.has("vary")).toBe(false)
    const again = await w.sessions.handle(async (_request, session) => Response.json(await session.get("a")))(
      request(cookieAfter(setCookie as string)),
    )
    expect(await again.json()).toBe(1)
  })

  test("a read that changed nothing leaves a response as it is, but for the caching headers", async () => {
    const w = world()
    const response = new Response()
    await w.sessions.handle(async (_request, session) => {
      await session.get("a")
      return response
    })(request())
    expect(Object.fromEntries(response.headers)).toEqual({
      vary: "Cookie",
      "cache-control": "private, no-cache",
    })
  })

  test.each<[what: string, make: () => Response, status: number]>([
    ["a redirect", redirect, 303],
    ["a fetched response", () => frozen(new Response("body", { status: 404, statusText: "Gone" })), 404],
    ["a response without a body", () => frozen(new Response(null, { status: 204 })), 204],
  ])("the headers of %s cannot be changed, those of its copy can", async (_what, make, status) => {
    const w = world()
    const original = make()
    const answered = await w.sessions.handle(async (_request, session) => {
      session.set("a", (await session.get("a")) === undefined ? 1 : 2)
      return original
    })(request())
    expect(answered.status).toBe(status)
    expect(answered.statusText).toBe(original.statusText)
    expect(answered.headers.get("location")).toBe(original.headers.get("location"))
    expect(answered.headers.getSetCookie()).toHaveLength(1)
    expect(answered.headers.get("vary")).toBe("Cookie")
    expect(await answered.text()).toBe(status === 404 ? "body" : "")
  })

  test("a redirect of an untouched session is handed on as it is", async () => {
    const w = world()
    const response = redirect()
    expect(await w.sessions.handle(() => response)(request())).toBe(response)
  })

  test("Response.error() of an untouched session is handed on as it is", async () => {
    const w = world()
    const response = Response.error()
    expect(await w.sessions.handle(() => response)(request())).toBe(response)
  })

  test("a header that cannot be set for another reason is an error of its own", async () => {
    const w = world()
    const response = new Response()
    Object.assign(response.headers, {
      set: () => {
        throw new RangeError("no room")
      },
    })
    const handler = w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return response
    })
    await expect(handler(request())).rejects.toThrow("no room")
  })

  // A network error has no headers to set and cannot be copied (its status is 0): the copy throws a RangeError after the save.
  test("Response.error() of a session that was used is handed on, and what is pending is dropped", async () => {
    const w = world()
    const answered = await w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return Response.error()
    })(request())
    expect(answered.type).toBe("error")
    expect(w.store.operations()).toEqual([])
  })

  test.each<
    [what: string, given: Record<string, string>, expected: Record<string, string | null>, wrote: boolean]
  >([
    ["Vary is merged", { vary: "Accept" }, { vary: "Accept, Cookie" }, false],
    ["Vary that says so already stays", { vary: "accept, COOKIE" }, { vary: "accept, COOKIE" }, false],
    ["Vary: * stays", { vary: "*" }, { vary: "*" }, false],
    [
      "a Cache-Control of the handler's stays on a read",
      { "cache-control": "max-age=60" },
      { "cache-control": "max-age=60" },
      false,
    ],
    [
      "a cookie turns Cache-Control into no-store",
      { "cache-control": "public, max-age=60" },
      { "cache-control": "no-store" },
      true,
    ],
    [
      "a stricter Cache-Control stays",
      { "cache-control": "no-store, private" },
      { "cache-control": "no-store, private" },
      true,
    ],
    [
      "a cookie removes the headers of shared caches",
      { "cdn-cache-control": "max-age=60", "surrogate-control": "max-age=60" },
      { "cdn-cache-control": null, "surrogate-control": null },
      true,
    ],
    [
      "a read leaves the headers of shared caches",
      { "surrogate-control": "max-age=60" },
      { "surrogate-control": "max-age=60" },
      false,
    ],
  ])("G12: %s", async (_what, given, expected, wrote) => {
    const w = world()
    const { headers } = await w.sessions.handle(async (_request, session) => {
      await session.get("a")
      if (wrote) session.set("a", 1)
      return new Response(null, { headers: given })
    })(request())
    for (const [name, value] of Object.entries(expected)) expect(headers.get(name)).toBe(value)
  })

  test("a cookie of the same name that the handler set is replaced, others stay", async () => {
    const w = world()
    const { headers } = await w.sessions.handle((_request, session) => {
      session.set("a", 1)
      const response = new Response()
      for (const line of ["theme=dark", "__Host-id=stale; Path=/", "__Host-id2=x"])
        response.headers.append("set-cookie", line)
      return response
    })(request())
    const lines = headers.getSetCookie()
    expect(lines.map((line) => line.slice(0, line.indexOf("=")))).toEqual([
      "theme",
      "__Host-id2",
      "__Host-id",
    ])
    expect(lines).not.toContain("__Host-id=stale; Path=/")
  })

  test("further arguments of the runtime are handed on", async () => {
    const w = world()
    const handler = w.sessions.handle((_request, _session, env: { name: string }, context: symbol) =>
      Response.json([env.name, String(context)]),
    )
    expect(await (await handler(request(), { name: "env" }, Symbol("context"))).json()).toEqual([
      "env",
      "Symbol(context)",
    ])
  })

  test.each<[what: string, fail: () => Promise<Response>]>([
    [
      "throws",
      () => {
        throw new Error("mine")
      },
    ],
    ["rejects", () => Promise.reject(new Error("mine"))],
  ])("a handler that %s gets its error through, and what is pending is dropped", async (_what, fail) => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    const handler = w.sessions.handle((_request, session) => {
      session.set("a", 2)
      session.client.set("b", 1)
      session.signIn("ann")
      return fail()
    })
    w.store.reset()
    await expect(handler(request(visitor.cookie))).rejects.toThrow("mine")
    expect(w.store.operations()).toEqual([])
    expect(w.events).toContainEqual({ type: "dropped-on-error", status: 500 })
    expect(await visitor.visit(async (s) => [await s.entries(), await s.userId()])).toEqual([
      [["a", 1]],
      null,
    ])
  })

  test("a handler that throws after invalidate or signOut has ended the session all the same", async () => {
    const w = world()
    for (const end of ["invalidate", "signOut"] as const) {
      const visitor = w.visitor()
      await visitor.visit((s) => s.signIn("ann"))
      const handler = w.sessions.handle((_request, session) => {
        session[end]()
        throw new Error("mine")
      })
      await expect(handler(request(visitor.cookie))).rejects.toThrow("mine")
      expect(await visitor.visit((s) => s.userId())).toBeNull()
    }
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test("a handler that throws after cycleId makes no ticket that nobody would be told", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    w.store.reset()
    const handler = w.sessions.handle((_request, session) => {
      session.cycleId()
      throw new Error("mine")
    })
    await expect(handler(request(visitor.cookie))).rejects.toThrow("mine")
    expect(w.store.operations()).toEqual([])
    expect(await visitor.visit((s) => s.get("a"))).toBe(1)
  })

  test("a handler's error is told even when the store fails as well", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    w.store.failNext("delete")
    const handler = w.sessions.handle((_request, session) => {
      session.invalidate()
      throw new Error("mine")
    })
    await expect(handler(request(visitor.cookie))).rejects.toThrow("mine")
    expect(w.events).toContainEqual(expect.objectContaining({ type: "store-failed", operation: "delete" }))
  })

  test("G11: a store that fails gives a typed error instead of a response", async () => {
    const w = world()
    w.store.failNext("create")
    const handler = w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return new Response()
    })
    await expect(handler(request())).rejects.toBeInstanceOf(StoreError)
    expect((await handler(request())).headers.getSetCookie()).toHaveLength(1)
  })

  test("a response of 500 drops what is pending", async () => {
    const w = world()
    const handler = w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return new Response(null, { status: 500 })
    })
    expect((await handler(request())).headers.getSetCookie()).toEqual([])
    expect(w.store.operations()).toEqual([])
  })

  test.each<[url: string, name: string]>([
    ["http://localhost:3000/a", "id"],
    ["http://127.0.0.1/", "id"],
    ["http://[::1]:8080/", "id"],
    ["https://localhost/", "__Host-id"],
    ["http://shop.example/", "__Host-id"],
    ["http://localhost.evil.example/", "__Host-id"],
  ])('with secure: "auto" it goes by the URL: %s gets %s', async (url, name) => {
    const w = world({ cookie: { secure: "auto" } })
    const handler = w.sessions.handle(async (_request, session) => {
      const views = ((await session.get("views")) as number | undefined) ?? 0
      session.set("views", views + 1)
      return Response.json(views)
    })
    const first = await handler(request(undefined, {}, url))
    const [setCookie] = first.headers.getSetCookie() as [string]
    expect(setCookie.startsWith(`${name}=`)).toBe(true)
    expect(setCookie.includes("; Secure")).toBe(name !== "id")
    const second = await handler(request(cookieAfter(setCookie), {}, url))
    expect(await second.json()).toBe(1)
  })

  test("knows a cross-site request by its headers", async () => {
    const w = world()
    const handler = w.sessions.handle((_request, session) => {
      session.set("a", 1)
      return new Response()
    })
    const crossSite = new Request("https://shop.example/", { method: "POST" })
    crossSite.headers.set("sec-fetch-site", "cross-site")
    expect((await handler(crossSite)).headers.getSetCookie()).toEqual([])
    expect((await handler(request(undefined, { method: "POST" }))).headers.getSetCookie()).toHaveLength(1)
  })

  test.each([undefined, null, {}, "handler"])("%j is no handler", (handler) => {
    const w = world()
    expect(() => w.sessions.handle(handler as never)).toThrow(TypeError)
  })
})

function frozen(response: Response): Response {
  const refuse = (): never => {
    throw new TypeError("immutable")
  }
  Object.assign(response.headers, { set: refuse, append: refuse, delete: refuse })
  return response
}

describe("handle with csrf", () => {
  const foreign = { "Sec-Fetch-Site": "cross-site" }

  test("refuses what another site sends before the handler sees it, and costs no store call", async () => {
    const w = world()
    const handler = vi.fn(() => new Response("done"))
    const app = w.sessions.handle(handler, { csrf: true })
    const refused = await app(request(undefined, { method: "POST", headers: foreign }))
    expect([refused.status, await refused.text()]).toEqual([403, "Forbidden\n"])
    expect(refused.headers.get("cache-control")).toBe("no-store")
    expect(handler).not.toHaveBeenCalled()
    expect(w.store.operations()).toEqual([])
    expect((await app(request(undefined, { headers: foreign }))).status).toBe(200)
    const own = { "Sec-Fetch-Site": "same-origin" }
    expect((await app(request(undefined, { method: "POST", headers: own }))).status).toBe(200)
    expect((await app(request(undefined, { method: "POST" }))).status).toBe(200)
    expect(handler).toHaveBeenCalledTimes(3)
  })

  test("is off unless asked for", async () => {
    const { sessions } = world()
    for (const options of [undefined, {}, { csrf: false }]) {
      const app = sessions.handle(() => new Response("done"), options)
      expect((await app(request(undefined, { method: "POST", headers: foreign }))).status).toBe(200)
    }
  })

  test("a wrong option is a ConfigError when the handler is made", () => {
    const { sessions } = world()
    const make = (): unknown =>
      sessions.handle(() => new Response(), { csrf: { trustedOrigins: ["admin.example"] } })
    expect(make).toThrow(ConfigError)
  })

  test("refuses a WebSocket of another site, which is opened by GET, and takes that of its own", async () => {
    const app = world().sessions.handle(() => new Response("switching"), { csrf: true })
    const upgrade = (headers: Record<string, string>): Promise<Response> =>
      app(request(undefined, { headers: { ...headers, Upgrade: "websocket" } }))
    expect((await upgrade({ origin: "https://evil.example" })).status).toBe(403)
    expect((await upgrade({ origin: "https://shop.example" })).status).toBe(200)
    expect((await upgrade({})).status).toBe(200)
  })

  test("compares the origin with the host that a trusted proxy tells", async () => {
    const { sessions } = world()
    const asked = (): Request =>
      request(
        undefined,
        { method: "POST", headers: { Origin: "https://shop.example", "X-Forwarded-Host": "shop.example" } },
        "http://internal:8080/",
      )
    const statusUnder = async (trustProxy: boolean): Promise<number> =>
      (await sessions.handle(() => new Response(), { csrf: true, trustProxy })(asked())).status
    expect(await statusUnder(true)).toBe(200)
    expect(await statusUnder(false)).toBe(403)
  })

  test("takes the session's token in a header or a form from a browser that tells nothing, the form unread", async () => {
    const w = world()
    const app = w.sessions.handle(
      async (asked, session) =>
        new Response(asked.method === "GET" ? await session.csrfToken() : (await asked.text()) || "no body"),
      { csrf: { token: true } },
    )
    const page = await app(request())
    const token = await page.text()
    const cookie = cookieAfter(page.headers.getSetCookie()[0] ?? "")
    const post = (headers: Record<string, string>, body?: string): Promise<Response> =>
      app(request(cookie, { method: "POST", headers, ...(body === undefined ? undefined : { body }) }))
    const form = { "Content-Type": "application/x-www-form-urlencoded" }
    expect((await post({ "X-CSRF-Token": token })).status).toBe(200)
    expect(await (await post(form, `_csrf=${token}&a=1`)).text()).toBe(`_csrf=${token}&a=1`)
    for (const refused of [
      post({}),
      post({ "X-CSRF-Token": "x" }),
      post(form, "_csrf=x"),
      post(form, "a=1"),
    ]) {
      expect((await refused).status).toBe(403)
    }
    expect((await post({ "X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site" })).status).toBe(403)
    // Another visitor's.
    const other = w.visitor()
    await other.visit((s) => s.set("cart", []))
    const headers = { "X-CSRF-Token": token }
    expect((await app(request(other.cookie, { method: "POST", headers }))).status).toBe(403)
  })

  test("asks no token of programs that send no cookie of ours, or one that opens nothing: they have no session to misuse", async () => {
    const w = world()
    const app = w.sessions.handle(() => new Response("changed"), { csrf: { token: true } })
    const post = async (cookie: string | undefined, headers: Record<string, string> = {}): Promise<number> =>
      (await app(request(cookie, { method: "POST", headers }))).status
    expect(await post(undefined, { Authorization: "Bearer of a program" })).toBe(200)
    expect(await post("theme=dark")).toBe(200)
    expect(await post("__Host-id=forged")).toBe(200)
    expect(await post(undefined, { "Sec-Fetch-Site": "cross-site" })).toBe(403)
    expect(w.store.operations()).toEqual([])
    // A session without a record is one, for it has client state.
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    expect(await post(visitor.cookie)).toBe(403)
    await visitor.visit((s) => s.delete())
    expect(await post(visitor.cookie)).toBe(403)
  })
})

describe("the sessions of a user", () => {
  test("are listed with what a page of devices shows, the most recently seen first", async () => {
    const w = world({ ttl: "1h" })
    const [phone, laptop] = [w.visitor(), w.visitor()]
    await phone.visit((s) => s.signIn(7, { label: "Phone" }))
    w.clock.advance(1000)
    await laptop.visit((s) => s.signIn("7"))
    const [first, second] = await w.sessions.listByUser(7n)
    expect(first).toEqual({
      id: await laptop.visit((s) => s.id),
      label: null,
      createdAt: new Date(w.clock()),
      signedInAt: new Date(w.clock()),
      lastSeenAt: new Date(w.clock()),
      expiresAt: new Date(w.clock() + 3_600_000),
    })
    expect(second).toMatchObject({ label: "Phone", createdAt: new Date(w.clock() - 1000) })
    w.clock.advance(3_599_500)
    expect(await w.sessions.listByUser("7")).toHaveLength(1)
    expect(await w.sessions.listByUser("8")).toEqual([])
  })

  test("are revoked by their id, once", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.signIn("ann"))
    const id = (await visitor.visit((s) => s.id)) as string
    expect(await w.sessions.revoke(id)).toBe(true)
    expect(await w.sessions.revoke(id)).toBe(false)
    expect(w.events.filter(({ type }) => type === "revoked")).toEqual([{ type: "revoked", id, count: 1 }])
    expect(await visitor.visit((s) => s.userId())).toBeNull()
  })

  test.each([
    "",
    "short",
    NO_SUCH_ID,
    "A".repeat(44),
    `${"A".repeat(42)}B`,
    "../../etc",
    null,
    undefined,
    5,
    {},
  ])("revoke(%j) finds nothing to end", async (id) => {
    const w = world()
    expect(await w.sessions.revoke(id as string)).toBe(false)
    expect(w.store.operations()).toEqual(id === NO_SUCH_ID ? ["delete"] : [])
    expect(w.events).toEqual([])
  })

  test("G7: a ticket is no id to revoke by", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    expect(await w.sessions.revoke(visitor.cookie as string)).toBe(false)
    expect(await w.sessions.revoke((visitor.cookie as string).slice("__Host-id=".length))).toBe(false)
  })

  test("are revoked all, or all but one", async () => {
    const w = world()
    const visitors = [w.visitor(), w.visitor(), w.visitor()] as const
    for (const visitor of visitors) await visitor.visit((s) => s.signIn("ann"))
    const other = w.visitor()
    await other.visit((s) => s.signIn("bob"))
    const except = await visitors[0].visit((s) => s.id)
    expect(await w.sessions.revokeByUser("ann", { except })).toBe(2)
    expect(await Promise.all(visitors.map((v) => v.visit((s) => s.userId())))).toEqual(["ann", null, null])
    expect(await w.sessions.revokeByUser("ann")).toBe(1)
    expect(await w.sessions.revokeByUser("ann")).toBe(0)
    expect(await other.visit((s) => s.userId())).toBe("bob")
    expect(w.events.filter(({ type }) => type === "revoked")).toEqual([
      { type: "revoked", count: 2 },
      { type: "revoked", count: 1 },
      { type: "revoked", count: 0 },
    ])
  })

  test("a user id that names nobody is a TypeError", async () => {
    const w = world()
    await expect(w.sessions.listByUser("")).rejects.toThrow(TypeError)
    await expect(w.sessions.revokeByUser(1.5)).rejects.toThrow(TypeError)
    expect(w.store.operations()).toEqual([])
  })

  test("a store without an index of users says so at the call", async () => {
    const w = world({ store: storeThatCannot("userIndex") })
    const calls = [
      () => w.sessions.listByUser("ann"),
      () => w.sessions.revokeByUser("ann"),
      () => w.sessions.open(undefined).revokeOthers(),
    ]
    for (const call of calls) {
      const error: unknown = await call().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(CapabilityError)
      expect(error).toMatchObject({ capability: "userIndex" })
      expect((error as Error).message).toMatch(/The store memory cannot do .*capabilities\.userIndex/)
    }
    expect(w.store.operations()).toEqual([])
  })

  test("and so does one that cannot compare and set, or rotate atomically", async () => {
    const w = world({ store: storeThatCannot("compareAndSet", "atomicRotation") })
    const session = w.sessions.open(undefined)
    await expect(session.transact(() => 1)).rejects.toMatchObject({ capability: "compareAndSet" })
    await expect(session.consume("a")).rejects.toMatchObject({ capability: "compareAndSet" })
    expect(() => session.cycleId({ grace: "5s" })).toThrow(CapabilityError)
    expect(() => session.cycleId()).not.toThrow()
  })

  test.each(["listByUser", "delete", "deleteByUser", "deleteExpired"] as const)(
    "G11: a %s that fails is a StoreError",
    async (operation) => {
      const w = world()
      w.store.failNext(operation)
      const calls = {
        listByUser: () => w.sessions.listByUser("ann"),
        delete: () => w.sessions.revoke(NO_SUCH_ID),
        deleteByUser: () => w.sessions.revokeByUser("ann"),
        deleteExpired: () => w.sessions.deleteExpired(),
      }
      await expect(calls[operation]()).rejects.toMatchObject({
        name: "StoreError",
        operation,
        store: "memory",
      })
    },
  )
})

describe("onRevoked", () => {
  test("is told of every way in which this process ends sessions", async () => {
    const w = world()
    const heard: Revocation[] = []
    w.sessions.onRevoked((revocation) => heard.push(revocation))
    const [one, two] = [w.visitor(), w.visitor()]
    await one.visit((s) => s.signIn("ann"))
    await two.visit((s) => s.signIn("ann"))
    const [idOne, idTwo] = [await one.visit((s) => s.id), await two.visit((s) => s.id)] as [string, string]
    await one.visit((s) => s.revokeOthers())
    await w.sessions.revoke(idTwo)
    await w.sessions.revokeByUser("ann", { except: idOne })
    await one.visit((s) => s.invalidate())
    await w.sessions.revokeByUser("ann")
    expect(heard).toEqual([
      { userId: "ann", except: idOne },
      { userId: "ann", except: idOne },
      { id: idOne },
      { userId: "ann", except: undefined },
    ])
  })

  test("is told of the id that a session had before a sign-out or a sign-in, for nobody is let in under it any more", async () => {
    const w = world()
    const heard: Revocation[] = []
    w.sessions.onRevoked((revocation) => heard.push(revocation))
    const visitor = w.visitor()
    await visitor.visit((s) => s.signIn("ann"))
    // There was no session before.
    expect(heard).toEqual([])
    const ids: (string | undefined)[] = []
    for (const change of [
      (s: Session) => s.signIn("ann"),
      (s: Session) => s.signIn("bob"),
      (s: Session) => s.signOut(),
      (s: Session) => s.signIn("ann"),
    ]) {
      ids.push(await visitor.visit((s) => s.id))
      await visitor.visit(change)
    }
    expect(heard).toEqual(ids.map((id) => ({ id })))
    // A new ticket alone ends nothing, and neither does what was not carried out.
    await visitor.visit((s) => s.cycleId())
    await visitor.visit((s) => s.signIn("bob"), { status: 500 })
    w.store.failNext("changeId")
    await expect(visitor.visit((s) => s.signOut())).rejects.toThrow(StoreError)
    expect(heard).toHaveLength(4)
    // Nor does one lost race: who won has spoken.
    const late = w.visitor(visitor.cookie)
    await visitor.visit((s) => s.signOut())
    await late.visit((s) => s.set("cart", []))
    expect(heard).toHaveLength(5)
  })

  test("is told of delete, which unbinds the user: of the record alone, of one that is written anew, and of none that was not there", async () => {
    const w = world()
    const heard: Revocation[] = []
    w.sessions.onRevoked((revocation) => heard.push(revocation))
    await w.visitor().visit((s) => s.delete())
    for (const change of [
      (s: Session) => s.delete(),
      async (s: Session) => {
        s.delete()
        await s.save()
      },
      (s: Session) => {
        s.delete()
        s.set("cart", [])
      },
      (s: Session) => {
        s.delete()
        s.signIn("bob")
      },
    ]) {
      heard.length = 0
      const visitor = w.visitor()
      await visitor.visit((s) => s.signIn("ann"))
      const id = await visitor.visit((s) => s.id)
      await visitor.visit(change)
      expect(heard).toEqual([{ id }])
      // There is nothing to end any more.
      await visitor.visit((s) => s.set("cart", []))
      expect(heard).toHaveLength(1)
    }
    heard.length = 0
    const visitor = w.visitor()
    await visitor.visit((s) => s.signIn("ann"))
    await visitor.visit((s) => s.delete(), { status: 500 })
    w.store.failNext("delete")
    await expect(visitor.visit((s) => s.delete())).rejects.toThrow(StoreError)
    expect(heard).toEqual([])
  })

  test("a listener that throws breaks neither the revocation nor the next listener, and is warned of", async () => {
    const warnings: string[] = []
    const w = world({ onWarning: (_message, code) => warnings.push(code) })
    const heard: Revocation[] = []
    w.sessions.onRevoked(() => {
      throw new Error("listener")
    })
    w.sessions.onRevoked((revocation) => heard.push(revocation))
    expect(await w.sessions.revokeByUser("ann")).toBe(0)
    expect(heard).toHaveLength(1)
    expect(warnings).toEqual(["COATCHECK_LISTENER_FAILED"])
  })

  test("an asynchronous listener that rejects leaves no rejection behind, and is warned of", async () => {
    const warnings: string[] = []
    const w = world({ onWarning: (_message, code) => warnings.push(code) })
    const heard: Revocation[] = []
    w.sessions.onRevoked((revocation): unknown => {
      heard.push(revocation)
      return Promise.reject(new Error("listener"))
    })
    await w.sessions.revokeByUser("ann")
    await w.sessions.revokeByUser("ann")
    await setImmediate()
    expect(heard).toHaveLength(2)
    expect(warnings).toEqual(["COATCHECK_LISTENER_FAILED"])
  })

  test("the same function may listen twice and stop once", async () => {
    const w = world()
    const listener = vi.fn<(revocation: Revocation) => void>()
    const stop = w.sessions.onRevoked(listener)
    w.sessions.onRevoked(listener)
    await w.sessions.revokeByUser("ann")
    expect(listener).toHaveBeenCalledTimes(2)
    stop()
    stop()
    await w.sessions.revokeByUser("ann")
    expect(listener).toHaveBeenCalledTimes(3)
  })
})

describe("sweeping", () => {
  test("deleteExpired removes what is expired, in batches if asked", async () => {
    const w = world({ ttl: "1h" })
    for (let i = 0; i < 5; i++) await w.visitor().visit((s) => s.set("a", 1))
    expect(await w.sessions.deleteExpired()).toBe(0)
    w.clock.advance("1h")
    expect(await w.sessions.deleteExpired({ limit: 2 })).toBe(2)
    expect(await w.sessions.deleteExpired()).toBe(3)
    expect(
      w.store.log.filter(({ operation }) => operation === "deleteExpired").map(({ args }) => args),
    ).toEqual([[{ limit: undefined }], [{ limit: 2 }], [{ limit: undefined }]])
  })

  test.each([0, -1, 1.5, Number.NaN, "10", null])("a limit of %j is a TypeError", async (limit) => {
    const w = world()
    await expect(w.sessions.deleteExpired({ limit: limit as number })).rejects.toThrow(
      "deleteExpired: limit is a whole number above 0.",
    )
    expect(() => w.sessions.startSweeper({ limit: limit as number })).toThrow(
      "startSweeper: limit is a whole number above 0.",
    )
  })

  test("startSweeper runs until it is stopped; by default every ten minutes, a thousand at a time", async () => {
    vi.useFakeTimers()
    const w = world({ ttl: "1h" })
    await w.visitor().visit((s) => s.set("a", 1))
    w.clock.advance("1h")
    w.store.reset()
    const stop = w.sessions.startSweeper()
    await vi.advanceTimersByTimeAsync(9 * 60_000 - 1)
    expect(w.store.operations()).toEqual([])
    await vi.advanceTimersByTimeAsync(2 * 60_000 + 1)
    expect(w.store.log).toMatchObject([{ operation: "deleteExpired", args: [{ limit: 1000 }], value: 1 }])
    expect(w.events).toContainEqual({ type: "swept", count: 1 })
    stop()
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(w.store.operations()).toHaveLength(1)
  })

  test("its time and its batch may be chosen; a wrong time is a ConfigError", async () => {
    vi.useFakeTimers()
    const w = world()
    const stop = w.sessions.startSweeper({ every: "1s", limit: 5 })
    await vi.advanceTimersByTimeAsync(1100)
    expect(w.store.log).toMatchObject([{ operation: "deleteExpired", args: [{ limit: 5 }] }])
    stop()
    expect(() => w.sessions.startSweeper({ every: "often" as "1s" })).toThrow(ConfigError)
    expect(() => w.sessions.startSweeper({ every: "often" as "1s" })).toThrow(
      /^startSweeper: every: expected a duration/,
    )
  })
})

test("two applications on one store with different keys do not open each other's cookies", async () => {
  const w = world()
  const visitor = w.visitor()
  await visitor.visit((s) => s.set("a", 1))
  const other = createSessions({ keys: [`${KEY} of another`], store: w.store, clock: w.clock })
  expect(await new Visitor(other, visitor.cookie).visit((s) => s.keys())).toEqual([])
})

test("without a store sessions live in this process's memory, by the clock that is configured", async () => {
  const clock = fakeClock()
  const sessions = createSessions({ keys: [KEY], clock, ttl: "1h" })
  const visitor = new Visitor(sessions)
  await visitor.visit((s) => s.set("a", 1))
  clock.advance("59m")
  expect(await visitor.visit((s) => s.get("a"))).toBe(1)
  clock.advance("1h")
  expect(await visitor.visit((s) => s.get("a"))).toBeUndefined()
  expect(await sessions.deleteExpired()).toBe(1)
})

test("the members may be taken off the object", async () => {
  const { open, handle, revoke, revokeByUser, listByUser, onRevoked, deleteExpired } = world().sessions
  expect(open(undefined).isTouched).toBe(false)
  expect((await handle(() => new Response())(request())).status).toBe(200)
  expect(await revoke("x")).toBe(false)
  expect(await revokeByUser("x")).toBe(0)
  expect(await listByUser("x")).toEqual([])
  expect(await deleteExpired()).toBe(0)
  onRevoked(() => undefined)()
})

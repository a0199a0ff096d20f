import { execFile } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { createSessions } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { nextSessions } from "coatcheck/next"
import { NextRequest, NextResponse } from "next/server.js"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { noticeOf } from "../../examples/next/notice.ts"
import { buildNext, startNext } from "./apps/next.ts"
import type { AdapterApp } from "./conformance.ts"
import { describeAdapter } from "./describe.ts"
import { KEY, type State } from "./scenes.ts"
import { type Visit, Visitor } from "./visitor.ts"

// It runs what is built: `dist`.

const folder = fileURLToPath(new URL("built/next", import.meta.url))
let app: AdapterApp

describe("Next.js, built", () => {
  beforeAll(async () => {
    await buildNext(folder)
    app = await startNext(folder)
  })

  afterAll(() => app?.close())

  const stays = (): Promise<void> => Promise.resolve()
  describeAdapter("what holds for every adapter", () => Promise.resolve({ url: app.url, close: stays }))

  describe("route handlers", () => {
    test("cookies().set and the session's cookie both arrive, from answers, redirects and not-found alike", async () => {
      const expected = { jar: 200, "jar-and-redirect": 308, "jar-and-not-found": 404 }
      for (const [path, status] of Object.entries(expected)) {
        const visitor = new Visitor(app.url)
        const answer = await visitor.post(`/own/${path}`)
        expect([path, answer.status]).toEqual([path, status])
        expect(namesOf(answer)).toEqual(["__Host-id", "other"])
        expect(answer.headers.get("cache-control")).toBe("no-store")
        expect(await visitor.read()).toMatchObject({ note: "beside a jar" })
      }
    })

    test("the removal of the session's cookie survives cookies().set", async () => {
      const visitor = new Visitor(app.url)
      await visitor.get("/count")
      const { headers } = await visitor.post("/own/jar-and-invalidate")
      expect(headers.getSetCookie().toSorted()[0]).toMatch(/^__Host-id=; .*Expires=Thu, 01 Jan 1970/)
    })

    test("unauthorized() saves, and an answer whose headers cannot be changed gets them all the same", async () => {
      const visitor = new Visitor(app.url)
      expect((await visitor.post("/own/unauthorized")).status).toBe(401)
      expect(await visitor.read()).toMatchObject({ note: "unauthorized" })
      const other = new Visitor(app.url)
      expect((await other.post("/own/fixed")).headers.get("location")).toBe("http://localhost/elsewhere")
      expect(await other.read()).toMatchObject({ note: "fixed" })
    })

    test("after() comes after the session is saved: it may read what was loaded, and change nothing", async () => {
      const visitor = new Visitor(app.url)
      await visitor.post("/note?note=known")
      await visitor.get("/own/after")
      await expect
        .poll(async () => JSON.parse((await visitor.get("/own/what-came-after")).text))
        .toEqual(["known", "SessionFinalizedError"])
    })

    test("getSession is the handler's session; two kinds nest, one does not, and a guard leads elsewhere by 303", async () => {
      const visitor = new Visitor(app.url)
      expect((await visitor.get("/own/same")).text).toBe("true")
      expect((await visitor.get("/own/other")).text).toBe("another kind")
      expect((await visitor.get("/own/nested")).status).toBe(500)
      const guarded = await visitor.post("/own/user")
      expect([guarded.status, guarded.headers.get("location")]).toEqual([303, "/read"])
    })
  })

  describe("route handlers that fail", () => {
    test("drop what they have changed, whatever status it is answered with, and sign out all the same", async () => {
      const visitor = new Visitor(app.url)
      await visitor.post("/note?note=before")
      expect((await visitor.post("/own/change-and-refuse")).status).toBe(401)
      expect(await visitor.read()).toMatchObject({ note: "before" })
      await visitor.post("/sign-in")
      const old = visitor.cookie("__Host-id") as string
      expect((await visitor.post("/own/sign-out-and-refuse")).status).toBe(401)
      const thief = new Visitor(app.url)
      thief.setCookie("__Host-id", old)
      expect(await thief.read()).toMatchObject({ user: null })
    })

    test("with what Next.js may come to throw are not answered by onError", async () => {
      const { withSession } = nextSessions(createSessions({ keys: [KEY], store: memoryStore() }), {
        onError: () => new Response("answered"),
      })
      const later = Object.assign(new Error("later"), { digest: "NEXT_LATER;1" })
      const handler = withSession(() => Promise.reject(later))
      await expect(handler(new NextRequest("https://shop.example/"), undefined)).rejects.toBe(later)
    })
  })

  test("a route handler whose answer is kept for everybody has a session to be read, and none is kept with it", async () => {
    const visitor = new Visitor(app.url)
    await visitor.post("/note?note=mine")
    const kept = await visitor.get("/static")
    const [note, error] = JSON.parse(kept.text) as string[]
    expect([note, kept.headers.getSetCookie()]).toEqual(["none", []])
    expect(error).toContain("SessionReadOnlyError: This session can only be read: this answer is made once")
    expect(error).toContain('dynamic = "force-static"')
  })

  test("requireFresh without a duration is a mistake that is told, and lets nobody in", async () => {
    const { requireFresh } = nextSessions(createSessions({ keys: [KEY], store: memoryStore() }))
    await expect(requireFresh({ within: undefined as never })).rejects.toThrow(TypeError)
  })

  test("a handler is called without Next.js as well, as by tests of your own", async () => {
    const { withSession } = nextSessions(
      createSessions<{ count: number }>({ keys: [KEY], store: memoryStore() }),
    )
    const count = withSession(async (session) => {
      session.set("count", ((await session.get("count")) ?? 0) + 1)
      return new Response(String(await session.get("count")))
    })
    const first = await count(new NextRequest("https://shop.example/"), undefined)
    const cookie = first.headers.getSetCookie()[0]?.split(";")[0] as string
    const second = await count(
      new NextRequest("https://shop.example/", { headers: { Cookie: cookie } }),
      undefined,
    )
    expect([await first.text(), await second.text()]).toEqual(["1", "2"])
  })

  test("what is built loads on Node.js as it is, where no bundler finds Next.js's modules for it", async () => {
    const script = 'console.log(typeof (await import("coatcheck/next")).nextSessions)'
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script])
    expect(stdout).toBe("function\n")
  })

  describe("server components", () => {
    test("read one session, with one load, however many they are; those without one load nothing", async () => {
      const visitor = new Visitor(app.url)
      await visitor.control("reset")
      expect((await visitor.get("/page/note")).text).toContain("none")
      expect(await visitor.operations()).toEqual([])
      await visitor.post("/note?note=kept")
      await visitor.control("reset")
      const page = await visitor.get("/page/note")
      expect(page.text.match(/<p class="note">kept<\/p>/g)).toHaveLength(2)
      expect(await visitor.operations()).toEqual(["load"])
      expect(page.headers.getSetCookie()).toEqual([])
      expect(page.headers.get("cache-control")).toMatch(/private.*no-store/)
    })

    test("cannot change it, and are told who can", async () => {
      const { text } = await new Visitor(app.url).get("/page/write")
      expect(text).toContain("SessionReadOnlyError")
      expect(text).toContain(
        "a server action (withSessionAction), a route handler (withSession) or the proxy",
      )
    })

    test("are guarded: by a redirect, or by an error", async () => {
      const visitor = new Visitor(app.url)
      const guarded = await visitor.get("/page/guarded")
      expect([guarded.status, guarded.headers.get("location")]).toEqual([303, "/page/sign-in"])
      expect((await visitor.get("/page/strict")).status).toBe(500)
      expect((await visitor.get("/page/members")).status).toBe(401)
      await visitor.post("/sign-in")
      expect((await visitor.get("/page/guarded")).status).toBe(200)
      expect((await visitor.get("/page/strict")).status).toBe(200)
    })
  })

  describe("server actions", () => {
    test("are saved before the page is rendered anew, which sees the new ticket and the new data", async () => {
      const visitor = new Visitor(app.url)
      await visitor.control("delay=200")
      const first = await act(visitor, "note", { note: "one" })
      expect(first.status).toBe(200)
      expect(first.text).toContain('<p class="note">one</p>')
      expect(first.headers.getSetCookie()).toHaveLength(1)
      expect(first.headers.getSetCookie()[0]).toMatch(
        /^__Host-id=[\w-]+(?=.*; Path=\/)(?=.*; Max-Age=86400)(?=.*; Secure)(?=.*; HttpOnly)(?=.*; SameSite=lax)/i,
      )
      const anonymous = visitor.cookie("__Host-id")
      const signedIn = await act(visitor, "signIn")
      expect(signedIn.text).toContain('<p class="user">ada</p>')
      expect(signedIn.text).toContain('<p class="note">one</p>')
      expect(visitor.cookie("__Host-id")).not.toBe(anonymous)
      expect((await act(visitor, "note", { note: "two" })).text).toContain('<p class="note">two</p>')
    })

    test("called by scripts, have the page rendered anew by every change, and by no mere look", async () => {
      const visitor = new Visitor(app.url)
      const first = await call(visitor, "note", { note: "one" })
      expect(first.text).toContain('"one"')
      const second = await call(visitor, "note", { note: "two" })
      expect(second.headers.getSetCookie()).toEqual([])
      expect(second.text).toContain('"two"')
      const look = await call(visitor, "look")
      expect([look.status, look.text.includes("two")]).toEqual([200, false])
    })

    test("that leave the session alone leave it to the page, and those that end it take its cookie away", async () => {
      const visitor = new Visitor(app.url)
      await act(visitor, "note", { note: "kept" })
      expect((await act(visitor, "idle")).text).toContain('<p class="note">kept</p>')
      const ended = await act(visitor, "end")
      expect(ended.text).toContain('<p class="note">none</p>')
      expect(ended.headers.getSetCookie()).toHaveLength(1)
      expect(ended.headers.getSetCookie()[0]).toMatch(
        /^__Host-id=; (?=.*Path=\/)(?=.*Expires=Thu, 01 Jan 1970)(?=.*Secure)/,
      )
      expect(visitor.cookie("__Host-id")).toBeUndefined()
    })

    test("G3: with a store that takes 300 ms to save, a redirect follows its save, with scripts and without", async () => {
      const visitor = new Visitor(app.url)
      await visitor.control("delay=300")
      const began = performance.now()
      const redirect = await act(visitor, "note", { note: "leads on" })
      expect(performance.now() - began).toBeGreaterThan(290)
      expect([redirect.status, redirect.headers.get("location")]).toEqual([303, "/page/note"])
      expect((await visitor.get("/page/note")).text).toContain("leads on")
      // A script gets the page it is led to at once.
      const scripted = await call(new Visitor(app.url), "note", { note: "leads on" })
      expect(scripted.headers.get("x-action-redirect")).toMatch(/^\/page\/note/)
      expect(scripted.text).toContain('"leads on"')
    })

    test("that fail save nothing, but sign out; those that are refused save", async () => {
      const visitor = new Visitor(app.url)
      await act(visitor, "note", { note: "before" })
      expect((await act(visitor, "note", { note: "fails" })).status).toBe(500)
      expect(await visitor.read()).toMatchObject({ note: "before" })
      expect((await call(visitor, "note", { note: "fails" })).status).toBe(500)
      expect(await visitor.read()).toMatchObject({ note: "before" })
      expect((await call(visitor, "note", { note: "refused" })).status).toBe(401)
      expect(await visitor.read()).toMatchObject({ note: "refused" })
      await act(visitor, "signIn")
      const old = visitor.cookie("__Host-id") as string
      expect((await act(visitor, "signOutAndThrow")).status).toBe(500)
      const thief = new Visitor(app.url)
      thief.setCookie("__Host-id", old)
      expect(await thief.read()).toMatchObject({ user: null })
    })

    test("G11: whose saving fails lead nowhere, and send no cookie", async () => {
      const visitor = new Visitor(app.url)
      await act(visitor, "note", { note: "before" })
      await visitor.control("fail=update")
      const failed = await act(visitor, "note", { note: "leads on" })
      expect([failed.status, failed.headers.get("location")]).toEqual([500, null])
      expect(failed.headers.getSetCookie()).toEqual([])
      expect(await visitor.read()).toMatchObject({ note: "before" })
    })

    test("of other sites are refused, and so are those whose browser tells nothing and that bring no token", async () => {
      const visitor = new Visitor(app.url)
      await act(visitor, "note", { note: "before" })
      const foreign = { "Sec-Fetch-Site": "cross-site", Origin: new URL(app.url).origin }
      expect((await act(visitor, "note", { note: "foreign" }, foreign)).status).toBe(500)
      expect((await act(visitor, "note", { note: "silent" }, {})).status).toBe(500)
      expect(await visitor.read()).toMatchObject({ note: "before" })
      const token = (await visitor.get("/token")).text
      expect((await act(visitor, "note", { note: "known", _csrf: token }, {})).status).toBe(200)
      expect(await visitor.read()).toMatchObject({ note: "known" })
    })

    test("that are not wrapped see what one that is has saved", async () => {
      const visitor = new Visitor(app.url)
      const first = await act(visitor, "mixed", { note: "one" })
      expect(first.headers.get("location")).toBe("/page/note?before=none&after=one")
      const second = await act(visitor, "mixed", { note: "two" })
      expect(second.headers.get("location")).toBe("/page/note?before=one&after=two")
    })

    test("cannot be nested, and guard as the others do", async () => {
      const visitor = new Visitor(app.url)
      expect((await act(visitor, "nested", { note: "inner" })).status).toBe(500)
      expect(await visitor.read()).toMatchObject({ note: null })
      const guarded = await act(visitor, "forUsers")
      expect([guarded.status, guarded.headers.get("location")]).toEqual([303, "/page/sign-in"])
      await act(visitor, "signIn")
      expect((await act(visitor, "forUsers")).text).toContain('<p class="note">for ada</p>')
    })
  })

  describe("the proxy", () => {
    test("extends the session of a page that is looked at, and of none else", async () => {
      const visitor = new Visitor(app.url)
      const stranger = await visitor.get("/proxied/page")
      expect(stranger.headers.getSetCookie()).toEqual([])
      await visitor.post("/proxied/handler")
      await lookedAt()
      const before = visitor.cookie("__Host-watched")
      // A lifetime is told in whole seconds.
      await new Promise((resolve) => setTimeout(resolve, 1100))
      const page = await visitor.get("/proxied/page")
      expect(page.text).toContain("from the handler")
      expect(page.headers.getSetCookie()).toHaveLength(1)
      expect(page.headers.get("cache-control")).toContain("no-store")
      expect(visitor.cookie("__Host-watched")).not.toBe(before)
      // One load of the proxy's, and one of the page's.
      expect(await lookedAt()).toEqual(["load", "updateTtl", "load"])
      expect((await visitor.get("/proxied/page", { headers: { "Sec-Purpose": "prefetch" } })).status).toBe(
        200,
      )
      expect(await lookedAt()).toEqual(["load"])
    })

    test("what it changes, the page of the same request sees, a rewritten one and one with other headers as well", async () => {
      const visitor = new Visitor(app.url)
      const first = await visitor.get("/proxied/page?proxy=start")
      expect(first.text).toContain("from the proxy")
      expect(first.headers.getSetCookie()).toHaveLength(1)
      const other = new Visitor(app.url)
      const headers = await other.get("/proxied/page?proxy=headers")
      expect(headers.text.replaceAll("<!-- -->", "")).toContain("beside headers, nobody, mine")
      expect((await visitor.get("/proxied/nowhere?proxy=rewrite")).text).toContain("from the proxy")
    })

    test("changes nothing for other methods than GET, whose answers have cookies of their own", async () => {
      const visitor = new Visitor(app.url)
      expect((await visitor.post("/proxied/handler?proxy=start")).status).toBe(500)
      const handled = await visitor.post("/proxied/handler")
      expect(namesOf(handled)).toEqual(["__Host-watched"])
      await lookedAt()
      await visitor.post("/proxied/handler")
      expect(await lookedAt()).toEqual(["update"])
    })

    test("guards pages", async () => {
      const visitor = new Visitor(app.url)
      const guarded = await visitor.get("/proxied/page?proxy=user")
      expect(guarded.status).toBe(303)
      expect(new URL(guarded.headers.get("location") ?? "", app.url).pathname).toBe("/page/sign-in")
      expect(guarded.headers.get("vary")?.toLowerCase()).toContain("cookie")
      expect((await visitor.get("/proxied/page?proxy=strict")).status).toBe(401)
      const untouched = await visitor.get("/proxied/page?proxy=elsewhere")
      expect([
        untouched.status,
        untouched.headers.get("vary"),
        untouched.headers.get("cache-control"),
      ]).toEqual([307, null, null])
      await visitor.post("/proxied/handler?user=ada")
      expect((await visitor.get("/proxied/page?proxy=user")).text).toContain("ada")
    })

    test("of its cookie and a route handler's, the handler's counts", async () => {
      const visitor = new Visitor(app.url)
      await visitor.post("/proxied/handler")
      await new Promise((resolve) => setTimeout(resolve, 1100))
      await visitor.get("/proxied/handler?user=ada")
      expect((await visitor.get("/proxied/page")).text).toContain("ada")
    })

    test("a store that is down leaves pages that need no session as they are", async () => {
      const visitor = new Visitor(app.url)
      await visitor.post("/proxied/handler")
      await visitor.get("/own/fail-looking")
      expect((await visitor.get("/proxied/page")).text).toContain("from the handler")
    })

    test("what it chooses by the session says so, a rewrite to a static page included", async () => {
      // By its address, Next.js would take itself for another origin.
      const local = await startNext(folder, { host: "localhost" })
      onTestFinished(() => local.close())
      const blind = await new Visitor(local.url).get("/proxied/nowhere?proxy=blind")
      expect(blind.text).toContain("the same for everybody")
      expect(blind.headers.get("cache-control")).toContain("s-maxage")
      const chosen = await new Visitor(local.url).get("/proxied/nowhere?proxy=chosen")
      expect(chosen.text).toContain("the same for everybody")
      expect(chosen.headers.get("cache-control")).toBe("private, no-cache")
    })

    test("a session whose proxy function has not asked for it leaves the answer as it is", async () => {
      const { withSession, withSessionProxy } = nextSessions(
        createSessions<State>({ keys: [KEY], store: memoryStore() }),
      )
      const begin = withSession((session) => {
        session.set("note", "begun")
        return new Response()
      })
      const begun = await begin(new NextRequest("https://shop.example/"), undefined)
      const headers = { Cookie: begun.headers.getSetCookie()[0]?.split(";")[0] as string }
      const ask = (path: string): Promise<Response> =>
        withSessionProxy(async (session, { nextUrl }) => {
          if (nextUrl.pathname === "/read") await session.get("note")
          return NextResponse.redirect("https://shop.example/elsewhere")
        })(new NextRequest(`https://shop.example${path}`, { headers }), {} as never)
      expect((await ask("/read")).headers.get("vary")).toBe("Cookie")
      expect((await ask("/blind")).headers.get("vary")).toBeNull()
    })

    test("what is rewritten to another origin gets no cookie of ours, and what would change one is refused", async () => {
      const other = await startOther()
      const visitor = new Visitor(app.url)
      await visitor.post("/proxied/handler")
      const before = visitor.cookie("__Host-watched") as string
      await new Promise((resolve) => setTimeout(resolve, 1100))
      const away = await visitor.get(`/proxied/page?proxy=away&to=${encodeURIComponent(other.url)}`)
      expect([away.text, away.headers.getSetCookie()]).toEqual(["the other origin", []])
      expect(other.received).toHaveLength(1)
      expect(other.received[0]?.["set-cookie"]).toBeUndefined()
      expect(other.received[0]?.cookie).toBe(`__Host-watched=${before}`)
      const changed = await visitor.get(
        `/proxied/page?proxy=away-with-change&to=${encodeURIComponent(other.url)}`,
      )
      expect([changed.status, changed.headers.getSetCookie()]).toEqual([500, []])
      expect(changed.text).toContain("rewrote to another origin")
      expect(other.received).toHaveLength(1)
      expect((await visitor.get("/proxied/page")).text).toContain("from the handler")
    })

    test("a page that the proxy function keeps cookies from gets none of ours", async () => {
      const visitor = new Visitor(app.url)
      visitor.setCookie("other", "1")
      const page = await visitor.get("/proxied/page?proxy=without-cookie")
      expect(page.text).toContain("none")
      expect(page.headers.getSetCookie()).toHaveLength(1)
      expect((await visitor.get("/proxied/page")).text).toContain("kept from the page")
    })

    test("what it has changed before it fails is dropped, whatever status that is answered with", async () => {
      const visitor = new Visitor(app.url)
      const failed = await visitor.get("/proxied/page?proxy=start-and-fail")
      expect([failed.status, failed.headers.getSetCookie()]).toEqual([401, []])
      expect((await visitor.get("/proxied/page")).text).toContain("none")
    })

    test("after an action's redirect, which Next.js follows by itself and without cookies, begins and rotates nothing", async () => {
      const visitor = new Visitor(app.url)
      await lookedAt()
      const scripted = await call(visitor, "lead", { to: "/proxied/page?proxy=start" })
      expect(scripted.headers.get("x-action-redirect")).toMatch(/^\/proxied\/page/)
      expect(scripted.text).not.toContain("from the proxy")
      expect(await lookedAt()).toEqual([])
      // The browser is left to ask by itself, and so is given its cookie.
      expect((await visitor.get("/proxied/page?proxy=start")).text).toContain("from the proxy")
      const followed = await call(visitor, "lead", { to: "/proxied/page" })
      expect(followed.text).toContain("from the proxy")
      await lookedAt()
      await call(visitor, "lead", { to: "/proxied/page?proxy=rotate" })
      expect(await lookedAt()).not.toContain("changeId")
      const headers = { "X-Action-Redirect": "/proxied/page;push" }
      for (const change of ["start", "rotate"]) {
        const stranger = new Visitor(app.url)
        const refused = await stranger.get(`/proxied/page?proxy=${change}`, { headers })
        expect([refused.status, refused.headers.getSetCookie()]).toEqual([500, []])
        expect(refused.text).toContain("The browser asks again.")
      }
    })

    async function lookedAt(): Promise<string[]> {
      return JSON.parse((await new Visitor(app.url).get("/own/looked-at")).text) as string[]
    }
  })
})

describe("the guide and the example", () => {
  test("import what Next.js bundles by the names that its bundler knows", async () => {
    const guide = new URL("../../docs/frameworks/next.md", import.meta.url)
    expect(await readFile(guide, "utf8")).not.toMatch(/"next\/[\w/]+\.js"/)
  })

  test("show no notice rather than fail of one that cannot be read", () => {
    expect(noticeOf(null)).toBeUndefined()
    expect(noticeOf("Welcome%2C%20Zo%C3%AB.")).toBe("Welcome, Zoë.")
    expect(noticeOf("%E0%A4%A")).toBeUndefined()
  })
})

/** A server that remembers what it was asked. */
async function startOther(): Promise<{ url: string; received: IncomingHttpHeaders[] }> {
  const received: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    received.push(request.headers)
    response.end("the other origin")
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, received }
}

function namesOf({ headers }: Visit): string[] {
  return headers
    .getSetCookie()
    .map((line) => line.split("=")[0] as string)
    .toSorted()
}

const SAME_ORIGIN = { "Sec-Fetch-Site": "same-origin" }

type Fields = Readonly<Record<string, string>>

/** Sends the form of an action, as a browser does without scripts. */
async function act(
  visitor: Visitor,
  action: string,
  fields: Fields = {},
  headers: Fields = SAME_ORIGIN,
): Promise<Visit> {
  const form = new FormData()
  form.set(`$ACTION_ID_${await idOf(action)}`, "")
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  return send(visitor, form, headers)
}

/** Calls an action as the scripts of Next.js do. */
async function call(visitor: Visitor, action: string, fields: Fields = {}): Promise<Visit> {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(`_1_${name}`, value)
  form.set("0", '["$K1"]')
  return send(visitor, form, {
    ...SAME_ORIGIN,
    "Next-Action": await idOf(action),
    Accept: "text/x-component",
  })
}

async function idOf(action: string): Promise<string> {
  const { text } = await new Visitor(app.url).get("/page/note")
  const [, id] = new RegExp(`<form id="${action}".*?name="\\$ACTION_ID_([0-9a-f]+)"`).exec(text) ?? []
  if (id === undefined) throw new Error(`There is no form of ${action}.`)
  return id
}

/** A form of several parts is sent as bytes: its type has the mark between them. */
async function send(visitor: Visitor, form: FormData, headers: Fields): Promise<Visit> {
  const encoded = new Response(form)
  const type = encoded.headers.get("content-type") as string
  return visitor.post("/page/note", {
    body: await encoded.text(),
    headers: { ...headers, "Content-Type": type },
  })
}

import { expect } from "vitest"
import { sendRaw } from "../support/node-servers.ts"
import { Visitor } from "./visitor.ts"

/** What holds for the adapter of every framework, as data, like the laws of stores. Everything goes over real HTTP, so the application may be anywhere. */

/** A running application that plays `scenes.ts`. */
export interface AdapterApp {
  /** Such as `http://127.0.0.1:3000`, without a slash at the end. */
  readonly url: string
  close(): Promise<void>
}

/** What an application has besides its scenes. Whatever a framework has no word for is left out, and said in its test. */
export interface AdapterTraits {
  /** Scenes under `/sub/…`, in what the framework calls a sub-application, a router, a plugin. Default true. */
  readonly sub?: boolean
  /** Scenes under `/admin/…`, played with `stage.admins`. Default true. */
  readonly admins?: boolean
  /** Answers of 304, with a session that was used. Default true. */
  readonly notModified?: boolean
  /** Reading goes on while the body is made. Default true. */
  readonly streaming?: boolean
  /** HEAD is answered as GET without a body. Default true. */
  readonly head?: boolean
}

export interface AdapterCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/** The cases for an application. They share its store, so they run one after the other. */
export function adapterConformance(app: () => AdapterApp, traits: AdapterTraits = {}): AdapterCase[] {
  const has = { sub: true, admins: true, notModified: true, streaming: true, head: true, ...traits }
  const cases: AdapterCase[] = []

  function law(name: string, run: (visitor: Visitor) => Promise<void>, applies = true): void {
    if (!applies) return
    cases.push({
      name,
      run: async () => {
        const visitor = new Visitor(app().url)
        await visitor.control("reset")
        await run(visitor)
      },
    })
  }

  law("G1: an untouched session costs nothing, and the response says nothing of it", async (visitor) => {
    const anonymous = await visitor.get("/untouched")
    expect(anonymous.text).toBe("untouched")
    expectSilence(anonymous.headers)
    await visitor.get("/count")
    await visitor.control("reset")
    expectSilence((await visitor.get("/untouched")).headers)
    expect(await visitor.operations()).toEqual([])
  })

  law("G2: reading costs one load, writing one update, and a mere read sends no cookie", async (visitor) => {
    await visitor.get("/count")
    await visitor.control("reset")
    const read = await visitor.get("/read")
    expect(read.headers.getSetCookie()).toEqual([])
    expect(await visitor.operations()).toEqual(["load"])
    await visitor.control("reset")
    expect((await visitor.get("/count")).text).toBe("2")
    expect(await visitor.operations()).toEqual(["load", "update"])
  })

  law("a session is kept from request to request, and each visitor has one", async (visitor) => {
    const other = new Visitor(app().url)
    const counts = [visitor, visitor, other, visitor].map(
      (each) => async () => (await each.get("/count")).text,
    )
    const seen: string[] = []
    for (const count of counts) seen.push(await count())
    expect(seen).toEqual(["1", "2", "1", "3"])
  })

  law("the cookie is sent with all its attributes, over plain http too", async (visitor) => {
    const { headers } = await visitor.get("/count")
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(headers.getSetCookie()[0]).toMatch(
      /^__Host-id=[\w-]+; Max-Age=86400; Path=\/; SameSite=Lax; HttpOnly; Secure$|^__Host-id=[\w-]+(?=.*; HttpOnly)(?=.*; Secure)(?=.*; SameSite=Lax)(?=.*; Path=\/)/,
    )
  })

  law(
    "G3: with a store that takes 300 ms to save, a client that follows a redirect at once sees its data",
    async (visitor) => {
      await visitor.control("delay=300")
      const began = performance.now()
      const redirect = await visitor.post("/note?note=first")
      expect(performance.now() - began).toBeGreaterThan(290)
      expect(redirect.status).toBeGreaterThanOrEqual(300)
      expect(redirect.status).toBeLessThan(400)
      expect(redirect.headers.get("location")).toMatch(/\/read$/)
      expect(await visitor.read()).toMatchObject({ note: "first" })
      await visitor.post("/note?note=second")
      expect(await visitor.read()).toMatchObject({ note: "second" })
    },
  )

  law(
    "G3: no byte of the answer leaves before the session is saved, and the cookie comes with the head",
    async (visitor) => {
      await visitor.control("delay=300")
      const port = Number(new URL(app().url).port)
      const raw = sendRaw(
        port,
        `GET /count HTTP/1.1\r\nHost: ${new URL(app().url).host}\r\nConnection: close\r\n\r\n`,
      )
      await raw.closed()
      expect(raw.pieces[0]?.at).toBeGreaterThan(290)
      const [head = "", ...rest] = raw.text().split("\r\n\r\n")
      expect(head).toMatch(/^HTTP\/1\.1 200 /)
      expect(head.match(/^set-cookie: __Host-id=/gim)).toHaveLength(1)
      expect(rest.join("\r\n\r\n")).not.toMatch(/set-cookie/i)
    },
  )

  law(
    "G3: a stream begins when the session is saved, goes on while it is read, and a change meanwhile throws",
    async (visitor) => {
      const { text, headers, pieces } = await visitor.stream("/stream")
      expect(text).toBe("first;ERR_SESSION_FINALIZED;last;")
      expect(headers.getSetCookie()).toHaveLength(1)
      expect(pieces[0]).not.toContain("last")
      expect(await visitor.read()).toMatchObject({ note: "streamed" })
    },
    has.streaming,
  )

  law(
    "G3: server-sent events arrive one by one, after the save",
    async (visitor) => {
      await visitor.control("delay=300")
      const { text, headers, pieces } = await visitor.stream("/events")
      expect(text).toBe("data: 1\n\ndata: 2\n\ndata: 3\n\n")
      expect(headers.get("content-type")).toContain("text/event-stream")
      expect(pieces[0]).not.toContain("data: 3")
      expect(await visitor.read()).toMatchObject({ note: "events" })
    },
    has.streaming,
  )

  law("a download, and an answer of many packets, come whole with their cookie", async (visitor) => {
    const download = await visitor.get("/download")
    expect(download.text).toBe("one\ntwo\nthree\n")
    expect(download.headers.get("content-disposition")).toContain("a.txt")
    expect(await visitor.read()).toMatchObject({ note: "downloaded" })
    expect((await visitor.get("/large")).text).toHaveLength(200_000)
    expect(await visitor.read()).toMatchObject({ note: "large" })
  })

  law("answers without a body are saved before they are sent", async (visitor) => {
    await visitor.control("delay=100")
    const empty = await visitor.get("/no-content")
    expect([empty.status, empty.text]).toEqual([204, ""])
    expect(empty.headers.getSetCookie()).toHaveLength(1)
    expect(await visitor.read()).toMatchObject({ note: "no content" })
  })

  law(
    "304 is saved before it is sent",
    async (visitor) => {
      await visitor.get("/count")
      const { status } = await visitor.get("/not-modified", { headers: { "If-None-Match": '"1"' } })
      expect(status).toBe(304)
      expect(await visitor.read()).toMatchObject({ note: "not modified" })
    },
    has.notModified,
  )

  law(
    "HEAD saves what GET would, and sends the cookie without a body",
    async (visitor) => {
      const { text, headers } = await visitor.request("HEAD", "/count")
      expect(text).toBe("")
      expect(headers.getSetCookie()).toHaveLength(1)
      expect(await visitor.read()).toMatchObject({ count: 1 })
    },
    has.head,
  )

  law("the application's own cookies and headers stay; G12: caches are told", async (visitor) => {
    const { headers } = await visitor.get("/headers")
    const names = headers.getSetCookie().map((line) => line.split("=")[0])
    expect(names.toSorted()).toEqual(["__Host-id", "other"])
    expect(headers.get("cache-control")).toBe("no-store")
    const vary = headers.get("vary")?.toLowerCase()
    expect(vary).toContain("accept")
    expect(vary).toContain("cookie")
    const read = await visitor.get("/read")
    expect(read.headers.get("vary")?.toLowerCase()).toContain("cookie")
    expect(read.headers.get("cache-control")).toMatch(/private|no-store/)
  })

  law("sign-in gives a new ticket, sign-out takes the user's session away", async (visitor) => {
    await visitor.post("/note?note=before")
    const before = visitor.cookie("__Host-id")
    await visitor.post("/sign-in?user=ada")
    expect(visitor.cookie("__Host-id")).not.toBe(before)
    expect(await visitor.read()).toMatchObject({ user: "ada", note: "before" })
    const thief = new Visitor(app().url)
    thief.setCookie("__Host-id", before as string)
    expect(await thief.read()).toMatchObject({ user: null, note: null })
    await visitor.post("/sign-out")
    expect(await visitor.read()).toMatchObject({ user: null, note: null })
  })

  law("client state lives in the cookie, and needs no store to be read", async (visitor) => {
    await visitor.post("/theme?theme=dark")
    expect(await visitor.read()).toMatchObject({ theme: "dark" })
  })

  law("invalidate removes the cookie", async (visitor) => {
    await visitor.get("/count")
    const { headers } = await visitor.post("/invalidate")
    expect(headers.getSetCookie()[0]).toMatch(/^__Host-id=;/)
    expect(visitor.cookie("__Host-id")).toBeUndefined()
  })

  law(
    "a handler that throws is answered by the framework's error handler, and saves nothing",
    async (visitor) => {
      await visitor.get("/count")
      const { status } = await visitor.post("/throw")
      expect(status).toBe(500)
      expect(await visitor.read()).toMatchObject({ count: 1, note: null })
    },
  )

  law("a handler that signs out and throws has signed out all the same", async (visitor) => {
    await visitor.post("/sign-in?user=ada")
    const cookie = visitor.cookie("__Host-id") as string
    expect((await visitor.post("/sign-out-and-throw")).status).toBe(500)
    const old = new Visitor(app().url)
    old.setCookie("__Host-id", cookie)
    expect(await old.read()).toMatchObject({ user: null })
  })

  law("an answer of 500 saves nothing, one of 422 does", async (visitor) => {
    await visitor.get("/count")
    expect((await visitor.post("/failing")).status).toBe(500)
    expect(await visitor.read()).toMatchObject({ note: null })
    expect((await visitor.post("/refused")).status).toBe(422)
    expect(await visitor.read()).toMatchObject({ note: "refused" })
  })

  law("the framework's not-found page carries the cookie too", async (visitor) => {
    const { status, headers } = await visitor.get("/nowhere")
    expect(status).toBe(404)
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(await visitor.read()).toMatchObject({ note: "nowhere" })
  })

  law(
    "G11: a store that cannot save gives 503 with Retry-After, no cookie, and nothing half saved",
    async (visitor) => {
      await visitor.get("/count")
      await visitor.control("fail=update")
      const { status, headers, text } = await visitor.get("/count")
      expect(status).toBe(503)
      expect(headers.get("retry-after")).toBe("5")
      expect(headers.getSetCookie()).toEqual([])
      expect(text).not.toContain("2")
      expect((await visitor.get("/count")).text).toBe("2")
    },
  )

  law("G11: so does a store that cannot load", async (visitor) => {
    await visitor.get("/count")
    await visitor.control("fail=load")
    expect((await visitor.get("/count")).status).toBe(503)
    expect((await visitor.get("/count")).text).toBe("2")
  })

  law("client state that fits no cookie is an error, and nothing is stored", async (visitor) => {
    await visitor.get("/count")
    await visitor.control("reset")
    expect((await visitor.post("/too-large")).status).toBe(500)
    expect(await visitor.operations()).toEqual([])
  })

  law("save writes at once, and the response carries its cookie", async (visitor) => {
    expect((await visitor.post("/save")).text).toBe("saved")
    expect(await visitor.read()).toMatchObject({ note: "saved" })
  })

  law("requireUser and requireFresh let in who has signed in, and fail with 401 else", async (visitor) => {
    expect((await visitor.get("/user")).status).toBe(401)
    expect((await visitor.get("/fresh")).status).toBe(401)
    await visitor.post("/sign-in?user=ada")
    expect((await visitor.get("/user")).text).toBe("ada")
    expect((await visitor.get("/fresh?within=60000")).text).toBe("ada")
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect((await visitor.get("/fresh?within=1")).status).toBe(401)
  })

  law(
    "csrf: unsafe requests from other sites are refused, by Fetch Metadata or Origin, others are not",
    async (visitor) => {
      const host = new URL(app().url).host
      const refused: Record<string, string>[] = [
        { "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" },
        { "Sec-Fetch-Site": "same-site", Origin: `http://other.${host}` },
        { "Sec-Fetch-Site": "cross-site" },
        { Origin: "https://evil.example" },
        { Origin: "null" },
      ]
      await visitor.get("/count")
      for (const headers of refused) {
        expect((await visitor.post("/change", { headers })).status).toBe(403)
      }
      expect(await visitor.read()).toMatchObject({ note: null })
      const taken: Record<string, string>[] = [
        { "Sec-Fetch-Site": "same-origin", Origin: `http://${host}` },
        { Origin: `http://${host}` },
        { "Sec-Fetch-Site": "cross-site", Origin: "https://friend.example" },
      ]
      for (const headers of taken) {
        expect((await visitor.post("/change", { headers })).text).toBe("changed")
      }
      const navigation = { "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" }
      expect((await visitor.get("/read", { headers: navigation })).status).toBe(200)
    },
  )

  law(
    "csrf: where the browser tells nothing, the token decides, from a header or a form",
    async (visitor) => {
      const token = (await visitor.get("/token")).text
      const header = { "X-CSRF-Token": token }
      expect((await visitor.post("/change", { headers: {} })).status).toBe(403)
      expect((await visitor.post("/change", { headers: header })).text).toBe("changed")
      const form = new URLSearchParams({ _csrf: token })
      expect((await visitor.post("/change", { headers: {}, body: form })).text).toBe("changed")
      expect(
        (await visitor.post("/change", { headers: { "X-CSRF-Token": `${token.slice(1)}A` } })).status,
      ).toBe(403)
      const other = new Visitor(app().url)
      await other.get("/count")
      expect((await other.post("/change", { headers: header })).status).toBe(403)
    },
  )

  law(
    "sessions of two kinds do not interfere",
    async (visitor) => {
      await visitor.get("/count")
      await visitor.get("/count")
      expect((await visitor.get("/admin/count")).text).toBe("1")
      expect((await visitor.get("/count")).text).toBe("3")
      await visitor.post("/admin/sign-in?user=root")
      expect(await visitor.read()).toMatchObject({ user: null, count: 3 })
      await visitor.post("/invalidate")
      expect((await visitor.get("/admin/count")).text).toBe("2")
      expect((await visitor.get("/admin/user")).text).toBe("root")
    },
    has.admins,
  )

  law(
    "a sub-application has the session",
    async (visitor) => {
      expect((await visitor.get("/sub/count")).text).toBe("1")
      expect((await visitor.get("/count")).text).toBe("2")
      await visitor.post("/sub/note?note=sub")
      expect(await visitor.read()).toMatchObject({ note: "sub" })
      expect((await visitor.post("/sub/throw")).status).toBe(500)
    },
    has.sub,
  )

  law("G4: requests at the same time lose no one's update", async (visitor) => {
    await visitor.get("/count")
    await Promise.all([visitor.post("/note?note=together"), visitor.post("/change?"), visitor.get("/count")])
    expect(await visitor.read()).toMatchObject({ count: 2 })
  })

  return cases
}

function expectSilence(headers: Headers): void {
  expect(headers.getSetCookie()).toEqual([])
  expect(headers.get("vary")?.toLowerCase() ?? "").not.toContain("cookie")
}

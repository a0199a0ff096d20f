import { readFileSync } from "node:fs"
import type { Browser } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { chromiumPath, launchChromium } from "../browser/chromium.ts"
import { startBridge } from "./apps/bridge.ts"
import { startOnExpress, startOnFastify, startOnHono, startOnKoa, startOnNode } from "./apps/ours.ts"
import {
  type PeerApp,
  startExpressSession,
  startFastifySession,
  startHonoSessions,
  startIronSession,
  startKoaSession,
} from "./apps/peers.ts"
import { startFastifyWithBoth, startHonoWithBoth, startKoaWithBoth } from "./apps/side-by-side.ts"
import { Visitor } from "./visitor.ts"

/** What `docs/migrating.md` says of other libraries, run against the installed versions, and what happens here instead. */

const migrating = readFileSync(new URL("../../docs/migrating.md", import.meta.url), "utf8")

interface Peer {
  readonly name: string
  /** The package whose version is installed. */
  readonly from: string
  readonly start: () => Promise<PeerApp>
  /** Whether the session is all in the cookie. */
  readonly cookieOnly?: boolean
}

const peers: readonly Peer[] = [
  { name: "express-session", from: "express-session", start: startExpressSession },
  { name: "@fastify/session", from: "@fastify/session", start: startFastifySession },
  { name: "hono-sessions", from: "hono-sessions", start: () => startHonoSessions("store") },
  {
    name: "hono-sessions, CookieStore",
    from: "hono-sessions",
    start: () => startHonoSessions("cookie"),
    cookieOnly: true,
  },
  { name: "koa-session", from: "koa-session", start: () => startKoaSession("store") },
  {
    name: "koa-session, without a store",
    from: "koa-session",
    start: () => startKoaSession("cookie"),
    cookieOnly: true,
  },
  { name: "iron-session", from: "iron-session", start: startIronSession, cookieOnly: true },
]

const ours: readonly Peer[] = [
  { name: "coatcheck on Express", from: "express", start: startOnExpress },
  { name: "coatcheck on Fastify", from: "fastify", start: startOnFastify },
  { name: "coatcheck on Hono", from: "hono", start: startOnHono },
  { name: "coatcheck on Koa", from: "koa", start: startOnKoa },
  { name: "coatcheck on node:http", from: "express", start: startOnNode },
]

/** A browser's cookies, and its way of going on as soon as the head of an answer is there. */
class Client {
  readonly app: PeerApp
  readonly cookies: Map<string, string>

  constructor(app: PeerApp, cookies: Map<string, string> = new Map()) {
    this.app = app
    this.cookies = cookies
  }

  /** Resolves when the head has arrived. */
  async open(path: string): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ")
    const response = await fetch(`${this.app.url}${path}`, {
      method: path === "/read" || path === "/untouched" ? "GET" : "POST",
      redirect: "manual",
      headers: { "Sec-Fetch-Site": "same-origin", ...(cookie === "" ? undefined : { Cookie: cookie }) },
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      const isRemoval = value === "" || /; (?:max-age=0|expires=thu, 01 jan 1970)/i.test(line)
      if (isRemoval) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return response
  }

  /** Reads to the end, too. */
  async send(path: string): Promise<Response> {
    const response = await this.open(path)
    await response.clone().text()
    return response
  }

  async read(): Promise<unknown> {
    return (await this.send("/read")).json()
  }

  copy(): Client {
    return new Client(this.app, new Map(this.cookies))
  }
}

async function visit({ start }: Peer): Promise<Client> {
  const app = await start()
  onTestFinished(() => app.close())
  return new Client(app)
}

/** Stops a request that changes something after it has read its session, does something else, and lets it go on. */
async function overtake(client: Client, meanwhile: () => Promise<unknown>): Promise<void> {
  const held = client.app.gate.close()
  const slow = client.send("/set?a=1&hold")
  await held.reached
  await meanwhile()
  held.release()
  await slow
}

describe("two requests at once that change different keys", () => {
  async function race(peer: Peer): Promise<unknown> {
    const client = await visit(peer)
    await client.send("/sign-in")
    await overtake(client, () => client.send("/set?b=2"))
    return client.read()
  }

  test.each(peers)("$name loses one of the changes", async (peer) => {
    expect(await race(peer)).toEqual({ user: "ada", a: "1", b: null })
  })

  test.each(ours)("$name keeps both", async (peer) => {
    expect(await race(peer)).toEqual({ user: "ada", a: "1", b: "2" })
  })
})

describe("a sign-in that redirects, with a store that takes 300 ms to save", () => {
  /** Fetches the page as soon as the redirect says where it is. */
  async function follow(peer: Peer): Promise<unknown> {
    const client = await visit(peer)
    client.app.delayWrites(300)
    await client.open("/sign-in")
    return (await client.open("/read")).json()
  }

  const signedIn = { user: "ada", a: null, b: null }

  test("express-session is overtaken by its redirect: the next page knows nobody", async () => {
    expect(await follow(peers[0] as Peer)).toEqual({ user: null, a: null, b: null })
  })

  test.each(peers.slice(1))("$name is not", async (peer) => {
    expect(await follow(peer)).toEqual(signedIn)
  })

  test.each(ours)("$name is not", async (peer) => {
    expect(await follow(peer)).toEqual(signedIn)
  })
})

describe("what requests cost that change nothing", () => {
  interface Cost {
    /** Store calls, and whether a cookie is sent. */
    readonly calls: readonly string[]
    readonly cookie: boolean
  }

  async function cost(client: Client, path: string): Promise<Cost> {
    client.app.takeCalls()
    const response = await client.send(path)
    return { calls: client.app.takeCalls(), cookie: response.headers.getSetCookie().length > 0 }
  }

  /** A visitor without a cookie, one with a cookie that does not need the session, and one that reads it. */
  async function costs(peer: Peer): Promise<Record<"crawler" | "untouched" | "read", Cost>> {
    const crawler = await visit(peer)
    const client = new Client(crawler.app)
    await client.send("/sign-in")
    return {
      crawler: await cost(crawler, "/untouched"),
      untouched: await cost(client, "/untouched"),
      read: await cost(client, "/read"),
    }
  }

  const nothing: Cost = { calls: [], cookie: false }

  test.each<[string, Record<"crawler" | "untouched" | "read", Cost>]>([
    [
      "express-session",
      {
        crawler: nothing,
        untouched: { calls: ["get", "touch"], cookie: false },
        read: { calls: ["get", "touch"], cookie: false },
      },
    ],
    [
      "@fastify/session",
      {
        crawler: { calls: ["set"], cookie: true },
        untouched: { calls: ["get", "set"], cookie: true },
        read: { calls: ["get", "set"], cookie: true },
      },
    ],
    [
      "hono-sessions",
      {
        crawler: { calls: ["set", "set"], cookie: true },
        untouched: { calls: ["get", "set"], cookie: true },
        read: { calls: ["get", "set"], cookie: true },
      },
    ],
    [
      "hono-sessions, CookieStore",
      {
        crawler: { calls: [], cookie: true },
        untouched: { calls: [], cookie: true },
        read: { calls: [], cookie: true },
      },
    ],
    [
      "koa-session",
      {
        crawler: nothing,
        untouched: { calls: ["get"], cookie: false },
        read: { calls: ["get"], cookie: false },
      },
    ],
    ["koa-session, without a store", { crawler: nothing, untouched: nothing, read: nothing }],
    ["iron-session", { crawler: nothing, untouched: nothing, read: nothing }],
  ])("%s", async (name, expected) => {
    expect(await costs(peers.find((peer) => peer.name === name) as Peer)).toEqual(expected)
  })

  test("@fastify/session without saveUninitialized and rolling: a load, and nothing is extended", async () => {
    const settings = { saveUninitialized: false, rolling: false }
    const read = { calls: ["get"], cookie: false }
    const peer = { ...(peers[1] as Peer), start: () => startFastifySession(settings) }
    expect(await costs(peer)).toEqual({ crawler: nothing, untouched: read, read })
  })

  test("hono-sessions without autoExtendExpiration: a load and a cookie, and a store write for who is new", async () => {
    const settings = { autoExtendExpiration: false }
    const read = { calls: ["get"], cookie: true }
    const peer = { ...(peers[2] as Peer), start: () => startHonoSessions("store", settings) }
    expect(await costs(peer)).toEqual({
      crawler: { calls: ["set", "set"], cookie: true },
      untouched: read,
      read,
    })
  })

  test.each(ours)("$name: nothing, nothing, and one load", async (peer) => {
    expect(await costs(peer)).toEqual({
      crawler: nothing,
      untouched: nothing,
      read: { calls: ["load"], cookie: false },
    })
  })
})

describe("a slow request that ends after the sign-out", () => {
  async function signOutMeanwhile(peer: Peer): Promise<unknown> {
    const client = await visit(peer)
    await client.send("/sign-in")
    await overtake(client, () => client.send("/sign-out"))
    return client.read()
  }

  test.each(peers)("$name: the user is signed in again", async (peer) => {
    expect(await signOutMeanwhile(peer)).toMatchObject({ user: "ada" })
  })

  test.each(ours)("$name: the user stays signed out", async (peer) => {
    expect(await signOutMeanwhile(peer)).toEqual({ user: null, a: null, b: null })
  })
})

describe("a copy of the cookie, after the sign-out", () => {
  async function thief(peer: Peer): Promise<unknown> {
    const client = await visit(peer)
    await client.send("/sign-in")
    const copy = client.copy()
    await client.send("/sign-out")
    expect(await client.read()).toMatchObject({ user: null })
    return copy.read()
  }

  test.each(peers.filter(({ cookieOnly }) => cookieOnly === true))(
    "$name: it is still signed in",
    async (peer) => {
      expect(await thief(peer)).toMatchObject({ user: "ada" })
    },
  )

  test.each([...peers.filter(({ cookieOnly }) => cookieOnly !== true), ...ours])(
    "$name: it is worth nothing",
    async (peer) => {
      expect(await thief(peer)).toMatchObject({ user: null })
    },
  )
})

describe.skipIf(chromiumPath === undefined)("5000 bytes in the session, in Chromium", () => {
  let chromium: Browser

  beforeAll(async () => {
    chromium = await launchChromium()
  })

  afterAll(() => chromium?.close())

  /** How the write was answered, and how much of it is there on the next page. */
  async function fill(peer: Peer): Promise<{ status: number | undefined; user: unknown; kept: number }> {
    const { app } = await visit(peer)
    const context = await chromium.newContext()
    onTestFinished(() => context.close())
    const page = await context.newPage()
    const url = app.url.replace("127.0.0.1", "localhost")
    await page.goto(`${url}/sign-in`)
    const response = await page.goto(`${url}/fill?bytes=5000`)
    await page.goto(`${url}/read`)
    const state = JSON.parse((await page.textContent("body")) ?? "") as { user: unknown; a: string | null }
    return { status: response?.status(), user: state.user, kept: state.a?.length ?? 0 }
  }

  test("hono-sessions, CookieStore: the browser drops the cookie, the write is lost, and nobody is told", async () => {
    const peer = peers.find(({ name }) => name === "hono-sessions, CookieStore") as Peer
    expect(await fill(peer)).toEqual({ status: 200, user: "ada", kept: 0 })
  })

  test("koa-session, without a store: the browser drops the cookie but keeps its signature, and the user is signed out", async () => {
    const peer = peers.find(({ name }) => name === "koa-session, without a store") as Peer
    expect(await fill(peer)).toEqual({ status: 200, user: null, kept: 0 })
  })

  test.each(peers.filter(({ cookieOnly }) => cookieOnly !== true))("$name keeps them", async (peer) => {
    expect(await fill(peer)).toEqual({ status: 200, user: "ada", kept: 5000 })
  })

  test("iron-session says so: save throws", async () => {
    expect(await fill(peers.at(-1) as Peer)).toEqual({ status: 500, user: "ada", kept: 0 })
  })

  test.each(ours)("$name keeps them, in the store", async (peer) => {
    expect(await fill(peer)).toEqual({ status: 200, user: "ada", kept: 5000 })
  })
})

test("express-session, saved before it redirects, is not overtaken", async () => {
  const client = await visit({
    ...(peers[0] as Peer),
    start: () => startExpressSession({ savesFirst: true }),
  })
  client.app.delayWrites(300)
  await client.open("/sign-in")
  expect(await (await client.open("/read")).json()).toMatchObject({ user: "ada" })
})

test("express-session keeps what requests in turn put into it", async () => {
  const client = await visit(peers[0] as Peer)
  for (const path of ["/sign-in", "/set?a=1", "/set?b=2"]) await client.send(path)
  expect(await client.read()).toEqual({ user: "ada", a: "1", b: "2" })
})

describe("the bridge from express-session", () => {
  test("carries a session over, once", async () => {
    const app = await startBridge()
    onTestFinished(() => app.close())
    const visitor = new Visitor(app.url)
    await visitor.post("/old/sign-in")
    const old = visitor.cookie("connect.sid") as string
    expect(await visitor.read()).toEqual({ user: "ada", cart: ["bowler"] })
    expect(visitor.cookie("__Host-id")).toBeDefined()
    expect(await visitor.read()).toEqual({ user: "ada", cart: ["bowler"] })

    const late = new Visitor(app.url)
    late.setCookie("connect.sid", old)
    expect(await late.read()).toEqual({ user: null, cart: null })
    await visitor.post("/sign-out")
    expect(await visitor.read()).toEqual({ user: null, cart: null })
  })

  test("is the one that docs/migrating.md shows", () => {
    const source = readFileSync(new URL("apps/bridge.ts", import.meta.url), "utf8")
    const bridge = source.slice(source.indexOf("/** Mount it"), source.indexOf("/** `/old/"))
    expect(migrating).toContain(bridge.trim())
  })
})

test.each([
  ["@fastify/session", startFastifyWithBoth],
  ["hono-sessions", startHonoWithBoth],
  ["koa-session", startKoaWithBoth],
])("%s and coatcheck stand side by side, under two names", async (_, start) => {
  const app = await start()
  onTestFinished(() => app.close())
  const visitor = new Visitor(app.url)
  await visitor.post("/")
  expect((await visitor.get("/")).text).toBe('["old","new"]')
  expect(visitor.cookie("__Host-id")).toBeDefined()
})

test("docs/migrating.md names the versions all this was seen with", () => {
  for (const { from } of peers) {
    const manifest = new URL(`../../node_modules/${from}/package.json`, import.meta.url)
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string }
    expect(migrating).toContain(`**${from} ${version}**`)
  }
})

import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import { setTimeout as sleep } from "node:timers/promises"
import cookies from "@fastify/cookie"
import { createAdaptorServer } from "@hono/node-server"
import express, { type NextFunction, type Request, type Response } from "express"
import fastify, { type FastifyReply, type FastifyRequest } from "fastify"
import { Hono } from "hono"
import { CookieStore, type Session as HonoSession, type SessionData, sessionMiddleware } from "hono-sessions"
import { getIronSession } from "iron-session"
import Koa from "koa"
import koaSession from "koa-session"
import type { AdapterApp } from "../conformance.ts"
import { listening } from "./node-server.ts"

/**
 * One small program on every session library: `ours.ts` has it on this one. It signs in, reads, writes and signs out as the library's own manual says,
 * so what differs is the library.
 */

/** A request's session, in words of no library. */
export interface Held {
  user(): unknown
  read(key: string): unknown
  write(key: string, value: string): void
  signIn(user: string): unknown
  signOut(): unknown
}

/** What a request is answered with. */
export type Answer = { readonly text: string } | { readonly redirect: string }

export interface PeerApp extends AdapterApp {
  /** What its store was asked since they were last taken; a session that lives in the cookie has no store. */
  takeCalls(): string[]
  /** Lets writes take that long. */
  delayWrites(milliseconds: number): void
  /** The next request with `hold` waits in its handler, after it has read its session. */
  readonly gate: Gate
}

/** Stops one handler until it is let go. */
export class Gate {
  #reach: () => void = () => undefined
  #released: Promise<void> = Promise.resolve()

  close(): { readonly reached: Promise<void>; readonly release: () => void } {
    const reached = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    this.#reach = reached.resolve
    this.#released = released.promise
    return { reached: reached.promise, release: released.resolve }
  }

  async pass(): Promise<void> {
    this.#reach()
    await this.#released
  }
}

/** The program. `session` is not called where nothing needs it. */
export async function answer(url: string, session: () => Held, gate: Gate): Promise<Answer> {
  const { pathname, searchParams } = new URL(url, "http://localhost")
  switch (pathname) {
    case "/sign-in":
      await session().signIn(searchParams.get("user") ?? "ada")
      return { redirect: "/read" }
    case "/sign-out":
      await session().signOut()
      return { text: "signed out" }
    case "/set": {
      const held = session()
      await held.user()
      if (searchParams.has("hold")) await gate.pass()
      for (const key of ["a", "b"]) {
        const value = searchParams.get(key)
        if (value !== null) held.write(key, value)
      }
      return { redirect: "/read" }
    }
    case "/fill":
      session().write("a", "x".repeat(Number(searchParams.get("bytes"))))
      return { text: "filled" }
    case "/read": {
      const held = session()
      const [user, a, b] = [await held.user(), await held.read("a"), await held.read("b")]
      return { text: JSON.stringify({ user: user ?? null, a: a ?? null, b: b ?? null }) }
    }
    default:
      return { text: "untouched" }
  }
}

const SECRET = "a secret of 32 bytes or more, of the tests"
const require = createRequire(import.meta.url)

/** A store such as a database: what comes out is no longer what went in, but a copy of it. */
class Shelf {
  calls: string[] = []
  delay = 0
  readonly #records = new Map<string, string>()

  async get<T>(id: string): Promise<T | null> {
    this.calls.push("get")
    await sleep(1)
    const record = this.#records.get(id)
    return record === undefined ? null : (JSON.parse(record) as T)
  }

  async set(id: string, record: unknown): Promise<void> {
    this.calls.push("set")
    const text = JSON.stringify(record)
    await sleep(this.delay)
    this.#records.set(id, text)
  }

  /** Extends a record that is there. */
  async touch(): Promise<void> {
    this.calls.push("touch")
    await sleep(1)
  }

  async destroy(id: string): Promise<void> {
    this.calls.push("destroy")
    await sleep(1)
    this.#records.delete(id)
  }
}

function withShelf(app: AdapterApp, shelf: Shelf, gate: Gate): PeerApp {
  return {
    ...app,
    gate,
    takeCalls: () => shelf.calls.splice(0),
    delayWrites: (milliseconds) => void (shelf.delay = milliseconds),
  }
}

type Done = (error?: unknown, value?: unknown) => void

/** Their types would give every request of these tests their session. */
interface ExpressSessionModule {
  (options: object): (request: Request, response: Response, next: NextFunction) => void
  readonly Store: new () => object
}

interface ExpressSession {
  [key: string]: unknown
  destroy(done: (error?: unknown) => void): void
  save(done: (error?: unknown) => void): void
}

/** @param savesFirst whether it saves before it redirects, which it need not. */
export async function startExpressSession({
  savesFirst = false,
}: { readonly savesFirst?: boolean } = {}): Promise<PeerApp> {
  const session = require("express-session") as ExpressSessionModule
  const [shelf, gate] = [new Shelf(), new Gate()]
  class ShelfStore extends session.Store {
    get(id: string, done: Done): void {
      settle(shelf.get(id), done)
    }
    set(id: string, record: unknown, done: Done): void {
      settle(shelf.set(id, record), done)
    }
    touch(_id: string, _record: unknown, done: Done): void {
      settle(shelf.touch(), done)
    }
    destroy(id: string, done: Done): void {
      settle(shelf.destroy(id), done)
    }
  }
  const app = express()
  app.use(session({ secret: SECRET, store: new ShelfStore(), resave: false, saveUninitialized: false }))
  app.use((request: Request, response: Response, next: NextFunction) => {
    const held = (): Held => {
      const own = (request as unknown as { session: ExpressSession }).session
      return {
        ...plain(own),
        signOut: () => new Promise((resolve) => own.destroy(resolve)),
      }
    }
    answer(request.url, held, gate).then((reply) => {
      if (!("redirect" in reply)) response.send(reply.text)
      else if (!savesFirst) response.redirect(reply.redirect)
      else {
        const { session: own } = request as unknown as { session: ExpressSession }
        own.save(() => response.redirect(reply.redirect))
      }
    }, next)
  })
  return withShelf(await listening(createServer(app as Listener)), shelf, gate)
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void

function settle(work: Promise<unknown>, done: Done): void {
  work.then((value) => done(null, value), done)
}

/** What is a plain object to its users. */
function plain(own: Record<string, unknown>): Omit<Held, "signOut"> {
  return {
    user: () => own["user"],
    read: (key) => own[key],
    write: (key, value) => void (own[key] = value),
    signIn: (user) => void (own["user"] = user),
  }
}

export async function startFastifySession(settings: object = {}): Promise<PeerApp> {
  const [shelf, gate] = [new Shelf(), new Gate()]
  const store = {
    get: (id: string, done: Done) => settle(shelf.get(id), done),
    set: (id: string, record: unknown, done: Done) => settle(shelf.set(id, record), done),
    destroy: (id: string, done: Done) => settle(shelf.destroy(id), done),
  }
  const app = fastify({ forceCloseConnections: true })
  await app.register(cookies)
  await app.register(require("@fastify/session") as never, {
    ...settings,
    secret: SECRET,
    store,
    cookie: { secure: false },
  })
  app.all("/*", async (request: FastifyRequest, reply: FastifyReply) => {
    const held = (): Held => {
      const own = (request as unknown as { session: ExpressSession }).session
      return { ...plain(own), signOut: () => (own.destroy as () => Promise<void>)() }
    }
    const result = await answer(request.url, held, gate)
    return "redirect" in result ? reply.redirect(result.redirect) : reply.send(result.text)
  })
  const url = await app.listen({ port: 0, host: "127.0.0.1" })
  return withShelf({ url, close: () => app.close() }, shelf, gate)
}

/** With a store, or with the session in the cookie. */
export async function startHonoSessions(
  where: "store" | "cookie",
  settings: { readonly autoExtendExpiration?: boolean } = {},
): Promise<PeerApp> {
  const [shelf, gate] = [new Shelf(), new Gate()]
  const store = {
    getSessionById: (id: string) => shelf.get<SessionData>(id),
    createSession: (id: string, record: SessionData) => shelf.set(id, record),
    persistSessionData: (id: string, record: SessionData) => shelf.set(id, record),
    deleteSession: (id: string) => shelf.destroy(id),
  }
  const app = new Hono<{ Variables: { session: HonoSession<Record<string, string>> } }>()
  app.use(
    "*",
    sessionMiddleware({
      ...settings,
      store: where === "store" ? store : new CookieStore(),
      encryptionKey: SECRET,
      expireAfterSeconds: 3600,
      cookieOptions: { path: "/", httpOnly: true },
    }),
  )
  app.all("*", async (c) => {
    const held = (): Held => {
      const own = c.get("session")
      return {
        user: () => own.get("user"),
        read: (key) => own.get(key),
        write: (key, value) => own.set(key, value),
        signIn: (user) => own.set("user", user),
        signOut: () => own.deleteSession(),
      }
    }
    const reply = await answer(c.req.url, held, gate)
    return "redirect" in reply ? c.redirect(reply.redirect) : c.text(reply.text)
  })
  const server = createAdaptorServer({ fetch: app.fetch })
  return withShelf(await listening(server as ReturnType<typeof createServer>), shelf, gate)
}

export async function startKoaSession(where: "store" | "cookie"): Promise<PeerApp> {
  const [shelf, gate] = [new Shelf(), new Gate()]
  const store = {
    get: (id: string) => shelf.get<object>(id),
    set: (id: string, record: object) => shelf.set(id, record),
    destroy: (id: string) => shelf.destroy(id),
  }
  const app = new Koa()
  app.keys = [SECRET]
  app.use(koaSession(where === "store" ? { store } : {}, app))
  app.use(async (context) => {
    const held = (): Held => ({
      ...plain(context["session"] as Record<string, unknown>),
      signOut: () => void (context["session"] = null),
    })
    const reply = await answer(context.url, held, gate)
    if ("redirect" in reply) context.redirect(reply.redirect)
    else context.body = reply.text
  })
  return withShelf(await listening(createServer(app.callback() as Listener)), shelf, gate)
}

export async function startIronSession(): Promise<PeerApp> {
  const gate = new Gate()
  const options = { password: SECRET, cookieName: "session", cookieOptions: { secure: false } }
  const server = createServer((request, response) => {
    const handle = async (): Promise<void> => {
      const session = await getIronSession<Record<string, string>>(request, response, options)
      const held = { ...plain(session), signOut: () => session.destroy() }
      const reply = await answer(request.url ?? "/", () => held, gate)
      if (/^\/(?:sign-in|set|fill)\b/.test(request.url ?? "")) await session.save()
      if ("redirect" in reply) response.writeHead(302, { Location: reply.redirect }).end()
      else response.end(reply.text)
    }
    handle().catch((error: unknown) => response.writeHead(500).end(String(error)))
  })
  return withShelf(await listening(server), new Shelf(), gate)
}

import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createAdaptorServer } from "@hono/node-server"
import { createSessions, type Session, type Sessions } from "coatcheck"
import { expressSessions, sessionErrors } from "coatcheck/express"
import { fastifySessions } from "coatcheck/fastify"
import { honoSessions } from "coatcheck/hono"
import { koaSessions } from "coatcheck/koa"
import { memoryStore } from "coatcheck/memory"
import { withSession } from "coatcheck/node"
import { type SpyStore, spyStore } from "coatcheck/testing"
import express, { type NextFunction, type Request, type Response } from "express"
import fastify from "fastify"
import { Hono } from "hono"
import Koa from "koa"
import type { AdapterApp } from "../conformance.ts"
import { listening } from "./node-server.ts"
import { answer, Gate, type Held, type PeerApp } from "./peers.ts"

/** The program of `peers.ts`, on this library and the frameworks of the others. */

interface State {
  a: string
  b: string
}

interface Own {
  readonly sessions: Sessions<State>
  readonly store: SpyStore
  readonly gate: Gate
}

function own(): Own {
  const store = spyStore(memoryStore())
  const keys = ["a secret of 32 bytes or more, of the tests"]
  return { store, gate: new Gate(), sessions: createSessions<State>({ keys, store }) }
}

function held(session: Session<State>): Held {
  return {
    user: () => session.userId(),
    read: (key) => session.get(key as "a"),
    write: (key, value) => session.set(key as "a", value),
    signIn: (user) => session.signIn(user),
    signOut: () => session.signOut(),
  }
}

function asPeer(app: AdapterApp, { store, gate }: Own): PeerApp {
  return {
    ...app,
    gate,
    takeCalls() {
      const calls = store.operations()
      store.reset()
      return calls
    },
    delayWrites(milliseconds) {
      for (const name of ["create", "update", "changeId"] as const) store.delay(name, milliseconds)
    },
  }
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void

export async function startOnExpress(): Promise<PeerApp> {
  const mine = own()
  const { middleware, getSession } = expressSessions(mine.sessions)
  const app = express()
  app.use(middleware)
  app.use((request: Request, response: Response, next: NextFunction) => {
    answer(request.url, () => held(getSession(request)), mine.gate).then((reply) => {
      if ("redirect" in reply) response.redirect(reply.redirect)
      else response.send(reply.text)
    }, next)
  })
  app.use(sessionErrors)
  return asPeer(await listening(createServer(app as Listener)), mine)
}

export async function startOnFastify(): Promise<PeerApp> {
  const mine = own()
  const { plugin, getSession } = fastifySessions(mine.sessions)
  const app = fastify({ forceCloseConnections: true })
  await app.register(plugin)
  app.all("/*", async (request, reply) => {
    const result = await answer(request.url, () => held(getSession(request)), mine.gate)
    return "redirect" in result ? reply.redirect(result.redirect) : reply.send(result.text)
  })
  const url = await app.listen({ port: 0, host: "127.0.0.1" })
  return asPeer({ url, close: () => app.close() }, mine)
}

export async function startOnHono(): Promise<PeerApp> {
  const mine = own()
  const { middleware } = honoSessions(mine.sessions)
  const app = new Hono().use(middleware).all("*", async (c) => {
    const reply = await answer(c.req.url, () => held(c.var.session), mine.gate)
    return "redirect" in reply ? c.redirect(reply.redirect) : c.text(reply.text)
  })
  const server = createAdaptorServer({ fetch: app.fetch })
  return asPeer(await listening(server as ReturnType<typeof createServer>), mine)
}

export async function startOnKoa(): Promise<PeerApp> {
  const mine = own()
  const { middleware, getSession } = koaSessions(mine.sessions)
  const app = new Koa()
  app.use(middleware)
  app.use(async (context) => {
    const reply = await answer(context.url, () => held(getSession(context)), mine.gate)
    if ("redirect" in reply) context.redirect(reply.redirect)
    else context.body = reply.text
  })
  return asPeer(await listening(createServer(app.callback() as Listener)), mine)
}

export async function startOnNode(): Promise<PeerApp> {
  const mine = own()
  const server = createServer(
    withSession(mine.sessions, async (request, response, session) => {
      const reply = await answer(request.url ?? "/", () => held(session), mine.gate)
      if ("redirect" in reply) response.writeHead(302, { Location: reply.redirect }).end()
      else response.end(reply.text)
    }),
  )
  return asPeer(await listening(server), mine)
}

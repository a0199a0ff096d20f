import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import cookies from "@fastify/cookie"
import { createAdaptorServer } from "@hono/node-server"
import { createSessions, type Sessions } from "coatcheck"
import { fastifySessions } from "coatcheck/fastify"
import { honoSessions } from "coatcheck/hono"
import { koaSessions } from "coatcheck/koa"
import fastify from "fastify"
import { Hono } from "hono"
import { MemoryStore, type Session, sessionMiddleware } from "hono-sessions"
import Koa from "koa"
import koaSession from "koa-session"
import type { AdapterApp } from "../conformance.ts"
import { listening } from "./node-server.ts"

/** Applications that have the sessions of another library and ours: POST writes to both, GET tells what is in both. */

const SECRET = "a secret of 32 bytes or more, of the tests"
const require = createRequire(import.meta.url)

const own = (): Sessions<{ a: string }> => createSessions({ keys: [SECRET] })

export async function startFastifyWithBoth(): Promise<AdapterApp> {
  const { plugin, getSession } = fastifySessions(own(), { property: "coat" })
  const app = fastify({ forceCloseConnections: true })
  await app.register(cookies)
  await app.register(require("@fastify/session") as never, { secret: SECRET, cookie: { secure: false } })
  await app.register(plugin)
  app.all("/", async (request) => {
    const old = (request as unknown as { session: { a?: string } }).session
    if (request.method === "POST") {
      old.a = "old"
      getSession(request).set("a", "new")
    }
    return [old.a, await getSession(request).get("a")]
  })
  const url = await app.listen({ port: 0, host: "127.0.0.1" })
  return { url, close: () => app.close() }
}

export async function startHonoWithBoth(): Promise<AdapterApp> {
  const { middleware } = honoSessions(own(), { property: "coat" })
  const app = new Hono<{ Variables: { session: Session<{ a: string }> } }>()
    .use(sessionMiddleware({ store: new MemoryStore() }))
    .use(middleware)
    .all("/", async (c) => {
      if (c.req.method === "POST") {
        c.var.session.set("a", "old")
        c.var.coat.set("a", "new")
      }
      return c.json([c.var.session.get("a"), await c.var.coat.get("a")])
    })
  return listening(createAdaptorServer({ fetch: app.fetch }) as ReturnType<typeof createServer>)
}

export async function startKoaWithBoth(): Promise<AdapterApp> {
  const { middleware, getSession } = koaSessions(own(), { property: "coat" })
  const app = new Koa()
  app.keys = [SECRET]
  app.use(koaSession({}, app))
  app.use(middleware)
  app.use(async (ctx) => {
    const old = (ctx as unknown as { session: { a?: string } }).session
    if (ctx.method === "POST") {
      old.a = "old"
      getSession(ctx).set("a", "new")
    }
    ctx.body = [old.a, await getSession(ctx).get("a")]
  })
  return listening(
    createServer(app.callback() as (request: IncomingMessage, response: ServerResponse) => void),
  )
}

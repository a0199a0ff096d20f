import { createServer, type RequestListener } from "node:http"
import { Readable } from "node:stream"
import { koaSessions, sessionErrors } from "coatcheck/koa"
import Koa from "koa"
import type { AdapterApp } from "../conformance.ts"
import { CSRF, play, type Reply, type SceneSession, type Stage } from "../scenes.ts"
import { formBody } from "./koa-form.ts"
import { listening } from "./node-server.ts"

/** With what is to stand before the sessions, and between them and the handlers. */
export interface KoaLayers {
  readonly before?: Koa.Middleware
  readonly after?: Koa.Middleware
}

export async function startKoa(stage: Stage, { before, after }: KoaLayers = {}): Promise<AdapterApp> {
  const { middleware, getSession } = koaSessions(stage.sessions, { csrf: CSRF })
  const admins = koaSessions(stage.admins, { property: "adminSession" })
  const app = new Koa()
  app.silent = true
  app.use(sessionErrors)
  if (before !== undefined) app.use(before)
  // For the token of a form: `csrf` alone reads no body.
  app.use(formBody)
  app.use(middleware)
  if (after !== undefined) app.use(after)
  app.use(mount("/admin", compose(admins.middleware, scenes(stage, admins.getSession))))
  const sub = new Koa()
  sub.use(scenes(stage, getSession))
  app.use(mount("/sub", compose(...sub.middleware)))
  app.use(scenes(stage, getSession))
  return listening(createServer(app.callback() as RequestListener))
}

/** What packages for it do: the middleware of another application, for the paths below its own. */
export function mount(path: string, inner: Koa.Middleware): Koa.Middleware {
  return (ctx, next) => (ctx.path.startsWith(`${path}/`) ? inner(ctx, next) : next())
}

export function compose(...layers: Koa.Middleware[]): Koa.Middleware {
  return (ctx, next) => {
    const run = (index: number): Promise<unknown> => {
      const layer = layers[index]
      return layer === undefined ? next() : (layer(ctx, () => run(index + 1)) as Promise<unknown>)
    }
    return run(0)
  }
}

function scenes(stage: Stage, sessionOf: (ctx: Koa.Context) => SceneSession): Koa.Middleware {
  return async (ctx, next) => {
    const reply = await play(sessionOf(ctx), { method: ctx.method, url: ctx.originalUrl }, stage)
    await send(reply, ctx, next)
  }
}

async function send(reply: Reply, ctx: Koa.Context, next: Koa.Next): Promise<void> {
  if ("notFound" in reply) return next()
  if ("redirect" in reply) {
    ctx.status = 303
    return ctx.redirect(reply.redirect)
  }
  if ("stream" in reply) {
    ctx.set(reply.headers)
    ctx.body = Readable.from(reply.stream)
    return
  }
  ctx.set(reply.headers ?? {})
  ctx.status = reply.status ?? 200
  if (ctx.status !== 204 && ctx.status !== 304) ctx.body = reply.text
}

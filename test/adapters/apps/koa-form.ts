import { text } from "node:stream/consumers"
import type Koa from "koa"

/** What every body parser for Koa does with a form. */
export const formBody: Koa.Middleware = async (ctx, next) => {
  if (ctx.is("urlencoded")) {
    const form = new URLSearchParams(await text(ctx.req))
    ;(ctx.request as { body?: unknown }).body = Object.fromEntries(form)
  }
  return next()
}

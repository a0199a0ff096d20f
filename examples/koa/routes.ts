import { text } from "node:stream/consumers"
import type Koa from "koa"
import type { SessionContext } from "./sessions.ts"

/** As much of a router and of a body parser as this shop needs. A real one takes a package for each. */

export type Handler = Koa.Middleware<Koa.DefaultState, SessionContext>
export type Context = Parameters<Handler>[0]

/** @param table `"POST /cart"` to what answers it, guards first */
export function routes(table: Readonly<Record<string, readonly Handler[]>>): Handler {
  return (ctx, next) => {
    const method = ctx.method === "HEAD" ? "GET" : ctx.method
    const handlers = table[`${method} ${ctx.path}`] ?? []
    const run = (index: number): Promise<unknown> => {
      const handler = handlers[index]
      return handler === undefined ? next() : Promise.resolve(handler(ctx, () => run(index + 1)))
    }
    return run(0)
  }
}

/** A field of the form that was sent. */
export async function field(ctx: Context, name: string): Promise<string> {
  ctx.state.form ??= new URLSearchParams(ctx.is("urlencoded") === false ? "" : await text(ctx.req))
  return ((ctx.state.form as URLSearchParams).get(name) ?? "").trim()
}

/** To a page, after a form. */
export function seeOther(ctx: Context, path: string): void {
  ctx.status = 303
  ctx.redirect(path)
}

import type { MiddlewareHandler } from "astro"

/** Tells what a second run of the middleware has in common with the first, as far as the adapter relies on it. */
export const internals: MiddlewareHandler = (context, next) => {
  const { locals, request, url } = context
  if (url.pathname !== "/pages/internals") return next()
  const state: unknown = Reflect.get(context, Symbol.for("astro.fetchState"))
  const { firstRun } = locals
  if (firstRun === undefined) {
    locals.firstRun = { request, state }
    request.headers.set("First-Run", "yes")
    return url.searchParams.has("rewrite")
      ? context.rewrite("/pages/internals")
      : new Response(null, { status: 404 })
  }
  return Response.json({
    hasState: typeof state === "object" && state !== null,
    sameState: state === firstRun.state,
    sameRequest: request === firstRun.request,
    hasHeader: request.headers.has("First-Run"),
  })
}

import type { MiddlewareHandler } from "astro"
import { defineMiddleware, sequence } from "astro:middleware"
import { sessionErrors } from "coatcheck/astro"
import { internals } from "./internals.ts"
import { admins, onRequest as open } from "./sessions.ts"

/** Answers before the sessions are opened, so that they are for the page for 404 alone. */
const gone: MiddlewareHandler = defineMiddleware((context, next) =>
  context.url.pathname === "/pages/gone" && context.routePattern !== "/404"
    ? new Response(null, { status: 404 })
    : next(),
)

const twice: MiddlewareHandler = defineMiddleware((context, next) =>
  context.url.pathname === "/pages/twice" ? open(context, next) : next(),
)

const rewriting: MiddlewareHandler = defineMiddleware((context, next) =>
  context.url.pathname === "/pages/rewritten-by-next" ? next("/pages/target") : next(),
)

/** Tells when the page's response is there, and its head about to be sent. */
const probe: MiddlewareHandler = defineMiddleware(async ({ locals }, next) => {
  locals.order ??= []
  const response = await next()
  locals.order.push("response")
  return response
})

/** Without the mapping of errors, to see Astro's own way. */
const errors: MiddlewareHandler = (context, next) =>
  context.url.searchParams.has("own-way") ? next() : sessionErrors(context, next)

export const onRequest: MiddlewareHandler = sequence(
  internals,
  gone,
  errors,
  open,
  admins.onRequest,
  twice,
  rewriting,
  probe,
)

import type { APIRoute } from "astro"

/** A response whose headers cannot be changed. */
export const GET: APIRoute = ({ locals, url }) => {
  locals.session.set("note", "immutable")
  return Response.redirect(new URL("/read", url), 303)
}

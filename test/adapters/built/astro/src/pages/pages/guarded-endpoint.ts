import type { APIRoute } from "astro"
import { requireFresh } from "../../sessions.ts"

export const GET: APIRoute = async (context) =>
  Response.json(await requireFresh(context, { within: "5m", redirectTo: "/read" }))

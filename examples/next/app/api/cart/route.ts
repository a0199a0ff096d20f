import { withSession } from "../../../sessions"

export const GET = withSession(async (session) => Response.json((await session.get("cart")) ?? {}))

export const DELETE = withSession((session) => {
  session.remove("cart")
  return new Response(null, { status: 204 })
})

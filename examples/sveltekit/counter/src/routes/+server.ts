import { type RequestEvent, text } from "@sveltejs/kit"
import { getSession } from "../hooks.server.ts"

export const GET = async (event: RequestEvent): Promise<Response> => {
  const session = getSession(event)
  const visits = ((await session.get("visits")) ?? 0) + 1
  session.set("visits", visits)
  return text(`Visits: ${visits}`)
}

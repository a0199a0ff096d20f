import { text, type RequestHandler } from "@sveltejs/kit"
import { shop } from "../../hooks.server.ts"

/** Asks another route of this application, and uses its own session before or after that. */
export const GET: RequestHandler = async (event) => {
  const { searchParams } = event.url
  const session = shop.getSession(event)
  if (searchParams.has("read")) await session.get("note")
  if (searchParams.has("before")) session.set("note", "outer")
  if (searchParams.has("saved")) await session.save()
  const inner = await event.fetch(searchParams.get("path") as string, {
    method: searchParams.get("method") ?? "GET",
    credentials: searchParams.has("credentials") ? "omit" : "same-origin",
  })
  if (searchParams.has("after")) session.set("note", "outer")
  return text(await inner.text())
}

import { Readable } from "node:stream"
import { createReadableStreamFromReadable } from "@react-router/node"
import type { ActionFunctionArgs } from "react-router"
import { play, type Reply, type SceneSession } from "../../../scenes.ts"

/** Plays the scene of a request, and answers with what it gets. */
export async function answer({ request }: ActionFunctionArgs, session: SceneSession): Promise<Response> {
  const { pathname, search } = new URL(request.url)
  const url = `${pathname.replace(/^\/plain(?=\/)/, "")}${search}`
  return responseTo(await play(session, { method: request.method, url }))
}

function responseTo(reply: Reply): Response {
  if ("notFound" in reply) throw new Response("Not found", { status: 404 })
  if ("redirect" in reply) return new Response(null, { status: 303, headers: { Location: reply.redirect } })
  if ("stream" in reply) {
    const body = createReadableStreamFromReadable(Readable.from(reply.stream))
    return new Response(body, { headers: reply.headers })
  }
  const { status = 200, headers, text } = reply
  return new Response(text === "" ? null : text, {
    status,
    ...(headers === undefined ? undefined : { headers }),
  })
}

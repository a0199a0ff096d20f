import { Readable } from "node:stream"
import type { APIRoute } from "astro"
import { play, type Reply, type SceneSession } from "../../../scenes.ts"

/** An endpoint that plays the scenes. */
export function scenes(sessionOf: (context: Parameters<APIRoute>[0]) => SceneSession): APIRoute {
  return async (context) => {
    const { request, url } = context
    const reply = await play(sessionOf(context), { method: request.method, url: url.pathname + url.search })
    return answer(reply, context)
  }
}

function answer(reply: Reply, context: Parameters<APIRoute>[0]): Response | Promise<Response> {
  if ("notFound" in reply) return context.rewrite("/404")
  if ("redirect" in reply) return context.redirect(reply.redirect, 303)
  if ("stream" in reply) {
    const body = Readable.toWeb(Readable.from(reply.stream).map((text: string) => Buffer.from(text)))
    return new Response(body as ReadableStream, { headers: reply.headers })
  }
  const { status = 200, headers = {} } = reply
  return new Response(status === 204 || status === 304 ? null : reply.text, { status, headers })
}

import { error, redirect, type RequestHandler } from "@sveltejs/kit"
import { play, type Reply } from "../../../../../scenes.ts"
import { admins, shop } from "../../hooks.server.ts"

const scene: RequestHandler = async (event) => {
  const { pathname, search } = event.url
  const { getSession } = pathname.startsWith("/admin/") ? admins : shop
  return answer(await play(getSession(event), { method: event.request.method, url: pathname + search }))
}

export { scene as fallback, scene as GET }

function answer(reply: Reply): Response {
  if ("notFound" in reply) error(404)
  if ("redirect" in reply) redirect(303, reply.redirect)
  if ("stream" in reply) return new Response(encoded(reply.stream), { headers: reply.headers })
  const { status = 200, headers = {}, text } = reply
  return new Response(status === 204 || status === 304 ? null : text, { status, headers })
}

function encoded(pieces: AsyncIterable<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const iterator = pieces[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next()
      if (done === true) controller.close()
      else controller.enqueue(encoder.encode(value))
    },
  })
}

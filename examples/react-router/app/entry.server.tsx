import { PassThrough } from "node:stream"
import { createReadableStreamFromReadable } from "@react-router/node"
import { noteSessionError } from "coatcheck/react-router"
import { renderToPipeableStream } from "react-dom/server"
import { type EntryContext, type HandleErrorFunction, ServerRouter } from "react-router"

export const streamTimeout = 5_000

/** Told of every error, those of loaders and of the store included. */
export const handleError: HandleErrorFunction = (error, { request, context }) => {
  noteSessionError(error, context)
  if (!request.signal.aborted) console.error(error)
}

export default function handleRequest(
  request: Request,
  status: number,
  headers: Headers,
  context: EntryContext,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { pipe, abort } = renderToPipeableStream(<ServerRouter context={context} url={request.url} />, {
      onShellReady() {
        const body = new PassThrough()
        headers.set("Content-Type", "text/html")
        resolve(new Response(createReadableStreamFromReadable(body), { status, headers }))
        pipe(body)
      },
      onShellError: reject,
      onError: (error) => console.error(error),
    })
    setTimeout(abort, streamTimeout + 1000).unref()
  })
}

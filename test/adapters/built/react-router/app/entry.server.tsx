import { PassThrough } from "node:stream"
import { createReadableStreamFromReadable } from "@react-router/node"
import { noteSessionError } from "coatcheck/react-router"
import { renderToPipeableStream } from "react-dom/server"
import { type EntryContext, type HandleErrorFunction, ServerRouter } from "react-router"
import { told } from "./told.server.ts"

export default function handleRequest(
  request: Request,
  status: number,
  headers: Headers,
  context: EntryContext,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { pipe } = renderToPipeableStream(<ServerRouter context={context} url={request.url} />, {
      onShellReady() {
        const body = new PassThrough()
        headers.set("Content-Type", "text/html")
        resolve(new Response(createReadableStreamFromReadable(body), { status, headers }))
        pipe(body)
      },
      onShellError: reject,
      onError: () => undefined,
    })
  })
}

export const handleError: HandleErrorFunction = (error, { context }) => {
  noteSessionError(error, context)
  told.push(String(error))
}

import { createReadStream, statSync } from "node:fs"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import { createRequestListener } from "@react-router/node"
import type { ServerBuild } from "react-router"

/** What "react-router build" has made. */
const { href: built } = new URL("build/server/index.js", import.meta.url)
const client = fileURLToPath(new URL("build/client", import.meta.url))

const pages = createRequestListener({
  build: (await import(built)) as ServerBuild,
  mode: process.env.NODE_ENV ?? "production",
})

/** Assets need no session, and so do not go through React Router. */
function sendAsset(pathname: string, response: ServerResponse): void {
  const file = `${client}${pathname}`
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) {
    response.writeHead(404).end()
    return
  }
  const type = extname(file) === ".css" ? "text/css" : "text/javascript"
  response.writeHead(200, { "Content-Type": type, "Cache-Control": "public, max-age=31536000, immutable" })
  createReadStream(file).pipe(response)
}

const server = createServer((request, response) => {
  // The URL parser leaves no ".." in a path.
  const { pathname } = new URL(request.url ?? "/", "http://localhost")
  if (pathname.startsWith("/assets/")) sendAsset(pathname, response)
  else pages(request, response)
})

server.listen(Number(process.env.PORT ?? 3000), "localhost", () => {
  const { port } = server.address() as AddressInfo
  console.log(`Open http://localhost:${port}`)
})

import { createServer } from "node:http"
import { handler } from "./dist/server/entry.mjs"

/** The same object for every request: a mistake, which must not mix visitors up. */
const shared = process.env.SHARED_LOCALS === undefined ? undefined : {}

const server = createServer((request, response) => {
  void handler(request, response, () => response.writeHead(404).end("No route"), shared)
})
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`))
process.once("SIGTERM", () => process.exit())

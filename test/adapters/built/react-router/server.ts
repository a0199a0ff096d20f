import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { createRequestListener } from "@react-router/node"
import type { ServerBuild } from "react-router"

// Where `react-router build` has put it; it is made by the test.
const built: string = new URL("dist/server/index.js", import.meta.url).href
const build = (await import(built)) as ServerBuild

const server = createServer(createRequestListener({ build, mode: "production" }))
server.listen(0, "127.0.0.1", () => {
  console.log(`It listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})

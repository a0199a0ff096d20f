import { serve } from "h3"
import { stage } from "../scenes.ts"
import { h3App } from "./h3.ts"

/** Serves the application with what h3 has for the runtime, on a free port. */

const server = serve(h3App(stage), { hostname: "127.0.0.1", port: 0, silent: true })
await server.ready()

console.log(`It listens at ${server.url}`)

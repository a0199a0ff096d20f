import { serve } from "h3"
import { app } from "./app.ts"

// Only this machine can reach it, for the cookie is sent without https.
const server = serve(app, { port: Number(process.env["PORT"] ?? 3000), hostname: "127.0.0.1", silent: true })
await server.ready()

console.log(`The shop is at ${server.url?.replace("127.0.0.1", "localhost")}`)

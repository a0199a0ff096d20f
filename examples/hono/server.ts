import { serve } from "@hono/node-server"
import app from "./app.ts"

// Only this machine can reach it, for the cookie is sent without https.
const where = { port: Number(process.env["PORT"] ?? 3000), hostname: "127.0.0.1" }
serve({ fetch: app.fetch, ...where }, ({ port }) => console.log(`The shop is at http://localhost:${port}`))

import { fileURLToPath } from "node:url"
import { createDemo } from "./demo.ts"
import { sessionKey } from "./key.ts"

const database = process.env["DEMO_DB"] ?? fileURLToPath(new URL("demo.db", import.meta.url))
const port = Number(process.env["PORT"] ?? 3000)

const demo = await createDemo({ database, key: process.env["SESSION_KEY"] ?? sessionKey(`${database}.key`) })

demo.server.on("error", (error) => {
  console.error(`The demo cannot listen on port ${port}: ${error.message}. Another one: PORT=3001 npm start`)
  process.exitCode = 1
  demo.close()
})
// Only this machine can reach it, for the cookie is sent without https.
demo.server.listen(port, "127.0.0.1", () => console.log(`The demo is at http://localhost:${port}`))

process.once("SIGINT", () => demo.close())
process.once("SIGTERM", () => demo.close())

import { stage } from "../scenes.ts"
import { honoApp } from "./hono.ts"

/** Serves the application with what the runtime has for it, on a free port. */

interface Runtime {
  readonly Bun?: { serve(options: object): { readonly port: number } }
  readonly Deno?: { serve(options: object, fetch: unknown): { readonly addr: { readonly port: number } } }
}

const { fetch } = honoApp(stage)
const where = { hostname: "127.0.0.1", port: 0 }
const { Bun, Deno } = globalThis as Runtime
const port = Bun?.serve({ ...where, fetch }).port ?? Deno?.serve(where, fetch).addr.port

console.log(`It listens at http://127.0.0.1:${port}`)

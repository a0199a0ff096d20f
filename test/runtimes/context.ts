import { sessionContext } from "coatcheck/context"
import { createApp, sessions, visitAll } from "./context-app.ts"

/** Serves the app in whatever runtime runs this file, visits it over HTTP, and prints what was seen. */

const context = sessionContext(sessions)
const app = createApp(context)
const within = context.handle((request) => app.within(request, () => undefined))
const answer = async (request: Request): Promise<Response> =>
  request.url.endsWith("/outside") ? app.without() : within(request)

interface Bun {
  serve(options: object): { readonly port: number; stop(force: boolean): Promise<void> }
}

interface Deno {
  serve(
    options: object,
    handler: typeof answer,
  ): { readonly addr: { port: number }; shutdown(): Promise<void> }
}

const { Bun, Deno } = globalThis as { Bun?: Bun; Deno?: Deno }
const options = { hostname: "127.0.0.1", port: 0 }

function serve(): { readonly port: number; stop(): Promise<void> } {
  if (Bun !== undefined) {
    const server = Bun.serve({ ...options, fetch: answer })
    return { port: server.port, stop: () => server.stop(true) }
  }
  if (Deno === undefined) throw new Error("This runtime serves no Request.")
  const server = Deno.serve({ ...options, onListen: () => undefined }, answer)
  return { port: server.addr.port, stop: () => server.shutdown() }
}

const server = serve()
const findings = await visitAll(`http://127.0.0.1:${server.port}`)
await server.stop()
const { stdout } = (await import("node:process")).default
stdout.write(`${JSON.stringify(findings)}\n`)

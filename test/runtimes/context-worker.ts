import { env as bindings } from "cloudflare:workers"
import { createSessions, type Sessions, type SessionStore } from "coatcheck"
import { workerSessions } from "coatcheck/cloudflare"
import { memoryStore } from "coatcheck/memory"
import { createApp, sessions } from "./context-app.ts"

const ready = workerSessions(sessions)
const app = createApp(ready)
const within = ready.handle((request, _env, ctx) => app.within(request, (work) => ctx.waitUntil(work)))

interface Env {
  SESSION_KEY: string
}

const sameKey: Sessions<{ count: number }> = createSessions({ keys: [bindings["SESSION_KEY"]] })

let made = 0
const fromEnv = workerSessions((env: Env) => {
  made += 1
  return createSessions<{ count: number }>({
    keys: [env.SESSION_KEY],
    store: slowStore(memoryStore()),
    storeTimeout: "1s",
    cookie: { secure: "auto", name: "count" },
  })
})

/** How many milliseconds the store takes to load a record. */
let slowness = 0

const counted = fromEnv.handle(async (request) => {
  const { searchParams } = new URL(request.url)
  slowness = Number(searchParams.get("slowness") ?? 0)
  const session = fromEnv.getSession()
  if (session.isNew) {
    session.set("count", 0)
    return new Response("0")
  }
  const count = await session.transact((state) => {
    const next = (state.get("count") ?? 0) + 1
    state.set("count", next)
    return next
  })
  return new Response(String(count))
})

const worker: object = {
  async fetch(request: Request, env: Env, ctx: Parameters<typeof within>[2]): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === "/outside") return app.without()
    if (pathname === "/count") return counted(request, env, ctx)
    if (pathname === "/made") {
      const isOne = fromEnv.sessionsOf(env) === fromEnv.sessionsOf(env)
      return Response.json({ made, isOne, opened: sameKey.open(null).isNew })
    }
    return within(request, env, ctx)
  },
}

export default worker

function slowStore(store: SessionStore): SessionStore {
  const load: SessionStore["load"] = async (id) => {
    if (slowness > 0) await new Promise((resolve) => setTimeout(resolve, slowness))
    return store.load(id)
  }
  return new Proxy(store, {
    get: (target, name) => {
      const member = name === "load" ? load : (Reflect.get(target, name) as unknown)
      return typeof member === "function" ? (member.bind(target) as unknown) : member
    },
  })
}

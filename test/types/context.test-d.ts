import { createSessions, type Session, type Sessions, type StandardSchema } from "coatcheck"
import { workerSessions, type WorkerContext } from "coatcheck/cloudflare"
import { sessionContext } from "coatcheck/context"
import { expectType, type Same } from "./expect-type.ts"

interface State {
  cart: string[]
}

interface ClientState {
  theme: "light" | "dark"
}

declare const sessions: Sessions<State, ClientState>

// What is taken out of the context knows the state, without a cast and without a declaration.

const { getSession, tryGetSession, run, handle } = sessionContext(sessions)

expectType<Same<ReturnType<typeof getSession>, Session<State, ClientState>>>()
expectType<Same<ReturnType<typeof tryGetSession>, Session<State, ClientState> | undefined>>()

export async function add(item: string): Promise<number> {
  const session = getSession()
  expectType<Same<typeof session, Session<State, ClientState>>>()
  const state = await session.load()
  state.set("cart", [...(state.get("cart") ?? []), item])
  // @ts-expect-error -- there is no such key
  state.set("kart", [])
  // @ts-expect-error -- a cart is a list
  state.set("cart", item)
  session.client.set("theme", "dark")
  return state.get("cart")?.length ?? 0
}

// `handle` hands over what a runtime gives, and the session.

const handler = handle(async (request, session, connection: { remote: string }, retries: number) => {
  expectType<Same<typeof request, Request>>()
  expectType<Same<typeof session, Session<State, ClientState>>>()
  return new Response(`${connection.remote} ${retries}`)
})
expectType<
  Same<
    typeof handler,
    (request: Request, connection: { remote: string }, retries: number) => Promise<Response>
  >
>()

// `run` gives back what its function does, and takes no session of others.

const count: Promise<number> = run(sessions.open(null), () => add("bowler"))
void count
declare const others: Sessions<{ views: number }>
// @ts-expect-error -- a session of another kind
run(others.open(null), () => undefined)

// A schema's input and output are told apart.

declare const text: StandardSchema<string, number>
const typed = sessionContext(createSessions({ schema: { server: { age: text } } }))
export async function age(): Promise<number | undefined> {
  typed.getSession().set("age", "42")
  // @ts-expect-error -- the output's type is not what is stored
  typed.getSession().set("age", 42)
  return typed.getSession().get("age")
}

// Sessions without a type hold any JSON.

sessionContext(createSessions()).getSession().set("anything", [1, null])

// A Worker's sessions are made from its bindings, whose type the factory says.

interface Env {
  SESSION_KEY: string
}

const worker = workerSessions((env: Env) => createSessions<State, ClientState>({ keys: [env.SESSION_KEY] }))
expectType<Same<ReturnType<typeof worker.getSession>, Session<State, ClientState>>>()
expectType<Same<ReturnType<typeof worker.tryGetSession>, Session<State, ClientState> | undefined>>()
expectType<Same<typeof worker.sessionsOf, (env: Env) => Sessions<State, ClientState>>>()

const fetch = worker.handle(async (request, env, ctx) => {
  expectType<Same<typeof request, Request>>()
  expectType<Same<typeof env, Env>>()
  ctx.waitUntil(worker.getSession().save())
  return new Response(env.SESSION_KEY)
})
// @ts-expect-error -- other bindings
void fetch(new Request("https://example.com"), {}, { waitUntil() {}, passThroughOnException() {} })

// Sessions that are there already go with any bindings.

const ready = workerSessions(sessions)
expectType<Same<ReturnType<typeof ready.getSession>, Session<State, ClientState>>>()
ready.handle((_request, env: Env) => new Response(env.SESSION_KEY))

// A router's fetch, which may be called without bindings, goes in as it is.

declare const router: {
  fetch(request: Request, env?: Env | object, ctx?: WorkerContext): Response | Promise<Response>
}
const routed = worker.handle(router.fetch)
export const served: (request: Request, env: Env, ctx: WorkerContext) => Promise<Response> = routed

// @ts-expect-error -- sessions are made at once
workerSessions(async (env: Env) => createSessions({ keys: [env.SESSION_KEY] }))

import { createSessions, type Session } from "coatcheck"
import { honoSessions, sessionErrors } from "coatcheck/hono"
import { type Context, type ErrorHandler, Hono } from "hono"
import { expectType, type Same } from "../types/expect-type.ts"

interface State {
  cart: string[]
}

interface ClientState {
  theme: "light" | "dark"
}

const sessions = createSessions<State, ClientState>()
type Own = Session<State, ClientState>

// Chained, `c.var.session` has its type without a declaration.

const { middleware, getSession, requireUser, requireFresh } = honoSessions(sessions)

new Hono()
  .use(middleware)
  .use(requireUser({ redirectTo: "/" }))
  .get("/", requireFresh({ within: "5m" }), async (c) => {
    expectType<Same<typeof c.var.session, Own>>()
    c.var.session.set("cart", ["bowler"])
    // @ts-expect-error -- there is no such key
    c.var.session.set("kart", [])
    return c.json(await c.var.session.get("cart"))
  })

// And `getSession` knows it whatever the context is.

export async function add(c: Context, item: string): Promise<void> {
  const session = getSession(c)
  expectType<Same<typeof session, Own>>()
  session.set("cart", [...((await session.get("cart")) ?? []), item])
}

// Two kinds of sessions, each under its name.

const admins = honoSessions(createSessions<{ level: number }>(), { property: "adminSession" })
new Hono()
  .use(middleware)
  .use(admins.middleware)
  .get("/", (c) => {
    expectType<Same<typeof c.var.session, Own>>()
    c.var.adminSession.set("level", 1)
    return c.text("set")
  })

// Without a property there is none to be typed, and that of somebody else stays.

const hidden = honoSessions(sessions, { property: false })
new Hono().use(hidden.middleware).get("/", (c) => {
  // @ts-expect-error -- there is no such variable
  return c.json(c.var.session)
})
new Hono<{ Variables: { session: string } }>().use(hidden.middleware).get("/", (c) => {
  expectType<Same<typeof c.var.session, string>>()
  return c.text(c.var.session)
})

// The error handler is one of the application's, whatever its environment.

new Hono().onError(sessionErrors((error, c) => c.text(error.message, 500)))
const bound = new Hono<{ Bindings: { NAME: string } }>()
bound.onError(sessionErrors((_error, c) => c.text(c.env.NAME, 500)))
const otherwise: ErrorHandler = (_error, c) => c.text("own", 500)
bound.onError(sessionErrors(otherwise))

// @ts-expect-error -- a duration is needed
requireFresh({ redirectTo: "/sign-in" })
// @ts-expect-error -- no name
honoSessions(sessions, { property: true })
// @ts-expect-error -- other errors need an answer
sessionErrors()

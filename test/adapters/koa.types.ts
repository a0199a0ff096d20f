import { createSessions, type Session, type SessionOf } from "coatcheck"
import { koaSessions, sessionErrors } from "coatcheck/koa"
import Koa from "koa"
import { expectType, type Same } from "../types/expect-type.ts"

interface State {
  cart: string[]
}

interface ClientState {
  theme: "light" | "dark"
}

const sessions = createSessions<State, ClientState>()
type Own = Session<State, ClientState>

// Chained, `ctx.session` has its type without a declaration.

const { middleware, getSession, requireUser, requireFresh } = koaSessions(sessions)

const chained = new Koa()
  .use(sessionErrors)
  .use(middleware)
  .use(requireUser({ redirectTo: "/" }))
chained.use(async (ctx, next) => {
  expectType<Same<typeof ctx.session, Own>>()
  ctx.session.set("cart", ["bowler"])
  // @ts-expect-error -- there is no such key
  ctx.session.set("kart", [])
  ctx.body = await ctx.session.get("cart")
  await next()
})

// So it has where an application declares it.

const declared = new Koa<Koa.DefaultState, { session: SessionOf<typeof sessions> }>()
declared.use(middleware)
declared.use(requireFresh({ within: "5m" }))
declared.use((ctx) => {
  expectType<Same<typeof ctx.session, Own>>()
})

// And `getSession` knows it whatever the context is.

export async function add(ctx: Koa.Context, item: string): Promise<void> {
  const session = getSession(ctx)
  expectType<Same<typeof session, Own>>()
  session.set("cart", [...((await session.get("cart")) ?? []), item])
}
new Koa().use(middleware).use((ctx) => add(ctx, "cap"))

// Two kinds of sessions, each under its name.

const admins = koaSessions(createSessions<{ level: number }>(), { property: "adminSession" })
new Koa()
  .use(middleware)
  .use(admins.middleware)
  .use(async (ctx) => {
    expectType<Same<typeof ctx.session, Own>>()
    ctx.adminSession.set("level", 1)
  })

// Without a property there is none to be typed.

const hidden = koaSessions(sessions, { property: false })
new Koa<Koa.DefaultState, { session: string }>().use(hidden.middleware).use((ctx) => {
  expectType<Same<typeof ctx.session, string>>()
})

import { createSessions, type Session } from "coatcheck"
import { h3Sessions, sessionErrors } from "coatcheck/h3"
import { defineHandler, defineMiddleware, H3, type H3Event, type HTTPError } from "h3"
import { expectType, type Same } from "../types/expect-type.ts"

interface State {
  cart: string[]
}

interface ClientState {
  theme: "light" | "dark"
}

const sessions = createSessions<State, ClientState>()
type Own = Session<State, ClientState>

const { middleware, getSession, requireUser, requireFresh } = h3Sessions(sessions)

// What h3 takes, wherever it takes middleware, and as its error hook.

const app = new H3({ onError: sessionErrors, silent: true })
app.use(middleware).use("/account/**", requireUser({ redirectTo: "/sign-in" }), { method: "GET" })
defineMiddleware(middleware)
export const own: H3 = new H3({
  onError: (error) => sessionErrors(error) ?? new Response("own", { status: error.status }),
})
expectType<Same<ReturnType<typeof sessionErrors>, HTTPError | undefined>>()

// `getSession` knows the state in every handler.

app.get(
  "/",
  async (event) => {
    const session = getSession(event)
    expectType<Same<typeof session, Own>>()
    session.set("cart", ["bowler"])
    // @ts-expect-error -- there is no such key
    session.set("kart", [])
    return session.get("cart")
  },
  { middleware: [requireFresh({ within: "5m" })] },
)
defineHandler((event) => getSession(event).client.get("theme"))

export async function add(event: H3Event, item: string): Promise<void> {
  const session = getSession(event)
  session.set("cart", [...((await session.get("cart")) ?? []), item])
}

// @ts-expect-error -- a duration is needed
requireFresh({ redirectTo: "/sign-in" })
// @ts-expect-error -- no name
h3Sessions(sessions, { property: true })

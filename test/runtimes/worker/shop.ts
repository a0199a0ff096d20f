import { createSessions, type Sessions } from "coatcheck"
import { d1Store } from "coatcheck/d1"
import type { Bindings } from "./bindings.ts"

/** A site with sessions in D1, as its users see it. */

interface State {
  visits: number
  cart: string[]
}

let made: Sessions<State> | undefined

export async function shop(request: Request, { DB }: Bindings): Promise<Response> {
  const store = d1Store(DB, { table: "shop" })
  const { pathname, searchParams } = new URL(request.url)
  if (pathname === "/shop/migrate") {
    await store.migrate()
    return new Response("ready")
  }
  // One for the whole isolate, though the requests of an isolate may not wait for each other's I/O.
  made ??= createSessions<State>({ store, keys: ["a key for tests, long enough: 32 bytes"] })
  const respond = made.handle(async (_request, session) => {
    switch (pathname) {
      case "/shop/login":
        session.signIn(searchParams.get("user") ?? "")
        session.set("visits", 0)
        return new Response("welcome")
      case "/shop/visit":
        await session.transact((state) => state.set("visits", (state.get("visits") ?? 0) + 1))
        return new Response("counted")
      case "/shop/put":
        session.set("cart", [searchParams.get("item") ?? ""])
        return new Response("put")
      case "/shop/logout":
        session.invalidate()
        return new Response("goodbye")
      default:
        return Response.json({
          user: await session.userId(),
          state: Object.fromEntries(await session.entries()),
        })
    }
  })
  return respond(request)
}

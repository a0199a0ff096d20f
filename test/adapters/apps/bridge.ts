import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import { createSessions, type SessionOf } from "coatcheck"
import { expressSessions } from "coatcheck/express"
import express, { type NextFunction, type Request as ExpressRequest, type Response } from "express"
import type { AdapterApp } from "../conformance.ts"
import { listening } from "./node-server.ts"

/** An application on its way from express-session to this library, with the bridge that `docs/migrating.md` shows. */

/** Its types would give every request of these tests its session. */
const expressSession = createRequire(import.meta.url)("express-session") as (
  options: object,
) => (request: ExpressRequest, response: Response, next: NextFunction) => void

interface OldSession {
  user?: string | undefined
  cart?: string[] | undefined
  destroy(done: (error?: unknown) => void): void
}

type Request = ExpressRequest & { session: OldSession }

const sessions = createSessions<{ cart: string[] }>({
  keys: ["a secret of 32 bytes or more, of the tests"],
})
const { middleware, getSession } = expressSessions(sessions, { property: false })

/** Mount it after both. */
export async function bridge(request: Request, _response: Response, next: NextFunction): Promise<void> {
  const { user, cart } = request.session
  if (user === undefined) return next()
  const session = getSession(request)
  if ((await session.userId()) === null) {
    session.signIn(user)
    if (cart !== undefined) session.set("cart", cart)
    await session.save()
  }
  // Not before the new one is stored. If the old one stayed, it would sign in again who has signed out.
  request.session.destroy(next)
}

/** `/old/sign-in` is as it was before, everything else as it will be. */
export async function startBridge(): Promise<AdapterApp> {
  const app = express()
  app.use(expressSession({ secret: "the old secret", resave: false, saveUninitialized: false }))
  app.post("/old/sign-in", (request, response) => {
    const old = (request as unknown as Request).session
    Object.assign(old, { user: "ada", cart: ["bowler"] })
    response.send("signed in")
  })
  app.use(middleware)
  app.use((request, response, next) => void bridge(request as unknown as Request, response, next).catch(next))
  const own = (request: ExpressRequest): SessionOf<typeof sessions> => getSession(request)
  app.get("/read", async (request, response) => {
    const [user, cart] = [await own(request).userId(), (await own(request).get("cart")) ?? null]
    response.json({ user, cart })
  })
  app.post("/sign-out", (request, response) => {
    own(request).signOut()
    response.send("signed out")
  })
  return listening(createServer(app as (request: IncomingMessage, response: ServerResponse) => void))
}

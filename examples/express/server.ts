import type { AddressInfo } from "node:net"
import { SessionEndedError } from "coatcheck"
import { sessionErrors } from "coatcheck/express"
import express, { type NextFunction, type Request, type Response } from "express"
import { accountPage, homePage, passwordPage, products, signInPage } from "../shop/pages.ts"
import { middleware, requireFresh, requireUser, sessions } from "./sessions.ts"
import { changePassword, checkPassword } from "../shop/users.ts"

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)
const ENDED = "This browser was signed out from another one. Sign in to go on."

const app = express()

// The session is not touched here, so this costs no store call and sets no cookie, wherever it stands.
app.get("/health", (_request, response) => void response.send("fine\n"))

app.use(express.urlencoded({ extended: false }))
app.use(middleware)

app.get("/", async ({ session }, response) => {
  // One load, and from here on reading costs nothing.
  const state = await session.load()
  const user = await session.userId()
  const notice = session.isInvalidated ? ENDED : state.take("notice")
  response.send(homePage({ notice, user, cart: state.get("cart") ?? {} }))
})

app.post("/cart", async (request, response) => {
  const product = field(request, "product")
  if (Object.hasOwn(products, product)) {
    // Exact also if two tabs add at the same moment.
    await request.session.transact((state) => {
      const cart = state.get("cart") ?? {}
      state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
    })
  }
  response.redirect(303, "/")
})

app.get("/sign-in", (request, response) => {
  const message =
    "again" in request.query ? "Please give your password again." : "A new name gets an account."
  response.send(signInPage("ended" in request.query ? ENDED : message))
})

app.post("/sign-in", async (request, response) => {
  const name = field(request, "name")
  if (name === "" || !(await checkPassword(name, field(request, "password")))) {
    response.status(422).send(signInPage("Name and password do not fit."))
    return
  }
  // A new ticket. The anonymous cart stays.
  request.session.signIn(name, { label: request.get("User-Agent") })
  request.session.set("notice", `Welcome, ${name}.`)
  response.redirect(303, "/account")
})

app.post("/sign-out", ({ session }, response) => {
  session.signOut()
  session.set("notice", "You are signed out.")
  response.redirect(303, "/")
})

app.post("/sign-out-everywhere", requireUser({ redirectTo: "/sign-in" }), async ({ session }, response) => {
  await session.revokeOthers()
  session.signOut()
  session.set("notice", "You are signed out everywhere.")
  response.redirect(303, "/")
})

app.get("/account", requireUser({ redirectTo: "/sign-in" }), async ({ session }, response) => {
  const user = (await session.userId()) ?? ""
  const devices = await sessions.listByUser(user)
  response.send(accountPage(user, devices.length, await session.take("notice")))
})

const fresh = requireFresh({ within: FRESH, redirectTo: "/sign-in?again" })

app.get("/password", fresh, (_request, response) => void response.send(passwordPage()))

app.post("/password", fresh, async (request, response) => {
  const { session } = request
  await changePassword((await session.userId()) ?? "", field(request, "password"))
  await session.revokeOthers()
  session.cycleId()
  session.set("notice", "The password is changed, and other devices are signed out.")
  response.redirect(303, "/account")
})

app.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
  if (error instanceof SessionEndedError) response.redirect(303, "/sign-in?ended")
  else next(error)
})
// 503 while the store is unavailable, 401, 403. What is none of a session's goes on to Express.
app.use(sessionErrors)

function field(request: Request, name: string): string {
  const value: unknown = (request.body as Record<string, unknown> | undefined)?.[name]
  return typeof value === "string" ? value.trim() : ""
}

// Only this machine can reach it, for the cookie is sent without https.
const server = app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  console.log(`The shop is at http://localhost:${(server.address() as AddressInfo).port}`)
})

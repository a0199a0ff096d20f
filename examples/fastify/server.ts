import type { AddressInfo } from "node:net"
import { SessionEndedError } from "coatcheck"
import { sessionErrors } from "coatcheck/fastify"
import Fastify, { type FastifyReply, type FastifyRequest } from "fastify"
import { accountPage, homePage, passwordPage, products, signInPage } from "../shop/pages.ts"
import { plugin, requireFresh, requireUser, sessions } from "./sessions.ts"
import { changePassword, checkPassword } from "../shop/users.ts"

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)
const ENDED = "This browser was signed out from another one. Sign in to go on."

const app = Fastify()
// Fastify itself parses JSON and text. As @fastify/formbody does:
app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, body, done) =>
  done(null, Object.fromEntries(new URLSearchParams(body as string))),
)

await app.register(plugin)

// The session is not touched here, so this costs no store call and sets no cookie.
app.get("/health", async () => "fine\n")

app.get("/", async ({ session }, reply) => {
  // One load, and from here on reading costs nothing.
  const state = await session.load()
  const user = await session.userId()
  const notice = session.isInvalidated ? ENDED : state.take("notice")
  return show(reply, homePage({ notice, user, cart: state.get("cart") ?? {} }))
})

app.post("/cart", async (request, reply) => {
  const product = field(request, "product")
  if (Object.hasOwn(products, product)) {
    // Exact also if two tabs add at the same moment.
    await request.session.transact((state) => {
      const cart = state.get("cart") ?? {}
      state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
    })
  }
  return reply.redirect("/", 303)
})

app.get<{ Querystring: Record<string, string> }>("/sign-in", async ({ query }, reply) => {
  const message = "again" in query ? "Please give your password again." : "A new name gets an account."
  return show(reply, signInPage("ended" in query ? ENDED : message))
})

app.post("/sign-in", async (request, reply) => {
  const name = field(request, "name")
  if (name === "" || !(await checkPassword(name, field(request, "password")))) {
    return show(reply.code(422), signInPage("Name and password do not fit."))
  }
  // A new ticket. The anonymous cart stays.
  request.session.signIn(name, { label: request.headers["user-agent"] })
  request.session.set("notice", `Welcome, ${name}.`)
  return reply.redirect("/account", 303)
})

app.post("/sign-out", async ({ session }, reply) => {
  session.signOut()
  session.set("notice", "You are signed out.")
  return reply.redirect("/", 303)
})

const signedIn = { preHandler: requireUser({ redirectTo: "/sign-in" }) }

app.post("/sign-out-everywhere", signedIn, async ({ session }, reply) => {
  await session.revokeOthers()
  session.signOut()
  session.set("notice", "You are signed out everywhere.")
  return reply.redirect("/", 303)
})

app.get("/account", signedIn, async ({ session }, reply) => {
  const user = (await session.userId()) ?? ""
  const devices = await sessions.listByUser(user)
  return show(reply, accountPage(user, devices.length, await session.take("notice")))
})

const fresh = { preHandler: requireFresh({ within: FRESH, redirectTo: "/sign-in?again" }) }

app.get("/password", fresh, async (_request, reply) => show(reply, passwordPage()))

app.post("/password", fresh, async (request, reply) => {
  const { session } = request
  await changePassword((await session.userId()) ?? "", field(request, "password"))
  await session.revokeOthers()
  session.cycleId()
  session.set("notice", "The password is changed, and other devices are signed out.")
  return reply.redirect("/account", 303)
})

app.setErrorHandler((error, request, reply) => {
  if (error instanceof SessionEndedError) return reply.redirect("/sign-in?ended", 303)
  // 503 while the store is unavailable, 401, 403. What is none of a session's goes on to Fastify.
  return sessionErrors(error, request, reply)
})

function show(reply: FastifyReply, page: string): FastifyReply {
  return reply.type("text/html; charset=utf-8").send(page)
}

function field(request: FastifyRequest, name: string): string {
  const value: unknown = (request.body as Record<string, unknown> | undefined)?.[name]
  return typeof value === "string" ? value.trim() : ""
}

// Only this machine can reach it, for the cookie is sent without https.
await app.listen({ port: Number(process.env["PORT"] ?? 3000), host: "127.0.0.1" })
console.log(`The shop is at http://localhost:${(app.server.address() as AddressInfo).port}`)

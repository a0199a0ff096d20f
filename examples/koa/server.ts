import type { AddressInfo } from "node:net"
import { SessionEndedError } from "coatcheck"
import { sessionErrors } from "coatcheck/koa"
import Koa from "koa"
import { accountPage, homePage, passwordPage, products, signInPage } from "../shop/pages.ts"
import { field, type Handler, routes, seeOther } from "./routes.ts"
import { middleware, requireFresh, requireUser, type SessionContext, sessions } from "./sessions.ts"
import { changePassword, checkPassword } from "../shop/users.ts"

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)
const ENDED = "This browser was signed out from another one. Sign in to go on."

const app = new Koa<Koa.DefaultState, SessionContext>()

// 503 while the store is unavailable, 401, 403: Koa answers with the status that an error has.
app.use(sessionErrors)

app.use(async (ctx, next) => {
  try {
    await next()
  } catch (error) {
    if (!(error instanceof SessionEndedError)) throw error
    ctx.status = 303
    ctx.redirect("/sign-in?ended")
  }
})

app.use(middleware)

const health: Handler = (ctx) => {
  // The session is not touched here, so this costs no store call and sets no cookie.
  ctx.body = "fine\n"
}

const home: Handler = async (ctx) => {
  // One load, and from here on reading costs nothing.
  const state = await ctx.session.load()
  const user = await ctx.session.userId()
  const notice = ctx.session.isInvalidated ? ENDED : state.take("notice")
  ctx.body = homePage({ notice, user, cart: state.get("cart") ?? {} })
}

const addToCart: Handler = async (ctx) => {
  const product = await field(ctx, "product")
  if (Object.hasOwn(products, product)) {
    // Exact also if two tabs add at the same moment.
    await ctx.session.transact((state) => {
      const cart = state.get("cart") ?? {}
      state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
    })
  }
  seeOther(ctx, "/")
}

const askWhoItIs: Handler = (ctx) => {
  const message = "again" in ctx.query ? "Please give your password again." : "A new name gets an account."
  ctx.body = signInPage("ended" in ctx.query ? ENDED : message)
}

const signIn: Handler = async (ctx) => {
  const name = await field(ctx, "name")
  if (name === "" || !(await checkPassword(name, await field(ctx, "password")))) {
    ctx.status = 422
    ctx.body = signInPage("Name and password do not fit.")
    return
  }
  // A new ticket. The anonymous cart stays.
  ctx.session.signIn(name, { label: ctx.get("User-Agent") })
  ctx.session.set("notice", `Welcome, ${name}.`)
  seeOther(ctx, "/account")
}

const signOut: Handler = (ctx) => {
  ctx.session.signOut()
  ctx.session.set("notice", "You are signed out.")
  seeOther(ctx, "/")
}

const signOutEverywhere: Handler = async (ctx) => {
  await ctx.session.revokeOthers()
  ctx.session.signOut()
  ctx.session.set("notice", "You are signed out everywhere.")
  seeOther(ctx, "/")
}

const account: Handler = async (ctx) => {
  const user = (await ctx.session.userId()) ?? ""
  const devices = await sessions.listByUser(user)
  ctx.body = accountPage(user, devices.length, await ctx.session.take("notice"))
}

const askForPassword: Handler = (ctx) => {
  ctx.body = passwordPage()
}

const setPassword: Handler = async (ctx) => {
  await changePassword((await ctx.session.userId()) ?? "", await field(ctx, "password"))
  await ctx.session.revokeOthers()
  ctx.session.cycleId()
  ctx.session.set("notice", "The password is changed, and other devices are signed out.")
  seeOther(ctx, "/account")
}

const user = requireUser({ redirectTo: "/sign-in" })
const fresh = requireFresh({ within: FRESH, redirectTo: "/sign-in?again" })

app.use(
  routes({
    "GET /health": [health],
    "GET /": [home],
    "POST /cart": [addToCart],
    "GET /sign-in": [askWhoItIs],
    "POST /sign-in": [signIn],
    "POST /sign-out": [signOut],
    "POST /sign-out-everywhere": [user, signOutEverywhere],
    "GET /account": [user, account],
    "GET /password": [fresh, askForPassword],
    "POST /password": [fresh, setPassword],
  }),
)

// Only this machine can reach it, for the cookie is sent without https.
const server = app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  console.log(`The shop is at http://localhost:${(server.address() as AddressInfo).port}`)
})

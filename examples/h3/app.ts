import { createSessions, SessionEndedError } from "coatcheck"
import { h3Sessions, sessionErrors } from "coatcheck/h3"
import { memoryStore } from "coatcheck/memory"
import { H3, type H3Event, html, type HTTPResponse, raw, redirect } from "h3"
import { accountPage, homePage, passwordPage, products, signInPage } from "../shop/pages.ts"
import { changePassword, checkPassword } from "../shop/web-users.ts"

/** The whole shop. `server.ts` serves it. */

/** Server state: in the store, one value per key. */
interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

const sessions = createSessions<State>({
  // It forgets when the process ends. A real shop has `sqliteStore`, `postgresStore`, `redisStore` here.
  store: memoryStore(),
  keys: [process.env["SESSION_KEY"] ?? crypto.getRandomValues(new Uint8Array(32))],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

const { middleware, getSession, requireUser, requireFresh } = h3Sessions(sessions, { csrf: true })

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)
const ENDED = "This browser was signed out from another one. Sign in to go on."

export const app = new H3({
  onError: (error) => {
    if (error.cause instanceof SessionEndedError) return redirect("/sign-in?ended", 303)
    // 503 while the store is unavailable, 401, 403. Other errors stay as they are.
    return sessionErrors(error)
  },
})

app.use(middleware)

// The session is not touched here, so this costs no store call and sets no cookie.
app.get("/health", () => "fine\n")

app.get("/", async (event) => {
  const session = getSession(event)
  // One load, and from here on reading costs nothing.
  const state = await session.load()
  const user = await session.userId()
  const notice = session.isInvalidated ? ENDED : state.take("notice")
  return page(homePage({ notice, user, cart: state.get("cart") ?? {} }))
})

app.post("/cart", async (event) => {
  const product = await field(event, "product")
  if (Object.hasOwn(products, product)) {
    // Exact also if two tabs add at the same moment.
    await getSession(event).transact((state) => {
      const cart = state.get("cart") ?? {}
      state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
    })
  }
  return redirect("/", 303)
})

app.get("/sign-in", ({ url: { searchParams } }) => {
  const message = searchParams.has("again")
    ? "Please give your password again."
    : "A new name gets an account."
  return page(signInPage(searchParams.has("ended") ? ENDED : message))
})

app.post("/sign-in", async (event) => {
  const form = await event.req.formData()
  const [name, password] = [textOf(form, "name"), textOf(form, "password")]
  if (name === "" || !(await checkPassword(name, password))) {
    event.res.status = 422
    return page(signInPage("Name and password do not fit."))
  }
  const session = getSession(event)
  // A new ticket. The anonymous cart stays.
  session.signIn(name, { label: event.req.headers.get("User-Agent") ?? undefined })
  session.set("notice", `Welcome, ${name}.`)
  return redirect("/account", 303)
})

app.post("/sign-out", (event) => {
  const session = getSession(event)
  session.signOut()
  session.set("notice", "You are signed out.")
  return redirect("/", 303)
})

const user = requireUser({ redirectTo: "/sign-in" })

app.post(
  "/sign-out-everywhere",
  async (event) => {
    const session = getSession(event)
    await session.revokeOthers()
    session.signOut()
    session.set("notice", "You are signed out everywhere.")
    return redirect("/", 303)
  },
  { middleware: [user] },
)

app.get(
  "/account",
  async (event) => {
    const session = getSession(event)
    const name = (await session.userId()) ?? ""
    const devices = await sessions.listByUser(name)
    return page(accountPage(name, devices.length, await session.take("notice")))
  },
  { middleware: [user] },
)

app.use("/password", requireFresh({ within: FRESH, redirectTo: "/sign-in?again" }))

app.get("/password", () => page(passwordPage()))

app.post("/password", async (event) => {
  const session = getSession(event)
  await changePassword((await session.userId()) ?? "", await field(event, "password"))
  await session.revokeOthers()
  session.cycleId()
  session.set("notice", "The password is changed, and other devices are signed out.")
  return redirect("/account", 303)
})

/** The pages escape what they are given. */
function page(markup: string): HTTPResponse {
  return html(raw(markup))
}

async function field(event: H3Event, name: string): Promise<string> {
  return textOf(await event.req.formData(), name)
}

function textOf(form: FormData, name: string): string {
  const value = form.get(name)
  return typeof value === "string" ? value.trim() : ""
}

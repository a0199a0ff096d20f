import { createSessions, SessionEndedError, sessionErrorResponse } from "coatcheck"
import { honoSessions } from "coatcheck/hono"
import { memoryStore } from "coatcheck/memory"
import { type Context, Hono } from "hono"
import { html } from "hono/html"
import { changePassword, checkPassword } from "../shop/web-users.ts"

/** The whole shop. Bun, Deno and Workers serve what it exports; Node.js has `server.ts` for that. */

/** Server state: in the store, one value per key. */
interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

const sessions = createSessions<State>({
  // It forgets when the process ends. A real shop has `sqliteStore`, `postgresStore`, `d1Store` here.
  store: memoryStore(),
  keys: [process.env["SESSION_KEY"] ?? crypto.getRandomValues(new Uint8Array(32))],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

const { middleware, requireUser, requireFresh } = honoSessions(sessions, { csrf: true })

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)
const ENDED = "This browser was signed out from another one. Sign in to go on."

const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

const app = new Hono()
  // The session is not touched here, so this costs no store call and sets no cookie, wherever it stands.
  .get("/health", (c) => c.text("fine\n"))

  .use(middleware)

  .get("/", async (c) => {
    // One load, and from here on reading costs nothing.
    const state = await c.var.session.load()
    const user = await c.var.session.userId()
    const notice = c.var.session.isInvalidated ? ENDED : state.take("notice")
    const cart = Object.entries(state.get("cart") ?? {})
    return c.html(
      page(html`
        ${status(notice)}
        <form method="post" action="/cart">
          ${Object.entries(products).map(
            ([id, name]) => html`<button name="product" value="${id}">Add ${name}</button> `,
          )}
        </form>
        <h2>Cart</h2>
        <ul id="cart">
          ${cart.map(([id, quantity]) => html`<li>${quantity} × ${products[id] ?? id}</li>`)}
        </ul>
        ${user === null ? html`<a href="/sign-in">Sign in</a>` : html`<a href="/account">${user}</a>`}
      `),
    )
  })

  .post("/cart", async (c) => {
    const product = await field(c, "product")
    if (Object.hasOwn(products, product)) {
      // Exact also if two tabs add at the same moment.
      await c.var.session.transact((state) => {
        const cart = state.get("cart") ?? {}
        state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
      })
    }
    return c.redirect("/", 303)
  })

  .get("/sign-in", (c) => {
    const { again, ended } = c.req.query()
    const message = again === undefined ? "A new name gets an account." : "Please give your password again."
    return c.html(signInPage(ended === undefined ? message : ENDED))
  })

  .post("/sign-in", async (c) => {
    const name = await field(c, "name")
    if (name === "" || !(await checkPassword(name, await field(c, "password")))) {
      return c.html(signInPage("Name and password do not fit."), 422)
    }
    // A new ticket. The anonymous cart stays.
    c.var.session.signIn(name, { label: c.req.header("User-Agent") })
    c.var.session.set("notice", `Welcome, ${name}.`)
    return c.redirect("/account", 303)
  })

  .post("/sign-out", (c) => {
    c.var.session.signOut()
    c.var.session.set("notice", "You are signed out.")
    return c.redirect("/", 303)
  })

  .post("/sign-out-everywhere", requireUser({ redirectTo: "/sign-in" }), async (c) => {
    await c.var.session.revokeOthers()
    c.var.session.signOut()
    c.var.session.set("notice", "You are signed out everywhere.")
    return c.redirect("/", 303)
  })

  .get("/account", requireUser({ redirectTo: "/sign-in" }), async (c) => {
    const user = (await c.var.session.userId()) ?? ""
    const { length } = await sessions.listByUser(user)
    return c.html(
      page(html`
        <h2>Signed in as <span id="user">${user}</span></h2>
        ${status(await c.var.session.take("notice"))}
        <p id="devices">On ${length} device${length === 1 ? "" : "s"}.</p>
        <p><a href="/">The shop</a> · <a href="/password">Change password</a></p>
        <form method="post">
          <button formaction="/sign-out">Sign out</button>
          <button formaction="/sign-out-everywhere">Sign out everywhere</button>
        </form>
      `),
    )
  })

  .use("/password", requireFresh({ within: FRESH, redirectTo: "/sign-in?again" }))

  .get("/password", (c) =>
    c.html(
      page(html`
        <h2>Change password</h2>
        <form method="post" action="/password">
          <label>New password <input name="password" type="password" required /></label>
          <button>Change it, and sign out all other devices</button>
        </form>
      `),
    ),
  )

  .post("/password", async (c) => {
    await changePassword((await c.var.session.userId()) ?? "", await field(c, "password"))
    await c.var.session.revokeOthers()
    c.var.session.cycleId()
    c.var.session.set("notice", "The password is changed, and other devices are signed out.")
    return c.redirect("/account", 303)
  })

app.onError((error, c) => {
  if (error instanceof SessionEndedError) return c.redirect("/sign-in?ended", 303)
  // 503 while the store is unavailable, 401, 403.
  const response = sessionErrorResponse(error)
  if (response !== undefined) return response
  console.error(error)
  return c.text("Internal Server Error\n", 500)
})

export default app

type Markup = ReturnType<typeof html>

function signInPage(message: string): Markup {
  return page(html`
    <h2>Sign in</h2>
    ${status(message)}
    <form method="post" action="/sign-in">
      <label>Name <input name="name" required maxlength="40" autocomplete="username" /></label>
      <label>Password <input name="password" type="password" required /></label>
      <button>Sign in</button>
    </form>
  `)
}

function status(message: string | undefined): Markup | string {
  return message === undefined ? "" : html`<p role="status">${message}</p>`
}

function page(body: Markup): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>The Cloakroom</title>
      </head>
      <body>
        <h1>The Cloakroom</h1>
        ${body}
      </body>
    </html>`
}

async function field(c: Context, name: string): Promise<string> {
  const value = (await c.req.parseBody())[name]
  return typeof value === "string" ? value.trim() : ""
}

import { devices } from "./account.ts"
import { cartLines, products } from "./cart.ts"
import { type Env, getSession } from "./sessions.ts"

/** The one page: notice, cart, and who is signed in where. */
export async function page(env: Env): Promise<Response> {
  // One load, and from here on reading costs nothing.
  const state = await getSession().load()
  const user = await getSession().userId()
  const notice = getSession().isInvalidated ? ENDED : state.take("notice")
  const [cart, signedIn] = [await cartLines(), await devices(env)]
  return htmlResponse(`
    <h1>The Cloakroom</h1>
    ${notice === undefined ? "" : `<p role="status">${escape(notice)}</p>`}
    <form method="post" action="/cart">
      ${Object.entries(products)
        .map(([id, name]) => `<button name="product" value="${id}">Add ${escape(name)}</button>`)
        .join("\n      ")}
    </form>
    <h2>Cart</h2>
    <ul id="cart">${cart.map(({ name, quantity }) => `<li>${quantity} × ${escape(name)}</li>`).join("")}</ul>
    ${user === null ? SIGN_IN : account(user, signedIn)}`)
}

/** For a browser that was signed out from another one: it finds out on its next visit. */
const ENDED = "This browser was signed out from another one. Sign in to go on."

export function endedPage(): Response {
  return htmlResponse(`<h1>Signed out</h1><p role="status">${ENDED}</p>${SIGN_IN}`, 409)
}

const SIGN_IN = `<h2>Sign in</h2>
    <form method="post" action="/sign-in">
      <label>Name <input name="name" required maxlength="40" autocomplete="username"></label>
      <button>Sign in</button>
    </form>`

function account(user: string, signedIn: Awaited<ReturnType<typeof devices>>): string {
  const current = getSession().id
  const lines = signedIn.map(
    ({ id, label, lastSeenAt }) =>
      `<li>${escape(label ?? "A device")}, last seen ${lastSeenAt.toUTCString()} ${
        id === current ? "(this one)" : `<button name="device" value="${id}">Sign out there</button>`
      }</li>`,
  )
  return `<h2>Signed in as <span id="user">${escape(user)}</span></h2>
    <form method="post" action="/devices"><ul id="devices">${lines.join("")}</ul></form>
    <form method="post">
      <button formaction="/sign-out">Sign out</button>
      <button formaction="/sign-out-everywhere">Sign out everywhere</button>
    </form>`
}

function htmlResponse(body: string, status = 200): Response {
  const html = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>The Cloakroom</title>
</head>
<body>${body}
</body>
</html>
`
  return new Response(html, {
    status,
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy":
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    },
  })
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "")
}

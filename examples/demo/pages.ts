import type { SessionSummary } from "coatcheck"
import { markup, type Html } from "./html.ts"
import type { Cart, View } from "./http.ts"
import { productById, products, type Product } from "./products.ts"

export function shopPage(): View {
  const content = markup`<div class="hero">
      <h1>Coats worth queueing for.</h1>
      <p>Fill a cart, sign in on two browsers, sign one out from the other: behind this little shop, every session is kept, shared and ended the way it should be.</p>
    </div>
    <ul class="shop">${products.map(productCard)}</ul>`
  return { title: "Coats and hats", content }
}

function productCard({ id, name, description, price, picture }: Product): Html {
  return markup`<li class="card product">
      ${picture}
      <h2>${name}</h2>
      <p>${description}</p>
      <form method="post" action="/cart/add">
        <span class="price">€ ${price}</span>
        <button name="product" value="${id}" aria-label="Add ${name} to the cart">Add to cart</button>
      </form>
    </li>`
}

export function cartPage(cart: Cart): View {
  const lines = Object.entries(cart).flatMap(([id, quantity]) => {
    const product = productById(id)
    return product === undefined ? [] : [{ product, quantity }]
  })
  const total = lines.reduce((sum, { product, quantity }) => sum + product.price * quantity, 0)
  const content =
    lines.length === 0
      ? markup`<p class="card empty">Nothing hangs here yet. <a href="/">Have a look at the coats.</a></p>`
      : markup`<ul class="card lines">
      ${lines.map(({ product, quantity }) => cartLine(product, quantity))}
      <li class="total"><span class="name">Total</span><span class="price">€ ${total}</span></li>
    </ul>
    <p class="hint">The cart stays when you sign in. Open the shop in two tabs and add in both: nothing is lost.</p>`
  return { title: "Your cart", content: markup`<h1>Your cart</h1>${content}` }
}

function cartLine({ id, name, price, picture }: Product, quantity: number): Html {
  return markup`<li>
        ${picture}
        <span class="name">${name}<small>€ ${price} each</small></span>
        <form class="quantity" method="post">
          <button class="icon" formaction="/cart/less" name="product" value="${id}" aria-label="One ${name} less">−</button>
          <output data-product="${id}" aria-label="${name}, quantity">${quantity}</output>
          <button class="icon" formaction="/cart/more" name="product" value="${id}" aria-label="One ${name} more">+</button>
        </form>
        <span class="price">€ ${price * quantity}</span>
      </li>`
}

/** The form for signing up or in, again with what was wrong if something was. */
export function credentialsPage(
  kind: "sign-up" | "sign-in",
  again?: { name: string; problem: string },
): View {
  const isNew = kind === "sign-up"
  const title = isNew ? "Create an account" : "Sign in"
  const content = markup`<section class="card narrow">
      <h1>${title}</h1>
      ${problemNote(again?.problem)}
      <form method="post" class="fields">
        <label>Name <input name="name" required minlength="2" maxlength="40" autocomplete="username" value="${again?.name}"></label>
        <label>Password <input name="password" type="password" required minlength="${isNew ? 8 : 1}" maxlength="200" autocomplete="${isNew ? "new" : "current"}-password">
          ${isNew && markup`<small>At least 8 characters. A sentence is a fine password.</small>`}</label>
        <label class="check"><input name="remember" type="checkbox"> <span>Remember me
          <small>For two weeks. Otherwise until you close the browser.</small></span></label>
        <button>${title}</button>
      </form>
      <p class="hint">${isNew ? markup`You have one already? <a href="/sign-in">Sign in.</a>` : markup`New here? <a href="/sign-up">Create an account.</a>`}</p>
    </section>`
  return { title, content, status: again === undefined ? 200 : 422 }
}

export interface AccountView {
  readonly devices: readonly SessionSummary[]
  readonly currentId: string | undefined
  readonly problem: string | undefined
}

export function accountPage({ devices, currentId, problem }: AccountView): View {
  const content = markup`<h1>Your account</h1>
    <div class="halves">
      <section class="card">
        <h2>Your devices</h2>
        <ul class="devices">${devices.map((device) => deviceLine(device, device.id === currentId))}</ul>
        <div class="row">
          ${devices.length > 1 && markup`<form method="post" action="/account/sign-out-others"><button>Sign out everywhere else</button></form>`}
          <form method="post" action="/account/sign-out-everywhere"><button class="quiet">Sign out everywhere</button></form>
        </div>
      </section>
      <section class="card">
        <h2>Change your password</h2>
        ${problemNote(problem)}
        <form method="post" action="/account/password" class="fields">
          <label>Current password <input name="password" type="password" required maxlength="200" autocomplete="current-password"></label>
          <label>New password <input name="new-password" type="password" required minlength="8" maxlength="200" autocomplete="new-password"></label>
          <button>Change password</button>
        </form>
        <p class="hint">Signs out your other devices and gives this one a new ticket.</p>
      </section>
    </div>`
  return { title: "Your account", content, status: problem === undefined ? 200 : 422 }
}

function deviceLine(device: SessionSummary, isCurrent: boolean): Html {
  const label = device.label ?? "A device"
  return markup`<li>
          <span class="name">${label} ${isCurrent && markup`<span class="badge">this one</span>`}
            <small>Signed in ${time(device.signedInAt)}</small><small>Last seen ${time(device.lastSeenAt)}</small></span>
          ${!isCurrent && markup`<form method="post" action="/account/sign-out-there"><button class="quiet" name="id" value="${device.id}" aria-label="Sign out there, on ${label}">Sign out there</button></form>`}
        </li>`
}

const relative = new Intl.RelativeTimeFormat("en")

function time(date: Date | null): Html {
  if (date === null) return markup`never`
  const minutes = Math.floor((Date.now() - date.getTime()) / 60_000)
  const ago =
    minutes < 60 ? relative.format(-minutes, "minute") : relative.format(-Math.round(minutes / 60), "hour")
  return markup`<time datetime="${date.toISOString()}">${minutes < 1 ? "just now" : ago}</time>`
}

export interface StoredView {
  readonly cookie: { readonly name: string; readonly length: number; readonly start: string } | undefined
  readonly clientState: Record<string, unknown>
  readonly row: readonly (readonly [column: string, value: string])[] | undefined
  /** Whether another browser has signed this one out. */
  readonly hasEnded: boolean
}

export function storedPage({ cookie, clientState, row, hasEnded }: StoredView): View {
  const browser =
    cookie === undefined
      ? markup`<p class="empty">No cookie. You get one when there is something to remember: <a href="/">put a coat in the cart</a>.</p>`
      : markup`<p class="ticket"><b>${cookie.name}</b> <code>${cookie.start}…</code> <small>${cookie.length} bytes</small></p>
        <p>The cookie starts like this; the rest is for your browser alone. Sealed in it are your ticket, which no script on a page can read and which is kept nowhere else, and this client state:</p>
        <pre>${JSON.stringify(clientState, null, 2)}</pre>
        <p class="hint">With anything in it, the cookie is encrypted, and longer. Change the theme and look again.</p>`
  const store =
    row === undefined
      ? markup`<p class="empty">${hasEnded ? "No row any more, only word that this session has ended: what comes late with its ticket stays outside." : "No row. Whoever only looks around costs the database nothing."}</p>`
      : markup`<p>Your row is found by its <code>id</code>, a one-way hash of your ticket. Whoever presents that as a cookie is a stranger, so a stolen copy of this database signs nobody in.</p>
        <table>
          <thead><tr><th scope="col">Column</th><th scope="col">Value</th></tr></thead>
          <tbody>${row.map(([column, value]) => markup`<tr><th scope="row">${column}</th><td>${value}</td></tr>`)}</tbody>
        </table>`
  const content = markup`<h1>What is stored about you</h1>
    <div class="halves">
      <section class="card"><h2>In your browser</h2>${browser}</section>
      <section class="card"><h2>In the store</h2>${store}</section>
    </div>`
  return { title: "What is stored", content }
}

export function aboutPage(): View {
  const content = markup`<h1>You hand in your coat and get a ticket.</h1>
    <p class="lead">The coat is <em>server state</em>, a row in SQLite. The ticket is a secret in a cookie. Here is what to try:</p>
    <dl>
      <dt>The cart</dt><dd>Changes in a transaction, so two tabs that add at once both succeed.</dd>
      <dt>Signing in</dt><dd>Changes the ticket: whoever slipped you theirs is left with a dead one. Your cart and theme come along.</dd>
      <dt>Remember me</dt><dd>Decides whether the cookie outlives the browser. The server’s clock ends the session either way.</dd>
      <dt>Your devices</dt><dd>Are the sessions bound to your account. One that you end stays ended, even for a request that is under way.</dd>
      <dt>Messages</dt><dd>Wait in the session for the next page, and are taken out as they are shown.</dd>
      <dt>The theme</dt><dd>Is <em>client state</em>, sealed in the cookie. This page shows nothing else of you, so it was made without asking the store: that is why your cart is not counted above.</dd>
      <dt>Other sites’ forms</dt><dd>Are refused: by the cookie’s <code>SameSite=Lax</code>, and by a look at where they come from.</dd>
    </dl>`
  return { title: "About", content, bare: true }
}

const HEADINGS: Record<number, string> = {
  403: "Not from there",
  404: "An empty peg",
  409: "That ticket is used up",
  500: "A seam came apart",
  503: "The cloakroom is closed",
}
const CLOSED =
  "We cannot reach the coats just now. Yours is safe, and so is your ticket: please try again in a moment."
const BROKEN = "That was our doing, not yours. Please try again."

/** A page for what went wrong, which shows nothing of its visitor, since the store may be what failed. */
export function failurePage(status: number, message: string = status === 503 ? CLOSED : BROKEN): View {
  const title = HEADINGS[status] ?? "That did not work"
  const content = markup`<section class="card narrow failure">
      <p class="status">${status}</p>
      <h1>${title}</h1>
      <p>${message}</p>
      <p>${status === 409 ? markup`<a class="button" href="/sign-in">Sign in</a>` : markup`<a class="button" href="/">Back to the shop</a>`}</p>
    </section>`
  return { title, content, status, bare: true }
}

function problemNote(problem: string | undefined): Html | false {
  return problem !== undefined && markup`<p class="problem" role="alert">${problem}</p>`
}

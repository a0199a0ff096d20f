/** Text that is HTML already. */
class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Part = string | number | Markup | readonly Markup[]

/** Builds HTML; what is put in is escaped unless it is HTML itself. */
function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(String.raw({ raw: strings }, ...parts.map(markupOf)))
}

function markupOf(part: Part): string {
  if (part instanceof Markup) return part.text
  if (typeof part === "object") return part.map(markupOf).join("")
  return String(part).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

export const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

export interface Home {
  readonly notice: string | undefined
  readonly user: string | null
  readonly cart: Readonly<Record<string, number>>
}

export function homePage({ notice, user, cart }: Home): string {
  return page(
    html`${notice === undefined ? "" : html`<p role="status">${notice}</p>`}
      <form method="post" action="/cart">
        ${Object.entries(products).map(
          ([id, name]) => html`<button name="product" value="${id}">Add ${name}</button> `,
        )}
      </form>
      <h2>Cart</h2>
      <ul id="cart">
        ${Object.entries(cart).map(([id, quantity]) => html`<li>${quantity} × ${products[id] ?? id}</li>`)}
      </ul>
      ${user === null ? html`<a href="/sign-in">Sign in</a>` : html`<a href="/account">${user}</a>`}`,
  )
}

export function signInPage(message: string): string {
  return page(
    html`<h2>Sign in</h2>
      <p role="status">${message}</p>
      <form method="post" action="/sign-in">
        <label>Name <input name="name" required maxlength="40" autocomplete="username" /></label>
        <label
          >Password <input name="password" type="password" required autocomplete="current-password"
        /></label>
        <button>Sign in</button>
      </form>`,
  )
}

export function accountPage(user: string, devices: number, notice: string | undefined): string {
  return page(
    html`<h2>Signed in as <span id="user">${user}</span></h2>
      ${notice === undefined ? "" : html`<p role="status">${notice}</p>`}
      <p id="devices">On ${devices} device${devices === 1 ? "" : "s"}.</p>
      <p><a href="/">The shop</a> · <a href="/password">Change password</a></p>
      <form method="post">
        <button formaction="/sign-out">Sign out</button>
        <button formaction="/sign-out-everywhere">Sign out everywhere</button>
      </form>`,
  )
}

export function passwordPage(): string {
  return page(
    html`<h2>Change password</h2>
      <form method="post" action="/password">
        <label
          >New password <input name="password" type="password" required autocomplete="new-password"
        /></label>
        <button>Change it, and sign out all other devices</button>
      </form>`,
  )
}

function page(body: Markup): string {
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
    </html>`.text
}

import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { markup, type Html } from "./html.ts"
import type { Theme, View } from "./http.ts"

/** What a page shows of its visitor besides its content. */
export interface Frame {
  readonly theme?: Theme | undefined
  /** Null: nobody is signed in. Undefined: not asked. */
  readonly userName?: string | null | undefined
  readonly items?: number | undefined
  readonly notice?: string | undefined
}

const text = readFileSync(new URL("style.css", import.meta.url))
const version = createHash("sha256").update(text).digest("hex").slice(0, 12)

/** The style sheet, under a name that changes with it, so that browsers may keep it for ever. */
export const style: { readonly path: string; readonly text: Buffer } = { path: `/style-${version}.css`, text }

/** A whole page. */
export function documentOf(
  { title, content }: View,
  { theme, userName, items = 0, notice }: Frame = {},
): string {
  const page = markup`<!doctype html>
<html lang="en"${theme !== undefined && markup` data-theme="${theme}"`}>
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="${theme ?? "light dark"}">
  <title>${title} · The Cloakroom</title>
  <link rel="icon" href="${icon}">
  <link rel="stylesheet" href="${style.path}">
</head>
<body>
  <a class="skip" href="#main">Skip to content</a>
  <header>
    <a class="brand" href="/"><svg viewBox="0 0 32 24" aria-hidden="true">${ticket}</svg>The Cloakroom</a>
    <nav aria-label="Main">
      <a href="/stored">What is stored</a>
      <a href="/about">About</a>
      <a href="/cart">Cart${items > 0 && markup` <span class="count">${items}</span>`}</a>
      ${userName === null ? markup`<a href="/sign-in">Sign in</a>` : markup`<a class="who" href="/account">${userName ?? "Account"}</a>`}
    </nav>
    ${typeof userName === "string" && markup`<form method="post" action="/sign-out"><button class="link">Sign out</button></form>`}
    ${themeForm(theme)}
  </header>
  <main id="main">
    ${notice !== undefined && markup`<p class="notice" role="status">${notice}</p>`}
    ${content}
  </main>
  <footer>A demo of <strong>coatcheck</strong>, sessions for HTTP servers. Nothing here is for sale; the sessions are real.</footer>
</body>
</html>
`
  return page.text
}

const ticket = markup`<path fill="#c2553f" d="M3 2h26a2 2 0 0 1 2 2v5a3 3 0 0 0 0 6v5a2 2 0 0 1-2 2H3a2 2 0 0 1-2-2v-5a3 3 0 0 0 0-6V4a2 2 0 0 1 2-2z"/>
    <path fill="none" stroke="#fff" stroke-width="2" stroke-dasharray="2.5" d="M21 4v16"/>
    <path fill="none" stroke="#fff" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round" d="M11 10.5V9a1.6 1.6 0 1 0-1.6-1.6M11 10.5l-6 5h12z"/>`
const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -4 32 32">${ticket.text}</svg>`
const icon = `data:image/svg+xml,${encodeURIComponent(drawing)}`

const sun = markup`<circle cx="12" cy="12" r="4.5"/><path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4"/>`
const moon = markup`<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"/>`

/** A visitor who chose no theme gets the system's, which only the browser knows: of the two buttons, the style sheet shows the one that changes something. */
function themeForm(theme: Theme | undefined): Html {
  return markup`<form class="theme" method="post" action="/theme">
      ${theme !== "light" && themeButton("light", sun)}
      ${theme !== "dark" && themeButton("dark", moon)}
    </form>`
}

function themeButton(theme: Theme, drawn: Html): Html {
  return markup`<button class="icon to-${theme}" name="theme" value="${theme}" aria-label="Use the ${theme} theme"><svg viewBox="0 0 24 24" aria-hidden="true">${drawn}</svg></button>`
}

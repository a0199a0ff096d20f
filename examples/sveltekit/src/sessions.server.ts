import { building } from "$app/env"
import { createSessions } from "coatcheck"
import { svelteKitSessions } from "coatcheck/sveltekit"
import { store } from "./store.server.ts"

interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

export const sessions = createSessions<State>({
  store,
  // "vite build" runs this file, and has no visitors and no secrets.
  keys: [building ? "of nobody, for nobody visits a build" : process.env.SESSION_KEY],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

export const { handle, requireUser, requireFresh } = svelteKitSessions(sessions, { csrf: true })

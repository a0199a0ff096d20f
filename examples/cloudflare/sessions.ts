import { createSessions } from "coatcheck"
import { workerSessions } from "coatcheck/cloudflare"
import { d1Store } from "coatcheck/d1"

/** The bindings of wrangler.jsonc, and the secret. `npx wrangler types` would write this as well. */
export interface Env {
  DB: D1Database
  SESSION_KEY: string
}

/** Server state: in D1, one value per key. */
export interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

export const { handle, getSession, sessionsOf } = workerSessions((env: Env) =>
  createSessions<State>({
    store: d1Store(env.DB),
    keys: [env.SESSION_KEY],
    // Secure, but for the plain http of `wrangler dev` on localhost.
    cookie: { secure: "auto" },
  }),
)

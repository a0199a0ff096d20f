import { randomBytes } from "node:crypto"
import { createSessions, type SessionOf } from "coatcheck"
import { expressSessions } from "coatcheck/express"
import { memoryStore } from "coatcheck/memory"

/** Server state: in the store, one value per key. */
export interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

export const sessions = createSessions<State>({
  // It forgets when the process ends. A real shop has `sqliteStore`, `postgresStore`, `redisStore` here.
  store: memoryStore(),
  keys: [process.env["SESSION_KEY"] ?? randomBytes(32)],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

export const { middleware, requireUser, requireFresh } = expressSessions(sessions, { csrf: true })

// Optional: with it `request.session` has its type everywhere. `getSession(request)` has it without.
declare global {
  namespace Express {
    interface Request {
      session: SessionOf<typeof sessions>
    }
  }
}

import { createSessions } from "coatcheck"
import { reactRouterSessions } from "coatcheck/react-router"
import { sqliteStore } from "coatcheck/sqlite"

/** Server state: in the database, one value per key. */
interface State {
  /** Product to quantity. */
  cart: Record<string, number>
  /** Shown once, on the next page. */
  notice: string
}

export const sessions = createSessions<State>({
  store: sqliteStore(process.env.DATABASE ?? "sessions.db"),
  keys: [process.env.SESSION_KEY],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

export const {
  middleware: sessionMiddleware,
  sessionContext,
  getSession,
  requireUser,
} = reactRouterSessions(sessions, { csrf: true })

import { createSessions, type SessionStore } from "coatcheck"
import { nextSessions } from "coatcheck/next"
import { sqliteStore } from "coatcheck/sqlite"
import { spyStore } from "coatcheck/testing"

interface State {
  /** How many of each product. */
  cart: Record<string, number>
  /** A message for the next page. */
  notice: string
}

export const sessions = createSessions<State>({
  store: store(),
  // "next build" loads this file as well, and has no secrets. The server refuses to start without one.
  keys: [process.env.NEXT_PHASE === "phase-production-build" ? "x".repeat(32) : process.env.SESSION_KEY],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

export const { withSession, withSessionAction, withSessionProxy, getSession, requireUser } = nextSessions(
  sessions,
  { csrf: true },
)

/** `STORE_DELAY=500` makes saving slow, to see that no redirect overtakes it. */
function store(): SessionStore {
  const database = sqliteStore(process.env.DATABASE ?? "shop.db")
  const delay = Number(process.env.STORE_DELAY ?? 0)
  if (delay === 0) return database
  const slow = spyStore(database)
  for (const operation of ["create", "update", "changeId"] as const) slow.delay(operation, delay)
  return slow
}

import { getSecret } from "astro:env/server"
import { createSessions } from "coatcheck"
import { astroSessions } from "coatcheck/astro"
import { sqliteStore } from "coatcheck/sqlite"

interface State {
  cart: Record<string, number>
  notice: string
  visits: number
}

export const sessions = createSessions<State>({
  store: sqliteStore(getSecret("DATABASE") ?? "shop.db"),
  keys: [getSecret("SESSION_KEY")],
  // Secure, but for plain http on localhost.
  cookie: { secure: "auto" },
})

export const { onRequest, getSession, requireUser } = astroSessions(sessions, { csrf: true })

import { createSessions } from "coatcheck"
import { reactRouterSessions } from "coatcheck/react-router"

const sessions = createSessions<{ visits: number }>({
  keys: [process.env.SESSION_KEY],
  cookie: { secure: "auto" }, // Secure, but for plain http on localhost
})

export const { middleware: sessionMiddleware, getSession } = reactRouterSessions(sessions)

import { createSessions } from "coatcheck"
import { svelteKitSessions } from "coatcheck/sveltekit"

const sessions = createSessions<{ visits: number }>({
  keys: [process.env.SESSION_KEY],
  cookie: { secure: "auto" }, // Secure, but for plain http on localhost
})

export const { handle, getSession } = svelteKitSessions(sessions)

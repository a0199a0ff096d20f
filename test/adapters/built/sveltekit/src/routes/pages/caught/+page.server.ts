import type { ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

/** Lives with what the guard says, and fails for another reason. */
export const load = async (event: ServerLoadEvent): Promise<never> => {
  await shop.requireFresh(event, { within: 1 }).catch(() => event.locals.session.signOut())
  throw new Error("The page failed.")
}

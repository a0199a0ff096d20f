import type { ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

export const load = async (event: ServerLoadEvent) => ({
  user: await shop.requireUser(event, { redirectTo: "/sign-in" }),
})

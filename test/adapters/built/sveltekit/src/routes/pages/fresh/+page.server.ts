import type { ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

export const load = async (event: ServerLoadEvent) => ({
  user: await shop.requireFresh(event, {
    within: Number(event.url.searchParams.get("within")),
    redirectTo: "/sign-in",
  }),
})

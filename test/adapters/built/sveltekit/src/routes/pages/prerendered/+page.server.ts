import type { ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

export const prerender = true

export const load = (event: ServerLoadEvent) => ({
  byFunction: failure(() => shop.getSession(event)),
  byProperty: failure(() => event.locals.session),
})

function failure(use: () => unknown): string {
  try {
    use()
    return "none"
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`
  }
}

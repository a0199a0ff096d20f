import type { ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

class Foreign {}

/** As if the guard's SvelteKit were another one: its redirect is of another class. */
export const load = async (event: ServerLoadEvent): Promise<void> => {
  const guard = shop.requireUser(event, { redirectTo: "/sign-in" })
  await guard.catch((error: unknown) =>
    Promise.reject(Object.setPrototypeOf(error as object, Foreign.prototype)),
  )
}

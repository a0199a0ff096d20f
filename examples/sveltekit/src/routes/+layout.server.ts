import type { ServerLoadEvent } from "@sveltejs/kit"
import { cartLines } from "../cart.server.ts"

const ENDED = "This browser was signed out from another one. Sign in to go on."

export const load = async ({ locals, url }: ServerLoadEvent) => {
  const state = await locals.session.load() // the one load of the request; from here on reading costs nothing
  // Actions redirect to such an address, and no link has one: what links preload takes no notice.
  const notice = url.searchParams.has("notice") ? state.take("notice") : undefined
  return {
    user: await locals.session.userId(),
    cart: await cartLines(locals),
    notice: locals.session.isInvalidated ? ENDED : notice,
    // What this depends on is loaded for each page, and so the notice is gone on the next one.
    path: url.pathname,
  }
}

import { type Actions, redirect, type ServerLoadEvent } from "@sveltejs/kit"
import { requireUser, sessions } from "../../sessions.server.ts"

export const load = async (event: ServerLoadEvent) => {
  const user = await requireUser(event, { redirectTo: "/sign-in" })
  // The back button shows what a browser has kept, after sign-out too.
  event.setHeaders({ "cache-control": "no-store" })
  const devices = await sessions.listByUser(user)
  return {
    devices: devices.map(({ id, label, lastSeenAt }) => ({
      label: label ?? "A device",
      lastSeenAt,
      isThis: id === event.locals.session.id,
    })),
  }
}

export const actions: Actions = {
  signOut: ({ locals }) => {
    locals.session.signOut()
    locals.session.set("notice", "You are signed out.")
    redirect(303, "/?notice")
  },

  // A load function guards its page, but no action: each has to ask by itself.
  signOutEverywhere: async (event) => {
    await requireUser(event, { redirectTo: "/sign-in" })
    const { session } = event.locals
    await session.revokeOthers()
    session.signOut()
    session.set("notice", "You are signed out everywhere.")
    redirect(303, "/?notice")
  },
}

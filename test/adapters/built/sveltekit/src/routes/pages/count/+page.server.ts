import { type Actions, error, fail, redirect, type ServerLoadEvent } from "@sveltejs/kit"
import { shop } from "../../../hooks.server.ts"

export const load = async (event: ServerLoadEvent) => {
  const { session } = event.locals
  const count = ((await session.get("count")) ?? 0) + 1
  session.set("count", count)
  return { count, isSame: session === shop.getSession(event) }
}

export const actions: Actions = {
  note: ({ locals }) => {
    locals.session.set("note", "noted")
    redirect(303, "/read")
  },
  failing: ({ locals }) => {
    locals.session.set("note", "failed")
    return fail(422, { reason: "not valid" })
  },
  refusing: ({ locals }) => {
    locals.session.set("note", "refused")
    error(403, "No")
  },
  throwing: ({ locals }) => {
    locals.session.set("note", "thrown")
    throw new Error("The action failed.")
  },
}

import { error, redirect } from "@sveltejs/kit"
import { type Handle, type HandleServerError, sequence } from "@sveltejs/kit/hooks"
import { sessionErrors, svelteKitSessions, withSessionErrors } from "coatcheck/sveltekit"
import { CSRF, stage } from "../../../scenes.ts"

export const shop = svelteKitSessions(stage.sessions, { csrf: CSRF })
export const admins = svelteKitSessions(stage.admins, { property: "adminSession" })

/** Requests with this header have the sessions without the errors. */
const BARE = "x-bare"

const errors: Handle = (input) =>
  input.event.request.headers.has(BARE) ? input.resolve(input.event) : sessionErrors(input)

const before: Handle = ({ event, resolve }) => {
  if (event.url.pathname === "/hooks/occupied") Object.assign(event.locals, { session: "another's" })
  return resolve(event)
}

const behind: Handle = async ({ event, resolve }) => {
  switch (event.url.pathname) {
    case "/hooks/twice":
      return shop.handle({ event, resolve })
    case "/hooks/redirect":
    case "/pages/redirect":
      shop.getSession(event).set("note", "redirected")
      event.cookies.set("own", "1", { path: "/" })
      return redirect(Number(event.url.searchParams.get("status") ?? 303), "/read")
    case "/hooks/late-redirect":
      shop.getSession(event).set("note", "redirected")
      await resolve(event)
      return redirect(303, "/read")
    case "/hooks/moved":
      if (event.url.searchParams.has("read")) await shop.getSession(event).get("note")
      return redirect(308, "/read")
    case "/hooks/unasked":
      return new Response("unasked")
    case "/hooks/events":
      return Response.json(stage.events.splice(0))
    case "/hooks/error":
      shop.getSession(event).set("note", "refused")
      return error(418, "A teapot")
    case "/hooks/guarded":
      await shop.requireUser(event, { redirectTo: "/sign-in" })
  }
  return resolve(event)
}

export const handle = sequence(errors, before, shop.handle, admins.handle, behind)

const describe = ({ error: caught }: { error: unknown }): { message: string } => ({
  message: (caught as { message?: string }).message ?? String(caught),
})
const describeAll = withSessionErrors(describe)

export const handleError: HandleServerError = (input) =>
  input.event.request.headers.has(BARE) ? describe(input) : describeAll(input)

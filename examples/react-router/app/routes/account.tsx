import { Form, redirect } from "react-router"
import { getSession, requireUser, sessions } from "../sessions.server.ts"
import type { Route } from "./+types/account"

/** Before every loader and action of this route, and of those that would be below it. */
export const middleware: Route.MiddlewareFunction[] = [
  async ({ context }) => {
    await requireUser(context, { redirectTo: "/sign-in" })
  },
]

/** Kept by no cache, that of the back button included. */
export const headers: Route.HeadersFunction = () => ({ "Cache-Control": "no-store" })

export async function loader({ context }: Route.LoaderArgs) {
  const user = await requireUser(context)
  const devices = await sessions.listByUser(user)
  return { user, devices: devices.map(({ label, signedInAt }) => ({ label, signedInAt })) }
}

export async function action({ context }: Route.ActionArgs) {
  const session = getSession(context)
  await session.revokeOthers()
  session.signOut()
  session.set("notice", "You are signed out everywhere.")
  return redirect("/")
}

export default function Account({ loaderData: { user, devices } }: Route.ComponentProps) {
  return (
    <>
      <h1>{user}’s account</h1>
      <ul id="devices">
        {devices.map(({ label, signedInAt }) => (
          <li key={String(signedInAt)}>{label}</li>
        ))}
      </ul>
      <Form method="post">
        <button type="submit">Sign out everywhere</button>
      </Form>
    </>
  )
}

import { redirect } from "react-router"
import { getSession } from "../sessions.server.ts"
import type { Route } from "./+types/sign-out"

export function action({ context }: Route.ActionArgs) {
  const session = getSession(context)
  session.signOut()
  session.set("notice", "You are signed out.")
  return redirect("/")
}

export const loader = () => redirect("/")

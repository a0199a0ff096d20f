import { data, Form, redirect } from "react-router"
import { fieldOf } from "../form.server.ts"
import { getSession } from "../sessions.server.ts"
import type { Route } from "./+types/sign-in"

export async function action({ request, context }: Route.ActionArgs) {
  const name = await fieldOf(request, "name")
  // Your application checks a password, or asks an identity provider. This one believes everybody who gives a name.
  if (name === "") return data({ problem: "Who are you?" }, { status: 422 })
  const session = getSession(context)
  session.signIn(name, { label: request.headers.get("user-agent") ?? undefined })
  session.set("notice", `Welcome, ${name}.`)
  return redirect("/account")
}

export default function SignIn({ actionData }: Route.ComponentProps) {
  return (
    <Form method="post">
      <h1>Sign in</h1>
      {actionData === undefined ? null : <p role="alert">{actionData.problem}</p>}
      <label>
        Name <input name="name" autoComplete="username" />
      </label>{" "}
      <button type="submit">Sign in</button>
    </Form>
  )
}

"use client"

import { useActionState } from "react"
import { signIn } from "../../actions"

export function SignInForm() {
  const [{ error }, action] = useActionState(signIn, {})
  return (
    <form action={action}>
      <label>
        Name <input name="name" />
      </label>
      <button>Sign in</button>
      {error !== undefined && <p role="alert">{error}</p>}
    </form>
  )
}

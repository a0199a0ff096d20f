import { signOutEverywhere } from "../../actions"
import { requireUser, sessions } from "../../sessions"
import { Visitor } from "../visitor"

export default async function Account() {
  const user = await requireUser({ redirectTo: "/sign-in" })
  const devices = await sessions.listByUser(user)
  return (
    <>
      <Visitor />
      <h1>Account of {user}</h1>
      <ul>
        {devices.map(({ id, label }) => (
          <li key={id}>{label}</li>
        ))}
      </ul>
      <form action={signOutEverywhere}>
        <button>Sign out everywhere</button>
      </form>
    </>
  )
}

import { watched } from "../../../sessions.ts"

const answer = watched.withSession((session, { nextUrl }) => {
  const user = nextUrl.searchParams.get("user")
  if (user !== null) session.signIn(user)
  session.set("note", "from the handler")
  return new Response("handled")
})

export { answer as GET, answer as POST }

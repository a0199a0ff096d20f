import { type MiddlewareFunction, Outlet } from "react-router"
import { getSession } from "../sessions.server.ts"

export const middleware: MiddlewareFunction<Response>[] = [
  ({ context, url }) => {
    const session = getSession(context)
    if (url.pathname.endsWith("/sign-out")) session.signOut()
    else session.set("note", "failed")
    throw new Error("The middleware failed.")
  },
]

export default Outlet

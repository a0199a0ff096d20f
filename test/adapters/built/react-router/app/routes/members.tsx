import { type MiddlewareFunction, Outlet } from "react-router"
import { requireUser } from "../sessions.server.ts"

export const middleware: MiddlewareFunction<Response>[] = [
  async ({ context }) => {
    await requireUser(context, { redirectTo: "/form" })
  },
]

export default Outlet

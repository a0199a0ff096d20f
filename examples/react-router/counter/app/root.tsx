import { Outlet, Scripts } from "react-router"
import { sessionMiddleware } from "./sessions.server"

export const middleware = [sessionMiddleware]

export default function Root() {
  return (
    <html lang="en">
      <body>
        <Outlet />
        <Scripts />
      </body>
    </html>
  )
}

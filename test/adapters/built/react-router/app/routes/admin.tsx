import { type MiddlewareFunction, Outlet } from "react-router"
import { admins } from "../sessions.server.ts"

export const middleware: MiddlewareFunction<Response>[] = [admins.middleware]

export default Outlet

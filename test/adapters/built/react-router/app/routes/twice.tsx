import { type MiddlewareFunction, Outlet } from "react-router"
import { middleware as sessionMiddleware } from "../sessions.server.ts"

export const middleware: MiddlewareFunction<Response>[] = [sessionMiddleware]

export default Outlet

import { sessionErrors } from "coatcheck/react-router"
import type { ReactNode } from "react"
import {
  isRouteErrorResponse,
  type LoaderFunctionArgs,
  type MiddlewareFunction,
  Outlet,
  useRouteError,
} from "react-router"
import { getSession, middleware as sessionMiddleware } from "./sessions.server.ts"

/** Below `/plain` nothing maps errors to statuses. */
const errors: MiddlewareFunction<Response> = (input, next) =>
  input.url.pathname.startsWith("/plain") ? next() : sessionErrors(input, next)

export const middleware: MiddlewareFunction<Response>[] = [errors, sessionMiddleware]

/** Runs beside the loaders of the pages, with the same session. */
export async function loader({ context, url }: LoaderFunctionArgs): Promise<{ user: string | null }> {
  // Where it is to cost nothing.
  if (url.pathname === "/about") return { user: null }
  return { user: await getSession(context).userId() }
}

export function Layout({ children }: { readonly children: ReactNode }): ReactNode {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  )
}

export default function Root(): ReactNode {
  return <Outlet />
}

export function ErrorBoundary(): ReactNode {
  const error = useRouteError()
  return <p>{`boundary: ${isRouteErrorResponse(error) ? `${error.status} ${error.statusText}` : "error"}`}</p>
}

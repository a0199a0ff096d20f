import { sessionErrors } from "coatcheck/react-router"
import type { ReactNode } from "react"
import { Form, isRouteErrorResponse, Link, Links, Meta, Outlet, Scripts } from "react-router"
import type { Route } from "./+types/root"
import { cartOf } from "./cart.server.ts"
import { getSession, sessionMiddleware } from "./sessions.server.ts"

export const middleware: Route.MiddlewareFunction[] = [sessionErrors, sessionMiddleware]

export async function loader({ context }: Route.LoaderArgs) {
  const session = getSession(context)
  const cart = await cartOf(context)
  return {
    user: await session.userId(),
    count: Object.values(cart).reduce((sum, quantity) => sum + quantity, 0),
    // Read and removed: it is shown once.
    notice: await session.take("notice"),
  }
}

export function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <head>
        <meta charSet="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>The Cloakroom</title>
        <Meta />
        <Links />
      </head>
      <body>
        {children}
        <Scripts />
      </body>
    </html>
  )
}

export default function Root({ loaderData: { user, count, notice } }: Route.ComponentProps) {
  return (
    <>
      <nav>
        <Link to="/">Shop</Link> · <Link to="/cart">Cart</Link> (<span id="count">{count}</span>) ·{" "}
        {user === null ? (
          <Link to="/sign-in">Sign in</Link>
        ) : (
          <>
            <Link to="/account" id="user">
              {user}
            </Link>{" "}
            <Form method="post" action="/sign-out" style={{ display: "inline" }}>
              <button type="submit">Sign out</button>
            </Form>
          </>
        )}
      </nav>
      {notice === undefined ? null : <p role="status">{notice}</p>}
      <main>
        <Outlet />
      </main>
    </>
  )
}

export function ErrorBoundary({ error }: Route.ErrorBoundaryProps) {
  const text = isRouteErrorResponse(error) ? `${error.status} ${error.statusText}` : "Something went wrong."
  return (
    <main>
      <p role="alert">{text}</p>
      <a href="/">To the shop</a>
    </main>
  )
}

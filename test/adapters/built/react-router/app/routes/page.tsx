import type { ReactNode } from "react"
import { type LoaderFunctionArgs, Outlet, useLoaderData } from "react-router"
import { sessionContext } from "../sessions.server.ts"

export async function loader({ context }: LoaderFunctionArgs): Promise<number> {
  return (await context.get(sessionContext).get("count")) ?? 0
}

export default function Page(): ReactNode {
  return (
    <section>
      <p>{`count: ${useLoaderData<typeof loader>()}`}</p>
      <Outlet />
    </section>
  )
}

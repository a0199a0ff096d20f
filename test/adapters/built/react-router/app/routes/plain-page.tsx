import type { ReactNode } from "react"
import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { getSession } from "../sessions.server.ts"

export async function loader({ context }: LoaderFunctionArgs): Promise<number> {
  const session = getSession(context)
  const count = ((await session.get("count")) ?? 0) + 1
  session.set("count", count)
  return count
}

export default function Page(): ReactNode {
  return <p>{`plain count: ${useLoaderData<typeof loader>()}`}</p>
}

import type { ReactNode } from "react"
import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { sessionContext } from "../sessions.server.ts"

export async function loader({ context }: LoaderFunctionArgs): Promise<string> {
  return (await context.get(sessionContext).get("note")) ?? "none"
}

export default function Inner(): ReactNode {
  return <p>{`note: ${useLoaderData<typeof loader>()}`}</p>
}

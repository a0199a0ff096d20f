import type { ReactNode } from "react"
import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { getSession } from "../sessions.server.ts"

export function loader({ context }: LoaderFunctionArgs): string {
  const session = getSession(context)
  try {
    session.set("note", "made when it was built")
    return "taken"
  } catch (error) {
    return `${(error as { code?: string }).code}`
  }
}

export default function Prerendered(): ReactNode {
  return <p>{useLoaderData<typeof loader>()}</p>
}

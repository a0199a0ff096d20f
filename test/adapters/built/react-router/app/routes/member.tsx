import type { ReactNode } from "react"
import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { getSession, requireUser } from "../sessions.server.ts"

export async function loader({ context }: LoaderFunctionArgs): Promise<string> {
  getSession(context).set("note", "a member was here")
  return requireUser(context)
}

export default function Member(): ReactNode {
  return <p>{`member: ${useLoaderData<typeof loader>()}`}</p>
}

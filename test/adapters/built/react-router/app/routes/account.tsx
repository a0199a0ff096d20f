import type { ReactNode } from "react"
import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { requireFresh, requireUser } from "../sessions.server.ts"

export function loader({ context, url: { searchParams } }: LoaderFunctionArgs): Promise<string> {
  const redirectTo = searchParams.get("to") ?? undefined
  const within = searchParams.get("within")
  return within === null
    ? requireUser(context, { redirectTo })
    : requireFresh(context, { within: Number(within), redirectTo })
}

export default function Account(): ReactNode {
  return <p>{`account: ${useLoaderData<typeof loader>()}`}</p>
}

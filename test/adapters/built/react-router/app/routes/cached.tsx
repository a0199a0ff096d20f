import type { ReactNode } from "react"
import type { LoaderFunctionArgs } from "react-router"
import { getSession } from "../sessions.server.ts"

export const headers = (): Record<string, string> => ({
  "Cache-Control": "public, max-age=60",
  Vary: "Accept-Language",
})

export async function loader({ context, url }: LoaderFunctionArgs): Promise<string> {
  const session = getSession(context)
  if (url.searchParams.has("write")) session.set("note", "cached")
  return (await session.get("note")) ?? ""
}

export default function Cached(): ReactNode {
  return <p>cached</p>
}

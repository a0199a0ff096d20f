import { headers } from "next/headers"
import { watched } from "../../../sessions.ts"

export default async function Page() {
  const session = await watched.getSession()
  return (
    <p>
      {(await session.get("note")) ?? "none"}, {(await session.userId()) ?? "nobody"},{" "}
      {(await headers()).get("x-own") ?? "nothing"}
    </p>
  )
}

import { type LoaderFunctionArgs, useLoaderData } from "react-router"
import { getSession } from "../sessions.server"

export async function loader({ context }: LoaderFunctionArgs) {
  const session = getSession(context)
  const visits = ((await session.get("visits")) ?? 0) + 1
  session.set("visits", visits)
  return { visits }
}

export default function Home() {
  const { visits } = useLoaderData<typeof loader>()
  return <p>{`Visits: ${visits}`}</p>
}

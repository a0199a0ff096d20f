import { type ReactNode, Suspense } from "react"
import { Await, type LoaderFunctionArgs, useLoaderData } from "react-router"
import { getSession } from "../sessions.server.ts"

interface Late {
  readonly read: Promise<string>
  readonly change: Promise<string>
}

/** Promises that are sent when they are settled, which is after the head. */
export async function loader({ context }: LoaderFunctionArgs): Promise<Late> {
  const session = getSession(context)
  await session.load()
  session.set("note", "in time")
  const head = new Promise((resolve) => setTimeout(resolve, 300))
  return {
    read: head.then(async () => `late read: ${await session.get("note")}`),
    change: head.then(() => {
      try {
        session.set("note", "too late")
        return "late change: taken"
      } catch (error) {
        return `late change: ${(error as { code?: string }).code}`
      }
    }),
  }
}

export default function Page(): ReactNode {
  const { read, change } = useLoaderData<typeof loader>()
  return (
    <Suspense fallback="waiting">
      <Await resolve={read}>{(text) => <p>{text}</p>}</Await>
      <Await resolve={change}>{(text) => <p>{text}</p>}</Await>
    </Suspense>
  )
}

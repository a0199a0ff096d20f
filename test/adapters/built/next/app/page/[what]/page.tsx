import { unauthorized } from "next/navigation"
import * as actions from "../../../actions.ts"
import { shop } from "../../../sessions.ts"

export default async function Page({ params }: { params: Promise<{ what: string }> }) {
  const { what } = await params
  if (what === "write") return <p>{await tryToWrite()}</p>
  if (what === "guarded") await shop.requireUser({ redirectTo: "/page/sign-in" })
  if (what === "members" && (await (await shop.getSession()).userId()) === null) unauthorized()
  if (what === "strict") await shop.requireUser()
  return (
    <>
      <Note />
      <Note />
      <User />
      {Object.entries(actions).map(([name, action]) => (
        <form key={name} id={name} action={action}>
          <button>{name}</button>
        </form>
      ))}
    </>
  )
}

async function Note() {
  const session = await shop.getSession()
  return <p className="note">{(await session.get("note")) ?? "none"}</p>
}

async function User() {
  const session = await shop.getSession()
  return <p className="user">{(await session.userId()) ?? "nobody"}</p>
}

async function tryToWrite(): Promise<string> {
  const session = await shop.getSession()
  try {
    session.set("note", "written")
    return "written"
  } catch (error) {
    return String(error)
  }
}

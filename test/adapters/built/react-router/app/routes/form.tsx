import type { ReactNode } from "react"
import { type ActionFunctionArgs, data, redirect } from "react-router"
import { getSession } from "../sessions.server.ts"

/** Every way an action can end, each after a change. */
export async function action({ context, request, url }: ActionFunctionArgs): Promise<unknown> {
  const session = getSession(context)
  const end = url.searchParams.get("end") ?? ""
  session.set("note", end)
  await request.formData()
  switch (end) {
    case "redirect":
      return redirect("/page/inner")
    case "thrown redirect":
      throw redirect("/page/inner")
    case "foreign redirect":
      return Response.redirect("https://elsewhere.example/")
    case "422":
      return data("refused", { status: 422 })
    case "thrown 403":
      throw data("forbidden", { status: 403 })
    case "500":
      return data("broken", { status: 500 })
    case "wait":
    case "save and wait":
      if (end === "save and wait") await session.save()
      await new Promise((resolve) => setTimeout(resolve, 300))
      return end
    case "error":
      throw new Error("The action failed.")
    case "sign-out and error":
      session.signOut()
      throw new Error("The action failed.")
    default:
      return end
  }
}

export default function Form(): ReactNode {
  return <p>form</p>
}

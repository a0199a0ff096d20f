"use server"

import { redirect, unauthorized } from "next/navigation"
import { shop } from "./sessions.ts"

export const note = shop.withSessionAction((session, form: FormData) => {
  const text = form.get("note") as string
  session.set("note", text)
  if (text === "fails") throw new Error("The action failed.")
  if (text === "refused") unauthorized()
  if (text === "leads on") redirect("/page/note")
})

export const signIn = shop.withSessionAction(async (session, _form: FormData) => {
  session.signIn("ada")
})

export const signOutAndThrow = shop.withSessionAction((session, _form: FormData) => {
  session.signOut()
  throw new Error("The action failed.")
})

export const look = shop.withSessionAction(async (session, _form: FormData) => {
  await session.get("note")
})

export const idle = shop.withSessionAction((_session, _form: FormData) => undefined)

export const end = shop.withSessionAction((session, _form: FormData) => session.invalidate())

export const nested = shop.withSessionAction(async (_session, form: FormData) => {
  await note(form)
})

/** Not wrapped itself: it can only read. */
export async function mixed(form: FormData): Promise<void> {
  const before = await (await shop.getSession()).get("note")
  await note(form)
  const after = await (await shop.getSession()).get("note")
  redirect(`/page/note?before=${before ?? "none"}&after=${after ?? "none"}`)
}

export async function lead(form: FormData): Promise<void> {
  redirect(form.get("to") as string)
}

export const forUsers = shop.withSessionAction(async (session, _form: FormData) => {
  const user = await shop.requireUser({ redirectTo: "/page/sign-in" })
  session.set("note", `for ${user}`)
})

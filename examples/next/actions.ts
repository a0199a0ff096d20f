"use server"

import { refresh } from "next/cache"
import { headers } from "next/headers"
import { redirect } from "next/navigation"
import { products } from "./products"
import { requireUser, withSessionAction } from "./sessions"

export const addToCart = withSessionAction(async (session, form: FormData) => {
  const product = text(form, "product")
  if (!(product in products)) return
  // Exact, even if two tabs add something at once.
  await session.transact((state) => {
    const cart = state.get("cart") ?? {}
    state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
  })
  refresh()
})

export const order = withSessionAction(async (session) => {
  const user = await requireUser({ redirectTo: "/sign-in" })
  session.remove("cart")
  session.set("notice", `Thank you, ${user}. It is on its way.`)
  redirect("/")
})

export interface SignInState {
  readonly error?: string
}

/** Your application checks a password, or asks an identity provider. This one believes everybody. */
export const signIn = withSessionAction(
  async (session, _previous: SignInState, form: FormData): Promise<SignInState> => {
    const name = text(form, "name").trim()
    if (name === "") return { error: "Please give a name." }
    session.signIn(name, { label: (await headers()).get("user-agent") ?? undefined })
    session.set("notice", `Welcome, ${name}.`)
    redirect("/")
  },
)

export const signOut = withSessionAction(async (session) => {
  session.signOut()
  session.set("notice", "You are signed out.")
  redirect("/")
})

export const signOutEverywhere = withSessionAction(async (session) => {
  await session.revokeOthers()
  session.signOut()
  session.set("notice", "You are signed out everywhere.")
  redirect("/")
})

function text(form: FormData, name: string): string {
  const value = form.get(name)
  return typeof value === "string" ? value : ""
}

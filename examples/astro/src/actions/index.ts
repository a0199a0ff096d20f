import { ActionError, defineAction } from "astro:actions"
import { z } from "astro/zod"
import { SessionEndedError } from "coatcheck"
import { products } from "../products"
import { getSession } from "../sessions"

export const server = {
  addToCart: defineAction({
    accept: "form",
    input: z.object({ product: z.enum(Object.keys(products)) }),
    async handler({ product }, context) {
      try {
        // Exact also if two tabs add at the same moment.
        await getSession(context).transact((state) => {
          const cart = state.get("cart") ?? {}
          state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
          state.set("notice", `${products[product]} is in your cart.`)
        })
      } catch (error) {
        // What an action throws is for its caller to read, so it has to be Astro's.
        throw error instanceof SessionEndedError ? new ActionError({ code: "CONFLICT" }) : error
      }
    },
  }),

  signIn: defineAction({
    accept: "form",
    input: z.object({ name: z.string().trim().min(1).max(40) }),
    handler({ name }, context) {
      // Your application checks a password, or asks an identity provider. This one believes everybody.
      const session = getSession(context)
      session.signIn(name, { label: context.request.headers.get("user-agent") ?? undefined })
      session.set("notice", `Welcome, ${name}.`)
    },
  }),

  signOut: defineAction({
    accept: "form",
    handler(_, context) {
      const session = getSession(context)
      session.signOut()
      session.set("notice", "You are signed out.")
    },
  }),

  signOutEverywhere: defineAction({
    accept: "form",
    async handler(_, context) {
      const session = getSession(context)
      if ((await session.userId()) === null) throw new ActionError({ code: "UNAUTHORIZED" })
      await session.revokeOthers()
      session.signOut()
      session.set("notice", "You are signed out everywhere.")
    },
  }),
}

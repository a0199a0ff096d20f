import { type Actions, fail, redirect } from "@sveltejs/kit"
import { SessionEndedError } from "coatcheck"
import { addToCart, products } from "../cart.server.ts"

export const load = () => ({ products: Object.entries(products).map(([id, name]) => ({ id, name })) })

export const actions: Actions = {
  add: async ({ request, locals }) => {
    const product = (await request.formData()).get("product")
    if (typeof product !== "string" || !Object.hasOwn(products, product)) {
      return fail(400, { problem: "There is no such product." })
    }
    try {
      await addToCart(locals, product)
    } catch (error) {
      // Another browser has signed this one out: the layout tells.
      if (error instanceof SessionEndedError) redirect(303, "/sign-in")
      throw error
    }
    locals.session.set("notice", `${products[product]} is in your cart.`)
    // By the time the browser reads this, what has changed is in the database.
    redirect(303, "/?notice")
  },
}

import { HttpError, type Routes, type ShopSession } from "./http.ts"
import { aboutPage, cartPage, shopPage } from "./pages.ts"
import { productById } from "./products.ts"

/** The shop and the cart. */
export const shopRoutes: Routes = {
  "GET /": () => shopPage(),

  "GET /cart": async ({ session }) => cartPage((await session.get("cart")) ?? {}),

  "POST /cart/add": async ({ session, form }) => {
    const product = productOf(form)
    await changeQuantity(session, product.id, 1, `${product.name} is in your cart.`)
    return { redirect: "/" }
  },

  "POST /cart/more": async ({ session, form }) => {
    await changeQuantity(session, productOf(form).id, 1)
    return { redirect: "/cart" }
  },

  "POST /cart/less": async ({ session, form }) => {
    await changeQuantity(session, productOf(form).id, -1)
    return { redirect: "/cart" }
  },

  // Reads client state alone, so however often it is visited, the store never hears of it.
  "GET /about": () => aboutPage(),
}

/**
 * A quantity that was read, changed and written back would swallow what another tab adds in between. `transact` runs again
 * on the newest cart instead, so both arrive.
 */
async function changeQuantity(
  session: ShopSession,
  product: string,
  by: number,
  notice?: string,
): Promise<void> {
  await session.transact((state) => {
    const cart = state.get("cart") ?? {}
    const quantity = (cart[product] ?? 0) + by
    if (quantity > 0) cart[product] = quantity
    else delete cart[product]
    state.set("cart", cart)
    if (notice !== undefined) state.set("notice", notice)
  })
}

function productOf(form: URLSearchParams): { id: string; name: string } {
  const product = productById(form.get("product") ?? "")
  if (product === undefined) throw new HttpError(400, "We do not sell that.")
  return product
}

import { getSession } from "./sessions.ts"

export const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

/** Exact also if two tabs add at the same moment. */
export async function addToCart(product: string): Promise<void> {
  if (!Object.hasOwn(products, product)) return
  await getSession().transact((state) => {
    const cart = state.get("cart") ?? {}
    state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
  })
}

/** The session is looked up where it is needed: nobody has to hand it down to here. */
export async function cartLines(): Promise<{ name: string; quantity: number }[]> {
  const cart = (await getSession().get("cart")) ?? {}
  return Object.entries(cart).map(([product, quantity]) => ({ name: products[product] ?? product, quantity }))
}

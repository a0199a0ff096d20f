import type { RouterContextProvider } from "react-router"
import { products } from "./products.ts"
import { getSession } from "./sessions.server.ts"

type Context = Readonly<RouterContextProvider>

/** Exact also if two tabs add at the same moment. */
export async function addToCart(context: Context, product: string): Promise<void> {
  if (!Object.hasOwn(products, product)) return
  await getSession(context).transact((state) => {
    const cart = state.get("cart") ?? {}
    state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
  })
}

export async function cartOf(context: Context): Promise<Record<string, number>> {
  return (await getSession(context).get("cart")) ?? {}
}

export const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

/** Exact also if two tabs add at the same moment. */
export async function addToCart({ session }: App.Locals, product: string): Promise<void> {
  await session.transact((state) => {
    const cart = state.get("cart") ?? {}
    state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
  })
}

export async function cartLines({ session }: App.Locals): Promise<{ name: string; quantity: number }[]> {
  const cart = (await session.get("cart")) ?? {}
  return Object.entries(cart).map(([product, quantity]) => ({ name: products[product] ?? product, quantity }))
}

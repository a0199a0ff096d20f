export const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

export function quantityIn(cart: Readonly<Record<string, number>> = {}): number {
  return Object.values(cart).reduce((sum, quantity) => sum + quantity, 0)
}

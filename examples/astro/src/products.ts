export const products: Readonly<Record<string, string>> = {
  bowler: "Bowler hat",
  trench: "Trench coat",
  umbrella: "Umbrella",
}

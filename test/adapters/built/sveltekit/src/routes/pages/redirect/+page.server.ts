export const load = (): { never: string } => ({ never: "reached" })

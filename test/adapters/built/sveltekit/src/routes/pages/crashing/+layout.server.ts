export const load = (): never => {
  throw new Error("The layout failed.")
}

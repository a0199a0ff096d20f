import type { ReactNode } from "react"

export const loader = (): string => "costs nothing"

export default function About(): ReactNode {
  return <p>about</p>
}

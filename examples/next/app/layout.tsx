import Link from "next/link"
import type { ReactNode } from "react"

export const metadata = { title: "The Cloakroom" }

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <Link href="/">Shop</Link> <Link href="/cart">Cart</Link> <Link href="/account">Account</Link>{" "}
          <Link href="/about">About</Link>
        </nav>
        <main>{children}</main>
      </body>
    </html>
  )
}

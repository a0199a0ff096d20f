import { headers } from "next/headers"
import Link from "next/link"
import { signOut } from "../actions"
import { noticeOf } from "../notice"
import { quantityIn } from "../products"
import { getSession } from "../sessions"

/** Who is here. Asks for the session as the page below does: it is loaded once. */
export async function Visitor() {
  const session = await getSession()
  const user = await session.userId()
  const notice = noticeOf((await headers()).get("x-notice"))
  return (
    <header>
      {notice !== undefined && <p role="status">{notice}</p>}
      <p>
        <span className="who">{user ?? "nobody"}</span>,{" "}
        <span className="quantity">{quantityIn(await session.get("cart"))}</span> in the cart
      </p>
      {user === null ? (
        <Link href="/sign-in">Sign in</Link>
      ) : (
        <form action={signOut}>
          <button>Sign out</button>
        </form>
      )}
    </header>
  )
}

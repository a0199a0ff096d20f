import { order } from "../../actions"
import { products } from "../../products"
import { getSession } from "../../sessions"
import { Visitor } from "../visitor"

export default async function Cart() {
  const session = await getSession()
  const cart = (await session.get("cart")) ?? {}
  return (
    <>
      <Visitor />
      <h1>Cart</h1>
      <ul>
        {Object.entries(cart).map(([id, quantity]) => (
          <li key={id}>
            {quantity} × {products[id]}
          </li>
        ))}
      </ul>
      <form action={order}>
        <button>Order</button>
      </form>
    </>
  )
}

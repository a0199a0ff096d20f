import { Form, redirect } from "react-router"
import { addToCart } from "../cart.server.ts"
import { fieldOf } from "../form.server.ts"
import { products } from "../products.ts"
import { getSession } from "../sessions.server.ts"
import type { Route } from "./+types/home"

export async function action({ request, context }: Route.ActionArgs) {
  const product = await fieldOf(request, "product")
  await addToCart(context, product)
  getSession(context).set("notice", `${products[product] ?? "Nothing"} is in your cart.`)
  return redirect("/")
}

export default function Home() {
  return (
    <>
      <h1>The Cloakroom</h1>
      <Form method="post">
        {Object.entries(products).map(([product, name]) => (
          <p key={product}>
            {name}{" "}
            <button type="submit" name="product" value={product}>
              Add {name} to the cart
            </button>
          </p>
        ))}
      </Form>
    </>
  )
}

import { useFetcher } from "react-router"
import { addToCart, cartOf } from "../cart.server.ts"
import { fieldOf } from "../form.server.ts"
import { products } from "../products.ts"
import type { Route } from "./+types/cart"

export async function loader({ context }: Route.LoaderArgs) {
  return Object.entries(await cartOf(context))
}

export async function action({ request, context }: Route.ActionArgs) {
  await addToCart(context, await fieldOf(request, "product"))
  return "added"
}

export default function Cart({ loaderData: lines }: Route.ComponentProps) {
  // It submits without leaving the page; the loaders run again afterwards, that of the root included.
  const fetcher = useFetcher()
  return (
    <>
      <h1>Your cart</h1>
      {lines.map(([product, quantity]) => (
        <fetcher.Form method="post" key={product}>
          {products[product]}: <span data-product={product}>{quantity}</span>{" "}
          <button type="submit" name="product" value={product}>
            One more {products[product]}
          </button>
        </fetcher.Form>
      ))}
    </>
  )
}

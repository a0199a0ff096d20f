import { addToCart } from "../actions"
import { products } from "../products"
import { Visitor } from "./visitor"

export default function Shop() {
  return (
    <>
      <Visitor />
      <h1>Shop</h1>
      {Object.entries(products).map(([id, name]) => (
        <form key={id} action={addToCart}>
          <button name="product" value={id}>
            Add {name}
          </button>
        </form>
      ))}
    </>
  )
}

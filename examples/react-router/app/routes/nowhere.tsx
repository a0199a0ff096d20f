import { data } from "react-router"

/** With this route, pages that are not found have a session too: without one, React Router runs no middleware for them. */
export function loader(): never {
  throw data(null, { status: 404, statusText: "There is no such page." })
}

export default function Nowhere() {
  return null
}

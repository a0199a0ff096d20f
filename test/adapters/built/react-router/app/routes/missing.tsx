import { data, type LoaderFunctionArgs } from "react-router"
import { getSession } from "../sessions.server.ts"

export function loader({ context }: LoaderFunctionArgs): never {
  getSession(context).set("note", "missing")
  throw data("There is no such page.", { status: 404, statusText: "Not Found" })
}

export default function Missing(): null {
  return null
}

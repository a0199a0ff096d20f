import type { APIRoute } from "astro"
import { stage } from "../../../../../scenes.ts"

/** Has the store take its time to load. */
export const GET: APIRoute = ({ url }) => {
  stage.store.delay("load", Number(url.searchParams.get("load")))
  return new Response()
}

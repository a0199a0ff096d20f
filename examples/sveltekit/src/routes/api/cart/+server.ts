import type { RequestEvent } from "@sveltejs/kit"
import { cartLines } from "../../../cart.server.ts"

export const GET = async ({ locals }: RequestEvent): Promise<Response> =>
  Response.json(await cartLines(locals))

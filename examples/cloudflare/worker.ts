import { SessionEndedError } from "coatcheck"
import { signIn, signOut, signOutDevice, signOutEverywhere } from "./account.ts"
import { addToCart } from "./cart.ts"
import { endedPage, page } from "./page.ts"
import { type Env, handle, sessionsOf } from "./sessions.ts"

export default {
  fetch: handle(async (request, env) => {
    try {
      return await respond(request, env)
    } catch (error) {
      if (error instanceof SessionEndedError) return endedPage()
      throw error
    }
  }),

  // Never needed for safety: an expired session is not loaded. It gives the space back.
  async scheduled(_controller, env) {
    await sessionsOf(env).deleteExpired({ limit: 10_000 })
  },
} satisfies ExportedHandler<Env>

async function respond(request: Request, env: Env): Promise<Response> {
  const { pathname } = new URL(request.url)
  // The session is not touched, so this costs no query and sets no cookie.
  if (pathname === "/health") return new Response("fine\n")
  if (request.method === "GET")
    return pathname === "/" ? page(env) : new Response("Not found\n", { status: 404 })
  if (isCrossOrigin(request)) return new Response("Another site sent your browser here.\n", { status: 403 })
  const form = await request.formData()
  const field = (name: string): string => {
    const value = form.get(name)
    return typeof value === "string" ? value : ""
  }
  switch (`${request.method} ${pathname}`) {
    case "POST /cart":
      await addToCart(field("product"))
      break
    case "POST /sign-in":
      signIn(field("name").trim().slice(0, 40) || "Ada", request.headers.get("User-Agent"))
      break
    case "POST /sign-out":
      signOut()
      break
    case "POST /sign-out-everywhere":
      await signOutEverywhere()
      break
    case "POST /devices":
      await signOutDevice(env, field("device"))
      break
    default:
      return new Response("Not found\n", { status: 404 })
  }
  // By the time the browser reads this line, what has changed is in the database.
  return new Response(null, { status: 303, headers: { Location: "/" } })
}

/** `SameSite=Lax` keeps the cookie out of cross-site forms, but not out of those of a sibling subdomain. */
function isCrossOrigin(request: Request): boolean {
  const site = request.headers.get("Sec-Fetch-Site")
  if (site !== null) return site !== "same-origin" && site !== "none"
  const origin = request.headers.get("Origin")
  return origin !== null && origin !== new URL(request.url).origin
}

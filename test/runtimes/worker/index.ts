import type { Bindings } from "./bindings.ts"
import { shop } from "./shop.ts"
import { suites } from "./suites.ts"

/** `/cases` names what can be run, `/run?suite=…&case=…` runs one of them, and `/shop/…` is a site with sessions. */
const worker: { fetch: (request: Request, bindings: Bindings) => Promise<Response> } = {
  async fetch(request, bindings) {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname.startsWith("/shop")) return shop(request, bindings)
    if (pathname === "/cases") {
      const all = Object.entries(suites).map(([name, { cases, isConcurrent = false }]) => ({
        name,
        isConcurrent,
        cases: cases(bindings).map((each) => each.name),
      }))
      return Response.json(all)
    }
    const suite = suites[searchParams.get("suite") ?? ""]
    const one = suite?.cases(bindings)[Number(searchParams.get("case"))]
    if (one === undefined) return new Response("There is no such case.", { status: 404 })
    try {
      await one.run()
      return new Response("kept")
    } catch (error) {
      const { stack = String(error), cause } = error as Error
      return new Response(`${stack}\n${String(cause)}`, { status: 500 })
    }
  },
}

export default worker

import type { ServerLoad } from "@sveltejs/kit"

export const load: ServerLoad = ({ locals, cookies, setHeaders, url }) => {
  setHeaders({ "cache-control": "public, max-age=60", vary: "Accept-Language" })
  cookies.set("own", "1", { path: "/" })
  if (url.searchParams.has("change")) locals.session.set("note", "headers")
}

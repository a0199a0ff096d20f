import { HttpError, type Routes, type Visit } from "./http.ts"

/** Light or dark: client state, so a page that shows nothing else of its visitor can be rendered without asking the store. */
export const themeRoutes: Routes = {
  "POST /theme": ({ request, session, form }) => {
    const theme = form.get("theme")
    if (theme !== "light" && theme !== "dark") throw new HttpError(400, "We stock light and dark.")
    session.client.set("theme", theme)
    return { redirect: pageBefore(request) }
  },
}

/** The path of the page a form was on. A path that starts with two slashes would lead to another site. */
function pageBefore({ headers }: Visit["request"]): string {
  const path = URL.parse(headers.referer ?? "")?.pathname ?? "/"
  return path.startsWith("//") ? "/" : path
}

import { NextResponse } from "next/server"
import { watched } from "./sessions.ts"

export const proxy = watched.withSessionProxy(async (session, request) => {
  const asked = request.nextUrl.searchParams.get("proxy")
  if (asked === "start") session.set("note", "from the proxy")
  if (asked === "elsewhere") return NextResponse.redirect(new URL("/elsewhere", request.url))
  if (asked === "user") await watched.requireUser({ redirectTo: "/page/sign-in" })
  if (asked === "strict") await watched.requireUser()
  if (asked === "rewrite") return NextResponse.rewrite(new URL("/proxied/page", request.url))
  if (asked === "headers") {
    session.set("note", "beside headers")
    const headers = new Headers(request.headers)
    headers.set("x-own", "mine")
    return NextResponse.next({ request: { headers } })
  }
  return undefined
})

export const config = { matcher: "/proxied/:path*" }

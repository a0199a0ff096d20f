import { NextResponse } from "next/server"
import { watched } from "./sessions.ts"

export const proxy = watched.withSessionProxy(async (session, request) => {
  const asked = request.nextUrl.searchParams.get("proxy")
  if (asked === "start") session.set("note", "from the proxy")
  if (asked === "elsewhere") return NextResponse.redirect(new URL("/elsewhere", request.url))
  if (asked === "user") await watched.requireUser({ redirectTo: "/page/sign-in" })
  if (asked === "strict") await watched.requireUser()
  if (asked === "rotate") session.cycleId()
  if (asked === "start-and-fail") {
    session.set("note", "dropped")
    await watched.requireUser()
  }
  if (asked === "away" || asked === "away-with-change") {
    if (asked === "away-with-change") session.set("note", "changed")
    return NextResponse.rewrite(request.nextUrl.searchParams.get("to") as string)
  }
  if (asked === "blind") return NextResponse.rewrite(new URL("/proxied/fixed", request.url))
  if (asked === "chosen" && (await session.get("note")) !== "other") {
    return NextResponse.rewrite(new URL("/proxied/fixed", request.url))
  }
  if (asked === "without-cookie") {
    session.set("note", "kept from the page")
    const headers = new Headers(request.headers)
    headers.delete("cookie")
    return NextResponse.next({ request: { headers } })
  }
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

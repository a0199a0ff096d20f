import { NextResponse } from "next/server"
import { withSessionProxy } from "./sessions"

/** Keeps alive the sessions of those who only look, and shows a message once: `take` is a change, which a page cannot make. */
export const proxy = withSessionProxy(async (session, request) => {
  const headers = new Headers(request.headers)
  headers.delete("x-notice") // A visitor may have sent one.
  if (request.method === "GET") {
    const notice = await session.take("notice")
    if (notice !== undefined) headers.set("x-notice", encodeURIComponent(notice))
  }
  return NextResponse.next({ request: { headers } })
})

export const config = {
  matcher: [
    {
      // Neither what route handlers answer, nor files.
      source: "/((?!api/|_next/|.*\\.).*)",
      // Nobody has seen a page that was fetched ahead.
      missing: [
        { type: "header", key: "next-router-prefetch" },
        { type: "header", key: "purpose", value: "prefetch" },
      ],
    },
  ],
}

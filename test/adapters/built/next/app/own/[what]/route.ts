import { cookies } from "next/headers"
import { after } from "next/server"
import { notFound, permanentRedirect, unauthorized } from "next/navigation"
import { lookedAt, shop, watched } from "../../../sessions.ts"

type Context = { readonly params: Promise<{ readonly what: string }> }
type Act = Parameters<typeof shop.withSession<Context>>[0]

let lateRead: string | undefined
let lateWrite: string | undefined

const acts: Readonly<Record<string, Act>> = {
  jar: async (session) => {
    session.set("note", "beside a jar")
    ;(await cookies()).set("other", "1", { sameSite: "lax" })
    return new Response("both")
  },
  "jar-and-redirect": async (session) => {
    session.set("note", "beside a jar")
    ;(await cookies()).set("other", "1")
    permanentRedirect("/read")
  },
  "jar-and-not-found": async (session) => {
    session.set("note", "beside a jar")
    ;(await cookies()).set("other", "1")
    notFound()
  },
  "jar-and-invalidate": async (session) => {
    session.invalidate()
    ;(await cookies()).set("other", "1")
    return new Response("gone")
  },
  unauthorized: (session) => {
    session.set("note", "unauthorized")
    unauthorized()
  },
  fixed: (session) => {
    session.set("note", "fixed")
    return Response.redirect("http://localhost/elsewhere", 307)
  },
  after: async (session) => {
    await session.get("note")
    after(async () => {
      lateRead = (await session.get("note")) ?? "none"
      try {
        session.set("note", "too late")
      } catch (error) {
        lateWrite = (error as Error).name
      }
    })
    return new Response("answered")
  },
  "what-came-after": () => Response.json([lateRead, lateWrite]),
  same: async (session) => Response.json((await shop.getSession()) === session),
  nested: (_, request, context) => shop.withSession(() => new Response("never"))(request, context),
  other: (_, request, context) => watched.withSession(() => new Response("another kind"))(request, context),
  "change-and-refuse": async (session) => {
    session.set("note", "dropped")
    return new Response(await shop.requireUser())
  },
  "sign-out-and-refuse": async (session) => {
    session.signOut()
    return new Response(await shop.requireUser())
  },
  user: async () => new Response(await shop.requireUser({ redirectTo: "/read" })),
  "looked-at": () => {
    const operations = lookedAt.operations()
    lookedAt.reset()
    return Response.json(operations)
  },
  "fail-looking": () => {
    lookedAt.failNext("load")
    return new Response("once")
  },
}

const answer = shop.withSession<Context>(async (session, request, context) => {
  const act = acts[(await context.params).what] as Act
  return act(session, request, context)
})

export { answer as GET, answer as POST }

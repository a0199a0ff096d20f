import { sessionErrorResponse } from "coatcheck"
import { honoSessions } from "coatcheck/hono"
import { type Context, Hono } from "hono"
import { stream as streamOf } from "hono/streaming"
import { CSRF, play, type Reply, type SceneSession, type Stage } from "../scenes.ts"

/** Runs wherever Hono does. */
export function honoApp(stage: Stage): Hono {
  const { middleware, getSession } = honoSessions(stage.sessions, { csrf: CSRF })
  const admins = honoSessions(stage.admins, { property: "adminSession" })

  const scenes =
    (sessionOf: (c: Context) => SceneSession) =>
    async (c: Context): Promise<Response> =>
      answer(c, await play(sessionOf(c), { method: c.req.method, url: c.req.url }, stage))

  const app = new Hono()
  app.onError((error, c) => sessionErrorResponse(error) ?? c.text("The application's own error page", 500))
  app.use(middleware)
  app.use("/admin/*", admins.middleware)
  app.all("/admin/*", scenes(admins.getSession))
  app.route("/sub", new Hono().all("/*", scenes(getSession)))
  app.all("/*", scenes(getSession))
  return app
}

async function answer(c: Context, reply: Reply): Promise<Response> {
  if ("notFound" in reply) return c.notFound()
  if ("redirect" in reply) return c.redirect(reply.redirect, 303)
  for (const [name, value] of Object.entries(reply.headers ?? {})) c.header(name, value)
  if ("stream" in reply) {
    return streamOf(c, async (stream) => {
      for await (const piece of reply.stream) await stream.write(piece)
    })
  }
  const { status = 200, text } = reply
  if (status === 204 || status === 304) return c.body(null, status)
  return c.body(text, status as 200)
}

import { h3Sessions, sessionErrors } from "coatcheck/h3"
import { type EventHandler, H3, type H3Event, iterable, redirect } from "h3"
import { CSRF, play, type Reply, type SceneSession, type Stage } from "../scenes.ts"

/** Runs wherever h3 does. */
export function h3App(stage: Stage): H3 {
  const { middleware, getSession } = h3Sessions(stage.sessions, { csrf: CSRF })
  const admins = h3Sessions(stage.admins, { property: "adminSession" })

  const scenes =
    (sessionOf: (event: H3Event) => SceneSession): EventHandler =>
    async (event) =>
      answer(event, await play(sessionOf(event), event.req, stage))

  const app = new H3({ onError: sessionErrors, silent: true })
  app.use(middleware)
  app.use("/admin/**", admins.middleware)
  app.use("/admin/**", scenes(admins.getSession))
  app.mount("/sub", new H3().all("/**", scenes(getSession)))
  app.use(scenes(getSession), { match: ({ url }) => !url.pathname.startsWith("/sub/") })
  return app
}

/** Undefined where no route is to match: then h3 looks on. */
function answer(event: H3Event, reply: Reply): unknown {
  if ("notFound" in reply) return undefined
  if ("redirect" in reply) return redirect(reply.redirect, 303)
  for (const [name, value] of Object.entries(reply.headers ?? {})) event.res.headers.append(name, value)
  if ("stream" in reply) return iterable(reply.stream)
  event.res.status = reply.status ?? 200
  return reply.text
}

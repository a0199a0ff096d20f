import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { expressSessions, sessionErrors } from "coatcheck/express"
import type { Express, NextFunction, Request, RequestHandler, Response, Router } from "express"
import type { AdapterApp } from "../conformance.ts"
import { CSRF, play, type Reply, type SceneSession, type Stage } from "../scenes.ts"
import { listening } from "./node-server.ts"

/** What Express 4 and 5 have in common, for their types differ. */
export interface ExpressModule {
  (): Express
  Router(): Router
  urlencoded(options: { extended: boolean }): RequestHandler
}

export async function startExpress(express: ExpressModule, stage: Stage): Promise<AdapterApp> {
  const { middleware, getSession } = expressSessions(stage.sessions, { csrf: CSRF })
  const admins = expressSessions(stage.admins, { property: "adminSession" })
  const app = express()
  app.disable("x-powered-by")
  // For the token of a form: `csrf: true` alone reads no body.
  app.use(express.urlencoded({ extended: false }))
  app.use(middleware)
  app.use("/admin", admins.middleware, scenes(stage, admins.getSession))
  const sub = express()
  const router = express.Router()
  sub.use(router)
  router.use(scenes(stage, getSession))
  app.use("/sub", sub)
  app.use(scenes(stage, getSession))
  app.use(sessionErrors)
  app.use((_error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).send("The application's own error page")
  })
  return listening(createServer(app as (request: IncomingMessage, response: ServerResponse) => void))
}

type Handler = (request: Request, response: Response, next: NextFunction) => void

function scenes(stage: Stage, sessionOf: (request: Request) => SceneSession): Handler {
  return (request, response, next) => {
    play(sessionOf(request), { method: request.method, url: request.originalUrl }, stage).then(
      (reply) => send(reply, response, next),
      next,
    )
  }
}

function send(reply: Reply, response: Response, next: NextFunction): void {
  if ("notFound" in reply) return next()
  if ("redirect" in reply) return response.redirect(303, reply.redirect)
  if ("stream" in reply) {
    response.set(reply.headers)
    Readable.from(reply.stream).pipe(response)
    return
  }
  response.status(reply.status ?? 200)
  response.set(reply.headers ?? {})
  response.send(reply.text)
}

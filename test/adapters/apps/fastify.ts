import { Readable } from "node:stream"
import { SessionError } from "coatcheck"
import { fastifySessions, sessionErrors } from "coatcheck/fastify"
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify"
import type { AdapterApp } from "../conformance.ts"
import { CSRF, play, type Reply, type SceneSession, type Stage } from "../scenes.ts"

export async function startFastify(stage: Stage): Promise<AdapterApp> {
  const { plugin, getSession } = fastifySessions(stage.sessions, { csrf: CSRF })
  const admins = fastifySessions(stage.admins, { property: "adminSession" })
  const app = Fastify()
  parseForms(app)
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof SessionError) return sessionErrors(error, request, reply)
    return reply.code(500).send("The application's own error page")
  })
  await app.register(plugin)
  app.all("/*", scenes(stage, getSession))
  await app.register(
    async (sub) => {
      sub.all("/*", scenes(stage, getSession))
    },
    { prefix: "/sub" },
  )
  await app.register(
    async (administration) => {
      await administration.register(admins.plugin)
      administration.all("/*", scenes(stage, admins.getSession))
    },
    { prefix: "/admin" },
  )
  return listeningFastify(app)
}

/** Fastify itself parses JSON and text. */
export function parseForms(app: FastifyInstance): void {
  app.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string" },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body as string))),
  )
}

export async function listeningFastify(app: FastifyInstance): Promise<AdapterApp> {
  const url = await app.listen({ port: 0, host: "127.0.0.1" })
  return {
    url,
    async close() {
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

function scenes(
  stage: Stage,
  sessionOf: (request: FastifyRequest) => SceneSession,
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  return async (request, reply) =>
    send(await play(sessionOf(request), { method: request.method, url: request.url }, stage), reply)
}

function send(wanted: Reply, reply: FastifyReply): unknown {
  if ("notFound" in wanted) return reply.callNotFound()
  if ("redirect" in wanted) return reply.redirect(wanted.redirect, 303)
  reply.headers(wanted.headers ?? {})
  if ("stream" in wanted) return reply.send(Readable.from(wanted.stream))
  return reply.code(wanted.status ?? 200).send(wanted.text)
}

import { Readable } from "node:stream"
import type { IncomingMessage } from "node:http"
import {
  All,
  type ArgumentsHost,
  Catch,
  Controller,
  type ExceptionFilter,
  Headers,
  type INestApplication,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  NotFoundException,
  Req,
  Res,
  Session as SessionOfRequest,
  StreamableFile,
} from "@nestjs/common"
import { HttpAdapterHost, NestFactory } from "@nestjs/core"
import type { NestExpressApplication } from "@nestjs/platform-express"
import { FastifyAdapter, type NestFastifyApplication } from "@nestjs/platform-fastify"
import { errorResponse, SessionError } from "coatcheck"
import { expressSessions } from "coatcheck/express"
import { fastifySessions } from "coatcheck/fastify"
import { getSession } from "coatcheck/node"
import type { AdapterApp } from "../conformance.ts"
import { CSRF, play, type Reply, type SceneSession, type SceneSessions, type Stage } from "../scenes.ts"

/** A request of Express, or one of Fastify, which has that of Node.js. */
type NestRequest = IncomingMessage & { raw?: IncomingMessage; originalUrl: string }

/** An application of Nest on one of its two platforms. What decorators would say is said by calls, for tests are not compiled with them. */
export async function startNest(
  stage: Stage,
  platform: "Express" | "Fastify",
  prepare: (app: INestApplication) => void = (app) =>
    void app.useGlobalFilters(new SessionErrors(app.get(HttpAdapterHost))),
): Promise<AdapterApp> {
  class Scenes {
    readonly host: HttpAdapterHost

    constructor(host: HttpAdapterHost) {
      this.host = host
    }

    async playAdmin(request: NestRequest, response: unknown): Promise<void> {
      const session = sessionOf(stage.admins, request)
      this.send(
        await play(session, { method: request.method ?? "", url: request.originalUrl }, stage),
        response,
      )
    }

    /** By the decorator that Nest itself has. */
    property(session: SceneSession, inMiddleware: string): { isNew: boolean; inMiddleware: string } {
      return { isNew: session.isNew, inMiddleware }
    }

    async play(request: NestRequest, response: unknown): Promise<void> {
      const session = sessionOf(stage.sessions, request)
      this.send(
        await play(session, { method: request.method ?? "", url: request.originalUrl }, stage),
        response,
      )
    }

    send(reply: Reply, response: unknown): void {
      const { httpAdapter } = this.host
      if ("notFound" in reply) throw new NotFoundException()
      if ("redirect" in reply) return void httpAdapter.redirect(response, 303, reply.redirect)
      for (const [name, value] of Object.entries(reply.headers ?? {})) {
        httpAdapter.setHeader(response, name, value)
      }
      if ("text" in reply) return void httpAdapter.reply(response, reply.text, reply.status ?? 200)
      httpAdapter.reply(response, new StreamableFile(Readable.from(reply.stream)), 200)
    }
  }
  decorateClass(Scenes, Controller())
  Inject(HttpAdapterHost)(Scenes, undefined, 0)
  decorateMethod(Scenes, "property", All("property"))
  SessionOfRequest()(Scenes.prototype, "property", 0)
  Headers("x-is-new")(Scenes.prototype, "property", 1)
  for (const [name, path] of [
    ["playAdmin", "admin/*"],
    ["play", "*"],
  ] as const) {
    decorateMethod(Scenes, name, All(path))
    Req()(Scenes.prototype, name, 0)
    Res()(Scenes.prototype, name, 1)
  }

  /** A middleware of Nest, which the session is there for already. */
  class App implements NestModule {
    configure(consumer: MiddlewareConsumer): void {
      consumer
        .apply((request: IncomingMessage, _response: unknown, next: () => void) => {
          request.headers["x-is-new"] = String(getSession(stage.sessions, request).isNew)
          next()
        })
        .forRoutes("property")
    }
  }
  decorateClass(App, Module({ controllers: [Scenes] }))

  const app = await createApp(App, stage, platform)
  prepare(app)
  await app.listen(0, "127.0.0.1")
  const server = app.getHttpServer()
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async close() {
      server.closeAllConnections()
      await app.close()
    },
  }
}

async function createApp(
  module: new () => object,
  stage: Stage,
  platform: "Express" | "Fastify",
): Promise<NestExpressApplication | NestFastifyApplication> {
  const admins = { property: "adminSession" }
  if (platform === "Express") {
    const app = await NestFactory.create<NestExpressApplication>(module, { logger: false })
    // The token of a form needs a parsed body, and Nest parses after what is mounted here.
    app.useBodyParser("urlencoded", { extended: false })
    app.use(expressSessions(stage.sessions, { csrf: CSRF }).middleware)
    app.use("/admin", expressSessions(stage.admins, admins).middleware)
    return app
  }
  const adapter = new FastifyAdapter()
  // Before what `create` registers, so that middleware of Nest has the session as well.
  await adapter.register(fastifySessions(stage.sessions, { csrf: CSRF }).plugin)
  await adapter.register(fastifySessions(stage.admins, admins).plugin)
  return NestFactory.create<NestFastifyApplication>(module, adapter, { logger: false })
}

class SessionErrors implements ExceptionFilter<SessionError> {
  readonly host: HttpAdapterHost

  constructor(host: HttpAdapterHost) {
    this.host = host
  }

  catch(error: SessionError, context: ArgumentsHost): void {
    const { httpAdapter } = this.host
    const response: unknown = context.switchToHttp().getResponse()
    const { status, headers = {}, body } = errorResponse(error)
    for (const [name, value] of Object.entries(headers)) httpAdapter.setHeader(response, name, value)
    httpAdapter.reply(response, body, status)
  }
}
decorateClass(SessionErrors, Catch(SessionError))

function sessionOf(sessions: SceneSessions, request: NestRequest): SceneSession {
  return getSession(sessions, request.raw ?? request)
}

function decorateClass(target: Function, decorator: ClassDecorator): void {
  decorator(target)
}

function decorateMethod(target: Function, name: string, decorator: MethodDecorator): void {
  const prototype = target.prototype as object
  decorator(prototype, name, Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor)
}

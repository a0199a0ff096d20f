import type { IncomingMessage } from "node:http"
import { createParamDecorator, type ExecutionContext } from "@nestjs/common"
import { getSession } from "coatcheck/node"
import { sessions, type ShopSession } from "./sessions.ts"

/** The session of the request under way: on Express, whose request is that of Node.js, and on Fastify, whose request has that. */
export function sessionOf(context: ExecutionContext): ShopSession {
  const request = context.switchToHttp().getRequest<IncomingMessage & { raw?: IncomingMessage }>()
  return getSession(sessions, request.raw ?? request)
}

/** `@CurrentSession() session: ShopSession` */
export const CurrentSession = createParamDecorator((_: unknown, context: ExecutionContext) =>
  sessionOf(context),
)

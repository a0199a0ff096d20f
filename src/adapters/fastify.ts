import type {
  FastifyBaseLogger,
  FastifyPluginCallback,
  FastifyPluginOptions,
  FastifyReply,
  FastifyRequest,
  FastifyTypeProvider,
  RawServerBase,
} from "fastify"
import type { CsrfOptions, Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { SessionError, SignInRequiredError } from "../errors.ts"
import { isEncrypted } from "../forwarded.ts"
import { freshness } from "../guards.ts"
import { errorResponse } from "../refusal.ts"
import {
  ANSWER_HEADERS,
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  locationOf,
  propertyTaken,
  type PropertyOptions,
  PROXY_IS_TRUSTED,
} from "./shared-adapter.ts"
import {
  attachSession,
  csrfTokenIn,
  gateOf,
  NodeRequestFacts,
  type NodeRequest,
  type NodeServerResponse,
  sessionOfRequest,
  settleSession,
} from "./shared-node.ts"

export type { FreshGuardOptions, GuardOptions }

export type FastifySessionsOptions = PropertyOptions<string>

/** Any request of Fastify, whatever its server, its route and its types. */
export interface FastifySessionRequest {
  readonly raw: NodeRequest
}

/** A plugin for applications of any server, type provider and logger. */
export type FastifySessionsPlugin = FastifyPluginCallback<
  FastifyPluginOptions,
  RawServerBase,
  FastifyTypeProvider,
  FastifyBaseLogger
>

/** A hook for `onRequest`, `preValidation` or `preHandler`, of any route. */
export type FastifyGuard = (
  request: FastifySessionRequest,
  reply: { redirect(url: string, code?: number): unknown },
) => Promise<unknown>

/** For `setErrorHandler`. */
export type FastifyErrorHandler = (
  error: unknown,
  request: {
    readonly log: { error(details: object, text: string): void; info(details: object, text: string): void }
  },
  reply: {
    code(status: number): unknown
    headers(headers: Record<string, string>): unknown
    send(payload?: unknown): unknown
  },
) => unknown

/** The sessions of a Fastify application. Its members may be taken out of it. */
export interface FastifySessions<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /**
   * Opens the session of each request as `request.session`, and saves it before the first byte of the answer leaves. Register it once, before
   * what uses it: its context and those inside of it have sessions.
   */
  readonly plugin: FastifySessionsPlugin
  /** The session of a request, typed. @throws {SessionError} if the plugin has not run. */
  readonly getSession: (request: FastifySessionRequest) => Session<State, ClientState, Input, ClientInput>
  /** A hook that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => FastifyGuard
  /** A hook that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => FastifyGuard
}

/**
 * Sessions for Fastify 5. What fails goes to its error handlers, saving included, whose failure comes before anything has been sent. Whether
 * the client speaks https, and to which host, is what `Fastify({ trustProxy })` makes of it.
 */
export function fastifySessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: FastifySessionsOptions = {},
): FastifySessions<State, ClientState, Input, ClientInput> {
  type Own = FastifySessions<State, ClientState, Input, ClientInput>
  const { property = "session" } = options
  const csrf = csrfProtection(options.csrf)
  // A token may be in the body, which is not there yet when a request comes in.
  const csrfBeforeBody = csrfProtection(withoutToken(options.csrf))
  // Requests whose save has failed: the page of Fastify's error handlers goes through the hook, too.
  const failed = new WeakSet<NodeRequest>()

  const plugin: FastifySessionsPlugin = (app, _, registered) => {
    try {
      claim(app, sessions, property)
    } catch (error) {
      registered(error as Error)
      return
    }

    app.addHook("onRequest", (request, reply, next) => {
      const facts = new FastifyFacts(request)
      const onError = (error: unknown): Promise<void> | undefined => {
        failed.add(request.raw)
        return handOver(error, reply)
      }
      const session = attachSession(sessions, request.raw, reply.raw, { onError }, facts)
      expose(request, property, session)
      void csrfBeforeBody?.check(facts, session, () => undefined)
      next()
    })

    if (asksForToken(options.csrf)) {
      app.addHook("preValidation", async (request) => {
        await csrf?.check(new FastifyFacts(request), getSession(request), () =>
          csrfTokenIn(request.raw, request.body),
        )
      })
    }

    // Here a failure still meets everything that Fastify has for errors. What never comes by here is left to the gate of the response.
    app.addHook("onSend", (request, reply, payload, next) => {
      const session = sessionOfRequest(sessions, request.raw)
      if (session?.isTouched !== true || failed.has(request.raw)) return next()
      return saveEarly(request, reply, payload)
    })

    registered()
  }

  /** A promise rather than a call of `next`, for what Fastify does then may throw, which it catches from promises alone. */
  async function saveEarly({ raw }: FastifySessionRequest, reply: AnyReply, payload: unknown): Promise<void> {
    try {
      await settleSession(sessions, raw, statusOf(reply, payload))
    } catch (error) {
      failed.add(raw)
      forgetAnswer(reply)
      throw error
    }
  }

  const getSession: Own["getSession"] = (request) =>
    found(
      sessionOfRequest(sessions, request.raw),
      "Register the plugin of fastifySessions before what uses it, in the same context or around it.",
    )

  function guarding(within: FreshGuardOptions["within"] | undefined, to: string | undefined): FastifyGuard {
    return async (request, reply) => {
      try {
        await guard(getSession(request), within)
        return undefined
      } catch (error) {
        if (to === undefined || !(error instanceof SignInRequiredError)) throw error
        // A reply is a promise of its end, so the handler is not called meanwhile.
        return reply.redirect(locationOf(to), 303)
      }
    }
  }

  return {
    getSession,
    plugin: Object.assign(plugin, {
      // To the context that registers it, rather than to one of its own.
      [Symbol.for("skip-override")]: true,
      [Symbol.for("fastify.display-name")]: "coatcheck",
      [Symbol.for("plugin-meta")]: { name: "coatcheck", fastify: ">=5" },
    }),
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * An error handler that answers what sessions fail with: 503 with `Retry-After` while the store is unavailable, 401, 403. Other errors go on to
 * the error handler of the context around, or to Fastify's.
 */
export const sessionErrors: FastifyErrorHandler = (error, request, reply) => {
  const { status, headers, body } = errorResponse(error)
  if (status === 500) {
    // What is no error would be sent as an answer.
    if (!(error instanceof Error)) reply.code(500)
    return reply.send(error)
  }
  const { message } = error as Error
  if (status > 500) request.log.error({ err: error }, message)
  else request.log.info({ err: error }, message)
  reply.code(status)
  reply.headers({ ...headers })
  return reply.send(body)
}

/** What is used here of requests and replies, whatever their server. */
type AnyRequest = FastifySessionRequest & Pick<FastifyRequest, "protocol" | "host" | "body">
type AnyReply = Pick<FastifyReply, "sent" | "statusCode" | "log"> & {
  readonly raw: NodeServerResponse
  code(status: number): unknown
  header(name: string, value: string): unknown
  removeHeader(name: string): unknown
  send(payload: unknown): unknown
}

interface Claimed {
  hasRequestDecorator(name: string): boolean
  decorateRequest(name: string, value: null): unknown
}

const registrations = new WeakMap<object, Set<object>>()

/**
 * Makes room in the requests of an application, which keep their shape so.
 * @throws {SessionError} if it has these sessions, in this context or one around it, or something else of that name.
 */
function claim(app: Claimed, sessions: object, property: string | false): void {
  // A context has the one around it as its prototype.
  for (let context: object | null = app; context !== null; context = Object.getPrototypeOf(context)) {
    if (registrations.get(context)?.has(sessions) !== true) continue
    throw new SessionError(
      "The plugin of these sessions is registered twice, in one context or in one inside of another: once is enough. Sessions of another kind need another createSessions, with another cookie name.",
    )
  }
  if (property !== false) {
    if (app.hasRequestDecorator(property)) throw propertyTaken(property)
    app.decorateRequest(property, null)
  }
  const own = registrations.get(app) ?? new Set()
  registrations.set(app, own.add(sessions))
}

/** What was to be sent with. A web `Response` brings its own, which Fastify takes over later. */
function statusOf(reply: AnyReply, payload: unknown): number {
  const isResponse = Object.prototype.toString.call(payload) === "[object Response]"
  return isResponse ? (payload as { status: number }).status : reply.statusCode
}

function forgetAnswer(reply: AnyReply): void {
  for (const name of ANSWER_HEADERS) reply.removeHeader(name)
  reply.header("cache-control", "no-store")
  reply.code(500)
}

/** To the application's error handlers. What they leave unanswered is answered for them. */
function handOver(error: unknown, reply: AnyReply): Promise<void> | undefined {
  const { raw } = reply
  if (reply.sent || raw.headersSent) {
    // A hijacked reply, for one, is no longer Fastify's.
    reply.log.error({ err: error }, "The session could not be saved.")
    return undefined
  }
  forgetAnswer(reply)
  reply.send(error)
  // Whoever has not ended its answer may not wait for one that comes later.
  if (raw.writableEnded || !gateOf(raw).isEnded) return undefined
  return new Promise((resolve) => {
    raw.once("finish", resolve)
    raw.once("close", resolve)
  })
}

/** Fastify knows whom it trusts. */
class FastifyFacts extends NodeRequestFacts {
  readonly #request: AnyRequest

  constructor(request: AnyRequest) {
    super(request.raw, {})
    this.#request = request
  }

  override get secure(): boolean | undefined {
    const request = this.#request
    if (isEncrypted(request.protocol)) return true
    // Only requests of applications that trust proxies have it.
    const hasProxy = "ips" in request && request.raw.headers["x-forwarded-proto"] !== undefined
    return hasProxy ? false : super.secure
  }

  override get host(): string | undefined {
    return this.#request.host
  }

  override get httpsSetting(): string {
    const isTold = this.#request.raw.headers["x-forwarded-proto"] === "https"
    // What is told and not believed comes from a proxy that is not among the trusted ones.
    return "ips" in this.#request && !isTold ? PROXY_IS_TRUSTED : "Fastify({ trustProxy: true })"
  }
}

function withoutToken(csrf: boolean | CsrfOptions | undefined): boolean | CsrfOptions | undefined {
  return typeof csrf === "object" ? { ...csrf, token: false } : csrf
}

function asksForToken(csrf: boolean | CsrfOptions | undefined): boolean {
  return typeof csrf === "object" && csrf.token === true
}

import type { IncomingMessage, ServerResponse } from "node:http"
import type { Session, Sessions } from "../api.ts"
import { csrfProtection } from "../csrf.ts"
import { SignInRequiredError } from "../errors.ts"
import { freshness } from "../guards.ts"
import { sessionErrorResponse } from "../refusal.ts"
import {
  type AdapterOptions,
  ANSWER_HEADERS,
  expose,
  found,
  type FreshGuardOptions,
  guard,
  type GuardOptions,
  PROXY_IS_TRUSTED,
} from "./shared-adapter.ts"
import {
  attachSession,
  csrfTokenIn,
  NodeRequestFacts,
  type NodeRequest,
  sessionOfRequest,
  settleSession,
} from "./shared-node.ts"

export type { FreshGuardOptions, GuardOptions }

export interface KoaSessionsOptions<Property extends string | false = string | false> extends AdapterOptions {
  /** What the session is called on `ctx`: another name for each sessions of an application; `false` for none. Default `"session"`. */
  readonly property?: Property | undefined
}

/** What is used of Koa's `ctx`, whatever else an application has put there. */
export interface KoaContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly request: object
  readonly app: { readonly proxy: boolean }
  readonly host: string
  readonly secure: boolean
  status: number
  respond?: boolean | undefined
  get(field: string): string
  set(field: string, value: string): void
  remove(field: string): void
  redirect(url: string): void
  onerror(error: Error): void
}

/** A middleware of Koa. */
export type KoaMiddleware = (ctx: KoaContext, next: () => Promise<unknown>) => Promise<void>

/**
 * A middleware that can be mounted anywhere, for it asks for no session in `ctx`. As its second signature has one, `app.use(middleware)` types what
 * comes after it.
 */
export type KoaSessionMiddleware<Property extends string | false, S> = KoaMiddleware &
  ((
    ctx: KoaContext & (Property extends string ? { [K in Property]: S } : unknown),
    next: () => Promise<unknown>,
  ) => Promise<void>)

/** The sessions of a Koa application. Its members may be taken out of it. */
export interface KoaSessions<
  Property extends string | false,
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /** Opens the session of each request as `ctx.session`, and saves it before the first byte of the answer leaves. Mount it once, before what uses it. */
  readonly middleware: KoaSessionMiddleware<Property, Session<State, ClientState, Input, ClientInput>>
  /** The session of a request, typed whatever the context's type. @throws {SessionError} if the middleware has not run. */
  readonly getSession: (ctx: { readonly req: NodeRequest }) => Session<State, ClientState, Input, ClientInput>
  /** A middleware that lets only requests of signed-in users pass. */
  readonly requireUser: (options?: GuardOptions) => KoaMiddleware
  /** A middleware that lets only requests pass whose user has signed in that recently. */
  readonly requireFresh: (options: FreshGuardOptions) => KoaMiddleware
}

/**
 * Sessions for Koa 3. What fails is thrown, saving included, and so goes to `try` around `next()` and to `ctx.onerror`. Whether the client speaks
 * https, and to which host, is what Koa makes of it: `app.proxy`.
 */
export function koaSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
  const Property extends string | false = "session",
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  options: KoaSessionsOptions<Property> = {},
): KoaSessions<Property, State, ClientState, Input, ClientInput> {
  type Own = KoaSessions<Property, State, ClientState, Input, ClientInput>
  const { property = "session" } = options
  const csrf = csrfProtection(options.csrf)

  function open(ctx: KoaContext): Promise<void> | undefined {
    const facts = new KoaFacts(ctx)
    // What begins its answer by itself is saved when no middleware can catch anything any more.
    const onError = (error: unknown): void => ctx.onerror(withStatus(error))
    const session = attachSession(sessions, ctx.req, ctx.res, { onError }, facts)
    expose(ctx, property, session)
    return csrf?.check(facts, session, () =>
      csrfTokenIn(ctx.req, (ctx.request as { readonly body?: unknown }).body),
    )
  }

  const getSession: Own["getSession"] = (ctx) =>
    found(sessionOfRequest(sessions, ctx.req), "Mount the middleware of koaSessions before what uses it.")

  function guarding(within: FreshGuardOptions["within"] | undefined, to: string | undefined): KoaMiddleware {
    return async (ctx, next) => {
      try {
        await guard(getSession(ctx), within)
      } catch (error) {
        if (to === undefined || !(error instanceof SignInRequiredError)) throw error
        ctx.status = 303
        return ctx.redirect(to)
      }
      await next()
    }
  }

  const middleware: KoaMiddleware = async (ctx, next) => {
    await open(ctx)
    await next()
    // Who answers by hand has perhaps not begun: then the first byte decides.
    if (ctx.respond === false) return
    try {
      await settleSession(sessions, ctx.req, ctx.status)
    } catch (error) {
      forgetAnswer(ctx)
      throw error
    }
  }

  return {
    middleware,
    getSession,
    requireUser: ({ redirectTo } = {}) => guarding(undefined, redirectTo),
    requireFresh: ({ within, redirectTo }) => guarding(freshness(within), redirectTo),
  }
}

/**
 * A middleware that gives what sessions fail with the status that Koa then answers with: 503 and `Retry-After` while the store is unavailable,
 * 401, 403. The errors go on, to your own `try` or to `ctx.onerror`. Mount it before the sessions, if you want that.
 */
export const sessionErrors: KoaMiddleware = async (_ctx, next) => {
  try {
    await next()
  } catch (error) {
    throw withStatus(error)
  }
}

/** Gives an error what Koa looks for, unless it is none of a session's or has no better status than 500. */
function withStatus(error: unknown): Error {
  const response = sessionErrorResponse(error)
  if (response !== undefined && response.status !== 500) {
    response.headers.delete("Content-Type")
    Object.assign(error as Error, {
      status: response.status,
      statusCode: response.status,
      headers: Object.fromEntries(response.headers),
    })
  }
  return error as Error
}

/** Who catches the error makes another answer, of which the headers of this one would be wrong. */
function forgetAnswer(ctx: KoaContext): void {
  if (ctx.res.headersSent) return
  for (const name of ANSWER_HEADERS) ctx.remove(name)
  ctx.set("Cache-Control", "no-store")
  ctx.status = 500
}

/** Koa knows whom it trusts, and applications may teach it more. */
class KoaFacts extends NodeRequestFacts {
  readonly #ctx: KoaContext

  constructor(ctx: KoaContext) {
    super(ctx.req, {})
    this.#ctx = ctx
  }

  override get secure(): boolean | undefined {
    const secure = super.secure
    if (secure === true || this.#ctx.secure) return true
    const isTold = this.#ctx.app.proxy && this.#ctx.get("X-Forwarded-Proto") !== ""
    return isTold ? false : secure
  }

  override get host(): string {
    return this.#ctx.host
  }

  override get httpsSetting(): string {
    return this.#ctx.app.proxy ? PROXY_IS_TRUSTED : "app.proxy = true"
  }
}

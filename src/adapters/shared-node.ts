import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import process from "node:process"
import type { RequestFacts, Session, Sessions } from "../api.ts"
import { CSRF_FIELD, CSRF_HEADER } from "../csrf.ts"
import { SessionError } from "../errors.ts"
import { forwarded, isEncrypted, PROXY_HEADERS } from "../forwarded.ts"
import type { ErrorResponse } from "../refusal.ts"
import { MOUNTED_TWICE, PROXY_IS_TRUSTED } from "./shared-adapter.ts"
import { gateKey, ResponseGate, type NodeResponse, type Report } from "./shared-response.ts"

/** Sessions of the requests and responses of Node.js, for the adapters of frameworks that hand them on. */

/** A request of `node:http`, `node:https` or `node:http2`. */
export type NodeRequest = IncomingMessage | Http2ServerRequest

/** A response of `node:http`, `node:https` or `node:http2`. */
export type NodeServerResponse = ServerResponse | Http2ServerResponse

export interface RequestFactsOptions {
  /**
   * Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded` (RFC 7239), of which the first hop counts. Only for
   * servers that cannot be reached but through a proxy that sets them. Default: false.
   */
  readonly trustProxy?: boolean | undefined
  /** Why the session can only be read: see `RequestFacts`. */
  readonly readOnly?: string | undefined
}

export interface NodeSessionOptions<
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeServerResponse = ServerResponse,
> extends RequestFactsOptions {
  /**
   * Told of a session that could not be saved and, under `withSession`, of a handler that failed. If the head has not been sent, it may
   * answer in its own way: by what it returns, or on `response` before it returns (until its promise settles, if the handler had ended
   * its answer). What it leaves unanswered gets `errorResponse(error)`. Default: a process warning with the error's stack.
   */
  readonly onError?: ((error: unknown, request: Request, response: Response) => unknown) | undefined
  /**
   * Whether an answer in place of one that failed keeps the headers that were set, but for those that speak of the failed answer's content: for
   * frameworks, whose middleware sets some for every answer. Default false: nothing of what the handler wrote is sent.
   */
  readonly keepHeaders?: boolean | undefined
}

export interface Gated {
  [gateKey]?: ResponseGate | undefined
}

/**
 * Opens the session of a request and saves it before the first byte of the response leaves. For frameworks: `withSession` also
 * looks after a handler that fails.
 * @param facts what is known of the request, in place of `requestFacts(request, options)`
 * @throws {SessionError} if the response has begun, or has a session of the same `sessions`.
 */
export function attachSession<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeServerResponse = ServerResponse,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  request: Request,
  response: Response,
  options: NodeSessionOptions<Request, Response> = {},
  facts: RequestFacts = requestFacts(request, options),
): Session<State, ClientState, Input, ClientInput> {
  const gate = gateOf(response)
  if (gate.sessionOf(sessions) !== undefined) throw new SessionError(MOUNTED_TWICE)
  if (!gate.isOpen) {
    throw new SessionError(
      "This response has begun, so nothing a session does could reach the client: attach it earlier.",
    )
  }
  const session = sessions.open(request.headers.cookie, facts)
  const { keepHeaders } = options
  gate.add({ sessions, session, keepHeaders, report: reporter(options, request, response) })
  ;(request as Gated)[gateKey] = gate
  return session
}

/** The session that `attachSession` gave a request. */
export function sessionOfRequest<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  request: NodeRequest,
): Session<State, ClientState, Input, ClientInput> | undefined {
  const session = (request as Gated)[gateKey]?.sessionOf(sessions)
  return session as Session<State, ClientState, Input, ClientInput> | undefined
}

/**
 * Saves the session of a request before its head begins, for frameworks that know when a handler is done: what fails is thrown to them, once, and
 * their answer to it goes out as it is. What the response says of the session is still said at its head.
 */
export async function settleSession(sessions: object, request: NodeRequest, status: number): Promise<void> {
  const gate = (request as Gated)[gateKey]
  const session = gate?.isOpen === true ? gate.sessionOf(sessions) : undefined
  if (session?.isTouched !== true) return
  try {
    await session.finalize({ status })
  } catch (error) {
    // One whose head has begun meanwhile is dealt with there.
    if (gate?.isOpen === true) gate.tell(sessions)
    throw error
  }
}

/** What `sessions.open` wants to know of a request. For requests without a response, such as upgrades: their session can only be read. */
export function requestFacts(request: NodeRequest, options: RequestFactsOptions = {}): RequestFacts {
  return new NodeRequestFacts(request, options)
}

interface Connection {
  readonly encrypted?: boolean
}

export class NodeRequestFacts implements RequestFacts {
  readonly readOnly: string | undefined
  readonly #request: NodeRequest
  readonly #trustProxy: boolean
  /** Kept, because HTTP/2 takes it from a request whose client has left. */
  readonly #connection: Connection | undefined

  constructor(request: NodeRequest, { trustProxy = false, readOnly }: RequestFactsOptions) {
    this.readOnly = readOnly
    this.#request = request
    this.#trustProxy = trustProxy
    this.#connection = ("stream" in request ? request.stream.session : request.socket) as
      | Connection
      | undefined
  }

  get method(): string {
    return this.#request.method ?? "GET"
  }

  get secFetchSite(): string | undefined {
    return first(this.#request.headers["sec-fetch-site"])
  }

  get origin(): string | undefined {
    return this.#request.headers.origin
  }

  get isUpgrade(): boolean {
    return this.#request.headers.upgrade?.toLowerCase() === "websocket"
  }

  get httpsSetting(): string {
    return this.#trustProxy ? PROXY_IS_TRUSTED : "trustProxy: true"
  }

  get secure(): boolean | undefined {
    const protocol = this.#forwarded("proto")
    if (protocol !== undefined) return isEncrypted(protocol)
    if (this.#connection?.encrypted === true) return true
    // Behind a proxy the connection to it says nothing of the client's.
    const isProxied = PROXY_HEADERS.some((name) => this.#request.headers[name] !== undefined)
    return this.#connection === undefined || isProxied ? undefined : false
  }

  get host(): string | undefined {
    return this.#forwarded("host") ?? first(this.#request.headers[":authority"]) ?? this.#request.headers.host
  }

  #forwarded(what: "proto" | "host"): string | undefined {
    if (!this.#trustProxy) return undefined
    return forwarded(what, (name) => first(this.#request.headers[name]))
  }
}

/** The token that a request brings, in a header or in the field of a form that a body parser has read. */
export function csrfTokenIn(request: NodeRequest, body: unknown): string | undefined {
  const header = first(request.headers[CSRF_HEADER])
  if (header !== undefined) return header
  const field: unknown = (body as Record<string, unknown> | null | undefined)?.[CSRF_FIELD]
  return typeof field === "string" ? field : undefined
}

export function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "object" ? value[0] : value
}

export function gateOf(response: NodeServerResponse & Gated): ResponseGate {
  return (response[gateKey] ??= new ResponseGate(response as unknown as NodeResponse))
}

export function reporter<Request extends NodeRequest, Response extends NodeServerResponse>(
  { onError }: NodeSessionOptions<Request, Response>,
  request: Request,
  response: Response,
): Report {
  return (error) => {
    if (onError === undefined) return warn(error)
    try {
      const reply = onError(error, request, response)
      return isPromise(reply) ? reportLater(reply) : replyOf(reply)
    } catch (ownError) {
      return warn(ownError)
    }
  }
}

async function reportLater(reply: PromiseLike<unknown>): Promise<ErrorResponse | undefined> {
  try {
    return replyOf(await reply)
  } catch (ownError) {
    return warn(ownError)
  }
}

function replyOf(value: unknown): ErrorResponse | undefined {
  return typeof value === "object" && value !== null && "status" in value
    ? (value as ErrorResponse)
    : undefined
}

/** The stack leaves out an error's cause, which a driver may have filled with what it was sent. */
function warn(error: unknown): undefined {
  const detail = error instanceof Error ? error.stack : String(error)
  process.emitWarning("A request failed; pass onError to handle this.", {
    type: "CoatcheckWarning",
    code: "COATCHECK_REQUEST_FAILED",
    ...(detail === undefined ? undefined : { detail }),
  })
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"
}

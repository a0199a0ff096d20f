import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import process from "node:process"
import type { RequestFacts, Session, Sessions } from "../api.ts"
import { SessionError } from "../errors.ts"
import { PROXY_HEADERS } from "../headers.ts"
import {
  errorResponse,
  gateKey,
  isHttp2,
  ResponseGate,
  type ErrorResponse,
  type NodeResponse,
  type Report,
} from "./shared-response.ts"

export { errorResponse, type ErrorResponse }

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
}

interface Gated {
  [gateKey]?: ResponseGate | undefined
}

/**
 * A request listener whose handler gets the request's session, saved before the first byte of the answer leaves, however it is written.
 * A handler that throws or rejects is answered with `errorResponse`, or cut off if its answer had begun. A handler that never answers
 * saves nothing; one that answers a client that has left saves what it changed.
 */
export function withSession<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeServerResponse = ServerResponse,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  handler: (
    request: Request,
    response: Response,
    session: Session<State, ClientState, Input, ClientInput>,
  ) => unknown,
  options: NodeSessionOptions<Request, Response> = {},
): (request: Request, response: Response) => void {
  return (request, response) => {
    const fail = (error: unknown): void => {
      if (isDisconnect(error, response)) return
      gateOf(response).fail({ error, report: reporter(options, request, response) })
    }
    try {
      const answering = handler(request, response, attachSession(sessions, request, response, options))
      if (isPromise(answering)) answering.then(undefined, fail)
    } catch (error) {
      fail(error)
    }
  }
}

/**
 * Opens the session of a request and saves it before the first byte of the response leaves. For frameworks: `withSession` also
 * looks after a handler that fails.
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
): Session<State, ClientState, Input, ClientInput> {
  const gate = gateOf(response)
  if (gate.sessionOf(sessions) !== undefined) {
    throw new SessionError(
      "This response already has a session of these sessions: mount them once per request.",
    )
  }
  if (!gate.isOpen) {
    throw new SessionError(
      "This response has begun, so nothing a session does could reach the client: attach it earlier.",
    )
  }
  const session = sessions.open(request.headers.cookie, requestFacts(request, options))
  gate.add({ sessions, session, report: reporter(options, request, response) })
  ;(request as Gated)[gateKey] = gate
  return session
}

/**
 * The session that `withSession` or `attachSession` gave a request.
 * @throws {SessionError} if there is none.
 */
export function getSession<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  request: NodeRequest,
): Session<State, ClientState, Input, ClientInput> {
  const session = (request as Gated)[gateKey]?.sessionOf(sessions)
  if (session !== undefined) return session as Session<State, ClientState, Input, ClientInput>
  throw new SessionError(
    "This request has no session: call withSession or attachSession before it is looked for.",
  )
}

/** What `sessions.open` wants to know of a request. For requests without a response, such as upgrades: their session can only be read. */
export function requestFacts(request: NodeRequest, options: RequestFactsOptions = {}): RequestFacts {
  return new NodeRequestFacts(request, options.trustProxy === true)
}

interface Connection {
  readonly encrypted?: boolean
}

class NodeRequestFacts implements RequestFacts {
  readonly #request: NodeRequest
  readonly #trustProxy: boolean
  /** Kept, because HTTP/2 takes it from a request whose client has left. */
  readonly #connection: Connection | undefined

  constructor(request: NodeRequest, trustProxy: boolean) {
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

  get secure(): boolean | undefined {
    const protocol = this.#forwarded("proto")
    if (protocol !== undefined) return /^(?:https|wss)$/i.test(protocol)
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
    const { headers } = this.#request
    return (
      firstOf(first(headers[`x-forwarded-${what}`])) ?? forwardedParameter(first(headers["forwarded"]), what)
    )
  }
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "object" ? value[0] : value
}

/** The first member of a list, if it has one. */
function firstOf(list: string | undefined): string | undefined {
  const member = list?.split(",", 1)[0]?.trim()
  return member === "" ? undefined : member
}

/** A parameter of the first element of a `Forwarded` header (RFC 7239). */
function forwardedParameter(header: string | undefined, name: string): string | undefined {
  const element = /^(?:"(?:[^"\\]|\\.)*"|[^,"])*/.exec(header ?? "")?.[0] ?? ""
  for (const [, key, quoted, token] of element.matchAll(/([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g)) {
    if (key?.toLowerCase() === name) return quoted?.replaceAll(/\\(.)/g, "$1") ?? token
  }
  return undefined
}

function gateOf(response: NodeServerResponse & Gated): ResponseGate {
  return (response[gateKey] ??= new ResponseGate(response as unknown as NodeResponse))
}

function reporter<Request extends NodeRequest, Response extends NodeServerResponse>(
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

const DISCONNECTS = new Set<unknown>(["ABORT_ERR", "ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"])

/** Whether all that failed is that the client did not wait for the answer. */
function isDisconnect(error: unknown, nodeResponse: NodeServerResponse): boolean {
  const response = nodeResponse as unknown as NodeResponse
  const { destroyed, errored } = isHttp2(response) ? response.stream : response
  const hasLeft = destroyed === true && (errored ?? null) === null
  if (!hasLeft || !(error instanceof Error)) return false
  return error.name === "AbortError" || ("code" in error && DISCONNECTS.has(error.code))
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"
}

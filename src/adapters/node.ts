import type { IncomingMessage, ServerResponse } from "node:http"
import type { CsrfOptions, Session, Sessions } from "../api.ts"
import { CSRF_HEADER, csrfProtection } from "../csrf.ts"
import { errorResponse, type ErrorResponse } from "../refusal.ts"
import { found } from "./shared-adapter.ts"
import {
  attachSession,
  first,
  gateOf,
  isPromise,
  type NodeRequest,
  type NodeServerResponse,
  type NodeSessionOptions,
  reporter,
  requestFacts,
  type RequestFactsOptions,
  sessionOfRequest,
} from "./shared-node.ts"
import { isHttp2, type NodeResponse } from "./shared-response.ts"

export {
  attachSession,
  errorResponse,
  type ErrorResponse,
  type NodeRequest,
  type NodeServerResponse,
  type NodeSessionOptions,
  requestFacts,
  type RequestFactsOptions,
}

export interface WithSessionOptions<
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeServerResponse = ServerResponse,
> extends NodeSessionOptions<Request, Response> {
  /** Refuse unsafe requests from other sites: `onError` is told, and they are answered with 403. Default false. */
  readonly csrf?: boolean | CsrfOptions | undefined
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
  options: WithSessionOptions<Request, Response> = {},
): (request: Request, response: Response) => void {
  const csrf = csrfProtection(options.csrf)
  return (request, response) => {
    const fail = (error: unknown): void => {
      if (isDisconnect(error, response)) return
      gateOf(response).fail({ error, report: reporter(options, request, response) })
    }
    try {
      const session = attachSession(sessions, request, response, options)
      // At once, for a header is there at once.
      void csrf?.check(requestFacts(request, options), session, () => first(request.headers[CSRF_HEADER]))
      const answering = handler(request, response, session)
      if (isPromise(answering)) answering.then(undefined, fail)
    } catch (error) {
      fail(error)
    }
  }
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
  return found(
    sessionOfRequest(sessions, request),
    "Call withSession or attachSession before it is looked for.",
  )
}

/**
 * The session of a request that has no response of its own, such as one for a WebSocket (the `upgrade` event). It can only be read: a change throws.
 * @throws {CsrfError} with `csrf`, for a page of another site: browsers let any page open a WebSocket, cookies included.
 */
export function readSession<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  request: NodeRequest,
  options: ReadSessionOptions = {},
): Session<State, ClientState, Input, ClientInput> {
  const facts = requestFacts(request, { ...options, readOnly: options.readOnly ?? NO_RESPONSE })
  const session = sessions.open(request.headers.cookie, facts)
  void csrfProtection(options.csrf)?.check(facts, session, () => first(request.headers[CSRF_HEADER]))
  return session
}

export interface ReadSessionOptions extends RequestFactsOptions {
  /** Refuse requests for a WebSocket by pages of other sites. Default false. */
  readonly csrf?: boolean | CsrfOptions | undefined
}

const NO_RESPONSE = "it was opened without a response that could carry a cookie"

const DISCONNECTS = new Set<unknown>(["ABORT_ERR", "ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"])

/** Whether all that failed is that the client did not wait for the answer. */
function isDisconnect(error: unknown, nodeResponse: NodeServerResponse): boolean {
  const response = nodeResponse as unknown as NodeResponse
  const { destroyed, errored } = isHttp2(response) ? response.stream : response
  const hasLeft = destroyed === true && (errored ?? null) === null
  if (!hasLeft || !(error instanceof Error)) return false
  return error.name === "AbortError" || ("code" in error && DISCONNECTS.has(error.code))
}

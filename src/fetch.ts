import type { Finalized, Outcome, RequestFacts, Session } from "./api.ts"
import { forwarded, isEncrypted, PROXY_HEADERS } from "./forwarded.ts"
import { applyFinalized, headersTarget } from "./headers.ts"

/** Sessions of web requests and responses, as `sessions.handle` and most adapters have them. */

/** What a session has to say about a response. */
interface Finalizable {
  readonly isTouched: boolean
  finalize(outcome?: Outcome): Promise<Finalized>
}

export interface FetchFactsOptions {
  /** Believe `X-Forwarded-Proto` and `X-Forwarded-Host`, or else `Forwarded`, of which the first hop counts. Default false. */
  readonly trustProxy?: boolean | undefined
  /** See `RequestFacts`. */
  readonly httpsSetting?: string | undefined
  readonly readOnly?: string | undefined
}

/** What the functions here use of a `Request`. */
export interface WebRequest {
  readonly method: string
  readonly url: string
  readonly headers: { get(name: string): string | null; has(name: string): boolean }
}

/** Reads the facts of a web request when they are asked for. */
export class FetchFacts implements RequestFacts {
  readonly httpsSetting: string | undefined
  readonly readOnly: string | undefined
  readonly #request: WebRequest
  readonly #trustProxy: boolean
  #url: URL | undefined

  constructor(request: WebRequest, { trustProxy = false, httpsSetting, readOnly }: FetchFactsOptions = {}) {
    this.#request = request
    this.#trustProxy = trustProxy
    this.httpsSetting = httpsSetting
    this.readOnly = readOnly
  }

  get method(): string {
    return this.#request.method
  }

  get secFetchSite(): string | null {
    return this.#header("sec-fetch-site")
  }

  get origin(): string | null {
    return this.#header("origin")
  }

  get isUpgrade(): boolean {
    // `h2c` is offered by clients that go on as they are.
    return this.#header("upgrade")?.toLowerCase() === "websocket"
  }

  get secure(): boolean | undefined {
    const protocol = this.#forwarded("proto")
    if (protocol !== undefined) return isEncrypted(protocol)
    if (this.#parsed.protocol === "https:") return true
    // Behind a proxy the connection to it says nothing of the client's.
    return PROXY_HEADERS.some((name) => this.#request.headers.has(name)) ? undefined : false
  }

  get host(): string {
    return this.#forwarded("host") ?? this.#parsed.host
  }

  get #parsed(): URL {
    return (this.#url ??= new URL(this.#request.url))
  }

  #header(name: string): string | null {
    return this.#request.headers.get(name)
  }

  #forwarded(what: "proto" | "host"): string | undefined {
    return this.#trustProxy ? forwarded(what, (name) => this.#header(name)) : undefined
  }
}

/** Saves a session, and adds to a response what it has to say: to the very response, or to a copy where its headers cannot be changed. */
export async function finishResponse(response: Response, session: Finalizable): Promise<Response> {
  if (!session.isTouched) {
    // Nobody waits for it: it only makes later changes throw.
    void session.finalize()
    return response
  }
  if (response.status === 0 || response.status === 101) {
    // Neither a network error nor a switch of protocols can be given headers.
    await session.finalize({ status: 500, headersLost: true })
    return response
  }
  const finalized = await session.finalize({ status: response.status })
  return withFinalized(response, finalized)
}

/** The response with what its session has to say. */
export function withFinalized(response: Response, finalized: Finalized): Response {
  if (finalized.headers.length === 0) return response
  try {
    applyFinalized(headersTarget(response.headers), finalized)
    return response
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    // Headers of a redirect or of a fetched response cannot be changed, but those of a copy can.
    const copy = new Response(response.body, response)
    applyFinalized(headersTarget(copy.headers), finalized)
    return copy
  }
}

/** Ends the session of a request whose handler failed: what it throws goes to somebody's error page, which cannot carry our headers. */
export async function abandon(session: Pick<Session, "finalize">): Promise<void> {
  // The handler's error is the one to tell; a store that fails as well has told onEvent.
  await session.finalize({ status: 500, headersLost: true }).catch(() => undefined)
}

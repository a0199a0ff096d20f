import type { RequestFacts, Session, Sessions } from "../api.ts"
import { type CsrfProtection, csrfTokenOf, type TokenSource } from "../csrf.ts"
import { FetchFacts, type FetchFactsOptions } from "../fetch.ts"
import { hold } from "./shared-adapter.ts"

/** Sessions of frameworks whose handlers are given a web `Request`. */

/** A request's session, and what is known of the request. */
export interface Opened<S> {
  readonly session: S
  /**
   * Refuses what comes from another site.
   * @param readToken for frameworks that keep a body that was read; the request itself has it only once
   * @throws {CsrfError}
   */
  readonly check: (readToken?: () => TokenSource) => Promise<void> | undefined
}

/**
 * Opens the session of a request, once.
 * @param request what the request's middleware and handlers all have
 * @throws {SessionError} if it has one
 */
export function openWeb<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Sessions<State, ClientState, Input, ClientInput>,
  request: Request,
  csrf: CsrfProtection | undefined,
  options: FetchFactsOptions = {},
  holder: object = request,
): Opened<Session<State, ClientState, Input, ClientInput>> {
  const facts: RequestFacts = new FetchFacts(request, options)
  const session = sessions.open(request.headers.get("cookie"), facts)
  hold(holder, sessions, session)
  return {
    session,
    check: (readToken = () => csrfTokenOf(request)) => csrf?.check(facts, session, readToken),
  }
}

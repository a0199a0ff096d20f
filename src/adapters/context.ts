import { AsyncLocalStorage } from "node:async_hooks"
import type { Session, Sessions } from "../api.ts"
import { SessionError } from "../errors.ts"

/** The session of the request under way, for code that was handed neither. Its members may be taken out of it. */
export interface SessionContext<
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> {
  /**
   * The session of this request. Costs no I/O, and may be awaited all the same.
   * @throws {SessionError} outside of a request.
   */
  readonly getSession: () => Session<State, ClientState, Input, ClientInput>
  /** The session of this request, or undefined outside of one: for code that also runs in jobs and at start-up. */
  readonly tryGetSession: () => Session<State, ClientState, Input, ClientInput> | undefined
  /** Runs a function whose session this is, with all that it starts. Inside another `run` it takes that one's place until it is done. */
  readonly run: <T>(session: Session<State, ClientState, Input, ClientInput>, task: () => T) => T
  /** `sessions.handle`, whose handler runs with its session. */
  readonly handle: Sessions<State, ClientState, Input, ClientInput>["handle"]
}

/** Makes the session of a request known to everything the request runs, through an `AsyncLocalStorage` of its own. */
export function sessionContext<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  sessions: Pick<Sessions<State, ClientState, Input, ClientInput>, "handle">,
): SessionContext<State, ClientState, Input, ClientInput> {
  type Own = SessionContext<State, ClientState, Input, ClientInput>
  const storage = new AsyncLocalStorage<ReturnType<Own["getSession"]>>()
  const tryGetSession: Own["tryGetSession"] = () => storage.getStore()
  const run: Own["run"] = (session, task) => storage.run(session, task)
  return {
    tryGetSession,
    run,
    getSession: () => {
      const session = tryGetSession()
      if (session !== undefined) return session
      throw new SessionError(NO_SESSION)
    },
    handle: (handler) => {
      if (typeof handler !== "function")
        throw new TypeError("handle takes a function (request, session) => Response.")
      return sessions.handle((request, session, ...rest) =>
        run(session, () => handler(request, session, ...rest)),
      )
    },
  }
}

const NO_SESSION =
  "getSession was called outside of a request. Call it in what runs under a handler given to handle, or a function given to run. " +
  "If this does, the way here led through something that calls back on its own account, such as an event listener or the pull of a stream: " +
  "wrap that callback in AsyncLocalStorage.bind, or take the session before."

import type { AnyState, Sessions } from "../api.ts"
import { type SessionContext, sessionContext } from "./context.ts"

/** What a Worker's `fetch` is given besides request and bindings, as far as every version of the types has it. */
export interface WorkerContext {
  waitUntil(promise: Promise<unknown>): void
  passThroughOnException(): void
}

/** The sessions of a Worker. Its members may be taken out of it. */
export interface WorkerSessions<
  Env,
  State extends object,
  ClientState extends object,
  Input extends object = State,
  ClientInput extends object = ClientState,
> extends Omit<SessionContext<State, ClientState, Input, ClientInput>, "handle" | "run"> {
  /** Gives a Worker's `fetch` its sessions. It stays a `fetch`, so that one that is there already, a router's too, can be given as it is. */
  readonly handle: <Incoming extends Request, Bindings extends Env, Context = WorkerContext>(
    fetch: (request: Incoming, env: Bindings, ctx: Context) => Response | Promise<Response>,
  ) => (request: Incoming, env: Bindings, ctx: Context) => Promise<Response>
  /** The sessions behind an `env`, for what is not about the session of a request: `scheduled` handlers, revocations. */
  readonly sessionsOf: (env: Env) => Sessions<State, ClientState, Input, ClientInput>
}

/**
 * Makes the sessions of a Worker known to its `fetch` and to everything that runs under it. Needs the compatibility flag `nodejs_als`
 * or `nodejs_compat`.
 * @param source makes the sessions from the bindings, once for each `env`; or sessions that are there already
 */
export function workerSessions<
  Env extends object,
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  source: (env: Env) => Sessions<State, ClientState, Input, ClientInput>,
): WorkerSessions<Env, State, ClientState, Input, ClientInput>
export function workerSessions<
  State extends object,
  ClientState extends object,
  Input extends object,
  ClientInput extends object,
>(
  source: Sessions<State, ClientState, Input, ClientInput>,
): WorkerSessions<unknown, State, ClientState, Input, ClientInput>
export function workerSessions(
  source: Sessions | ((env: object) => Sessions),
): WorkerSessions<object, AnyState, AnyState> {
  const sessionsOf = sessionsByEnv(source)
  const { getSession, tryGetSession, handle } = sessionContext<AnyState, AnyState, AnyState, AnyState>({
    handle:
      (handler) =>
      async (request, ...rest) =>
        sessionsOf(rest[0] as object).handle(handler)(request, ...rest),
  })
  return {
    getSession,
    tryGetSession,
    sessionsOf,
    handle: (fetch) => {
      if (typeof fetch !== "function")
        throw new TypeError("handle takes a function (request, env, ctx) => Response.")
      return (request, env, ctx) => handle<[object]>(() => fetch(request, env, ctx))(request, env)
    },
  }
}

/** An isolate hands over one `env` for as long as its bindings stay, so the sessions of each are made once. */
function sessionsByEnv(source: Sessions | ((env: object) => Sessions)): (env: object) => Sessions {
  if (typeof source !== "function") return () => source
  const made = new WeakMap<object, Sessions>()
  return (env) => {
    if (typeof env !== "object" || env === null) {
      throw new TypeError(
        "The sessions of a Worker are made from its env, which is missing: hand fetch all it was called with, (request, env, ctx).",
      )
    }
    let sessions = made.get(env)
    if (sessions === undefined) {
      sessions = source(env)
      made.set(env, sessions)
    }
    return sessions
  }
}

import type { AnyState, Outcome, RequestFacts, Session, Sessions } from "./api.ts"
import type { SessionsOptions } from "./config.ts"
import type { SessionEvent } from "./diagnostics.ts"
import { createSessions } from "./sessions.ts"
import { memoryStore } from "./stores/memory.ts"
import { type FakeClock, fakeClock } from "./testing/clock.ts"
import { type SpyStore, spyStore } from "./testing/spy-store.ts"

export const KEY = "a key for tests, long enough: 32 bytes"

/** A browser that keeps one cookie: each visit is one request. */
export class Visitor {
  cookie: string | undefined
  /** The `Set-Cookie` of the last visit. */
  setCookie: string | undefined
  readonly #sessions: Sessions

  constructor(sessions: Sessions, cookie?: string) {
    this.#sessions = sessions
    this.cookie = cookie
  }

  async visit<T>(
    handler: (session: Session) => T | Promise<T>,
    outcome?: Outcome,
    request?: RequestFacts,
  ): Promise<T> {
    const late = this.arrive(handler, request)
    const result = await late.handled
    await late.leave(outcome)
    return result
  }

  /** A request whose response is not sent before `leave` is called. */
  arrive<T>(
    handler: (session: Session) => T | Promise<T>,
    request?: RequestFacts,
  ): { session: Session; handled: Promise<T>; leave(outcome?: Outcome): Promise<string | undefined> } {
    const session = this.#sessions.open(this.cookie, request)
    const handled = (async () => handler(session))()
    return {
      session,
      handled,
      leave: async (outcome) => {
        await handled
        const finalized = await session.finalize(outcome)
        this.setCookie = finalized.setCookie
        if (finalized.setCookie !== undefined) this.cookie = cookieAfter(finalized.setCookie)
        return finalized.setCookie
      },
    }
  }
}

/** What a browser sends back after this `Set-Cookie`. */
export function cookieAfter(setCookie: string): string | undefined {
  return /; Max-Age=0(?:;|$)/.test(setCookie) ? undefined : setCookie.slice(0, setCookie.indexOf(";"))
}

export interface World {
  readonly sessions: Sessions
  readonly store: SpyStore
  readonly clock: FakeClock
  readonly events: SessionEvent[]
  visitor(cookie?: string): Visitor
}

/** Sessions on a spied memory store, under a fake clock. */
export function world(options: SessionsOptions = {}): World {
  const clock = fakeClock()
  const store = spyStore(options.store ?? memoryStore({ clock }))
  const events: SessionEvent[] = []
  const sessions = createSessions<AnyState, AnyState>({
    keys: [KEY],
    clock,
    onEvent: (event) => events.push(event),
    onWarning: () => undefined,
    ...(options as object),
    store,
  })
  return { sessions, store, clock, events, visitor: (cookie) => new Visitor(sessions, cookie) }
}

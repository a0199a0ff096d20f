import {
  createSessions,
  requireFresh,
  requireUser,
  type Session,
  type SessionEvent,
  type Sessions,
} from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { type SpyStore, spyStore, type StoreOperation } from "coatcheck/testing"

/**
 * What the application does that every adapter is tested with, in words of no framework. An adapter's application has one handler, which hands each request's
 * session to `play`, and answers with what it gets as its framework does: text, redirects, streams, errors, not-found pages.
 */

export interface State {
  count: number
  note: string
}

export interface ClientState {
  theme: string
}

export type SceneSession = Session<State, ClientState>
export type SceneSessions = Sessions<State, ClientState>

/** What a scene is told of its request. */
export interface SceneRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
}

/** What a scene wants to be answered with. */
export type Reply =
  | { readonly text: string; readonly status?: number; readonly headers?: Readonly<Record<string, string>> }
  | { readonly redirect: string }
  | {
      readonly stream: AsyncIterable<string>
      readonly headers: Readonly<Record<string, string>>
    }
  /** As if no route had matched. */
  | { readonly notFound: true }

/** One application: its sessions, those of another kind beside them, and their store. */
export interface Stage {
  readonly store: SpyStore
  readonly sessions: SceneSessions
  /** Another kind, in another store and cookie. */
  readonly admins: SceneSessions
  readonly events: SessionEvent[]
  readonly warnings: string[]
}

/** With this the applications are to protect themselves. */
export const CSRF = { trustedOrigins: ["https://friend.example"], token: true } as const

export const KEY = "a secret of 32 bytes or more, of the tests"

/** Sessions whose store can be told to be slow, or to fail, by requests to `/control`. */
export function createStage(): Stage {
  const store = spyStore(memoryStore())
  const events: SessionEvent[] = []
  const warnings: string[] = []
  const own = {
    keys: [KEY],
    onEvent: (event: SessionEvent) => void events.push(event),
    onWarning: (message: string, code: string) => void warnings.push(`${code}: ${message}`),
  }
  return {
    store,
    events,
    warnings,
    sessions: createSessions<State, ClientState>({ ...own, store }),
    admins: createSessions<State, ClientState>({ ...own, store: memoryStore(), cookie: { name: "admin" } }),
  }
}

/** The stage of a process: of an application that is built, and has no other way to be handed one. */
export const stage: Stage = createStage()

type Scene = (session: SceneSession, request: URL, stage: Stage) => Reply | Promise<Reply>

const scenes: Readonly<Record<string, Scene>> = {
  "/untouched": () => ({ text: "untouched" }),

  "/count": async (session) => {
    const count = ((await session.get("count")) ?? 0) + 1
    session.set("count", count)
    return { text: String(count) }
  },

  "/read": async (session) => ({
    text: JSON.stringify({
      count: (await session.get("count")) ?? null,
      note: (await session.get("note")) ?? null,
      theme: session.client.get("theme") ?? null,
      user: await session.userId(),
    }),
  }),

  "/note": async (session, { searchParams }) => {
    session.set("note", searchParams.get("note") ?? "")
    return { redirect: "/read" }
  },

  "/theme": (session, { searchParams }) => {
    session.client.set("theme", searchParams.get("theme") ?? "dark")
    return { text: "set" }
  },

  "/sign-in": (session, { searchParams }) => {
    session.signIn(searchParams.get("user") ?? "ada")
    return { redirect: "/read" }
  },

  "/sign-out": (session) => {
    session.signOut()
    return { redirect: "/read" }
  },

  "/invalidate": (session) => {
    session.invalidate()
    return { text: "gone" }
  },

  "/no-content": (session) => {
    session.set("note", "no content")
    return { text: "", status: 204 }
  },

  "/not-modified": (session) => {
    session.set("note", "not modified")
    return { text: "", status: 304, headers: { ETag: '"1"' } }
  },

  "/headers": async (session) => {
    await session.get("count")
    session.set("note", "headers")
    return {
      text: "headers",
      headers: { "Cache-Control": "public, max-age=60", Vary: "Accept", "Set-Cookie": "other=1; Path=/" },
    }
  },

  "/large": (session) => {
    session.set("note", "large")
    return { text: "x".repeat(200_000), headers: { "Content-Type": "text/plain; charset=utf-8" } }
  },

  "/download": (session) => {
    session.set("note", "downloaded")
    return {
      stream: pieces(["one\n", "two\n", "three\n"], 0),
      headers: { "Content-Type": "text/plain", "Content-Disposition": 'attachment; filename="a.txt"' },
    }
  },

  /** Writes before the stream begins; a write while it runs must be refused. */
  "/stream": async (session) => {
    session.set("note", "streamed")
    return {
      stream: lateWrite(session),
      headers: { "Content-Type": "text/plain; charset=utf-8" },
    }
  },

  "/events": async (session) => {
    session.set("note", "events")
    return {
      stream: pieces(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"], 300),
      headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" },
    }
  },

  "/throw": (session) => {
    session.set("note", "thrown")
    throw new Error("The handler failed.")
  },

  "/sign-out-and-throw": (session) => {
    session.signOut()
    throw new Error("The handler failed.")
  },

  "/failing": (session) => {
    session.set("note", "failing")
    return { text: "failing", status: 500 }
  },

  "/refused": (session) => {
    session.set("note", "refused")
    return { text: "refused", status: 422 }
  },

  "/nowhere": (session) => {
    session.set("note", "nowhere")
    return { notFound: true }
  },

  "/too-large": (session) => {
    session.client.set("theme", "x".repeat(5000))
    return { text: "never sent" }
  },

  "/save": async (session) => {
    session.set("note", "saved")
    await session.save()
    return { text: "saved" }
  },

  "/user": async (session) => ({ text: await requireUser(session) }),

  "/fresh": async (session, { searchParams }) => ({
    text: await requireFresh(session, { within: Number(searchParams.get("within") ?? 60_000) }),
  }),

  "/token": async (session) => ({ text: await session.csrfToken() }),

  "/change": (session) => {
    session.set("note", "changed")
    return { text: "changed" }
  },

  "/control": (_, { searchParams }, { store }) => {
    if (searchParams.has("reset")) store.reset()
    const delay = searchParams.get("delay")
    if (delay !== null) for (const name of WRITES) store.delay(name, Number(delay))
    const fail = searchParams.get("fail")
    if (fail !== null) store.failNext(fail as StoreOperation)
    return { text: JSON.stringify(store.operations()) }
  },

  "/warnings": (_, __, { warnings }) => ({ text: JSON.stringify(warnings) }),
}

const WRITES = ["create", "update", "changeId", "delete"] as const

/** Plays the scene of a request. Throws what the handler is to throw. */
export async function play(session: SceneSession, { url }: SceneRequest, on: Stage = stage): Promise<Reply> {
  const location = new URL(url, "http://localhost")
  const scene = scenes[location.pathname.replace(/^\/(?:sub|admin)(?=\/)/, "")]
  return scene === undefined ? { notFound: true } : scene(session, location, on)
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

async function* pieces(texts: readonly string[], pause: number): AsyncGenerator<string> {
  for (const [index, text] of texts.entries()) {
    if (index > 0 && pause > 0) await sleep(pause)
    yield text
  }
}

async function* lateWrite(session: SceneSession): AsyncGenerator<string> {
  yield "first;"
  await sleep(300)
  try {
    session.set("note", "too late")
    yield "not refused;"
  } catch (error) {
    yield `${(error as { code?: string }).code};`
  }
  yield "last;"
}

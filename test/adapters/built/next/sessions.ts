import { Readable } from "node:stream"
import { createSessions, sessionErrorResponse } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { nextSessions } from "coatcheck/next"
import { type SpyStore, spyStore } from "coatcheck/testing"
import { notFound, redirect } from "next/navigation"
import type { NextRequest } from "next/server"
import {
  createStage,
  CSRF,
  KEY,
  play,
  type Reply,
  type SceneSession,
  type Stage,
  type State,
} from "../../scenes.ts"

// Next.js may bundle this several times, so what there is one of hangs on the process.
const shared = globalThis as { stage?: Stage; lookedAt?: SpyStore }
const stage = (shared.stage ??= createStage())
export const lookedAt: SpyStore = (shared.lookedAt ??= spyStore(memoryStore()))

export const shop = nextSessions(stage.sessions, { csrf: CSRF })
const admins = nextSessions(stage.admins)
/** Sessions that are extended whenever a page is looked at. */
export const watched = nextSessions(
  createSessions<State>({
    store: lookedAt,
    keys: [KEY],
    cookie: { name: "watched" },
    ttlExtensionThreshold: 1,
  }),
  {
    // As without, but it tells what is wrong with the program.
    onError: (error) => {
      const answer = sessionErrorResponse(error)
      return answer?.status === 500 ? new Response(String(error), { status: 500 }) : answer
    },
  },
)

async function scene(session: SceneSession, request: NextRequest): Promise<Response> {
  const { pathname, search } = request.nextUrl
  return send(await play(session, { method: request.method, url: `${pathname}${search}` }, stage))
}

function send(reply: Reply): Response {
  if ("notFound" in reply) notFound()
  if ("redirect" in reply) redirect(reply.redirect)
  if ("stream" in reply) {
    const body = Readable.toWeb(Readable.from(reply.stream, { objectMode: false }))
    return new Response(body as ReadableStream<Uint8Array>, { headers: reply.headers })
  }
  const { text, status = 200, headers } = reply
  return new Response(text === "" ? null : text, { status, ...(headers && { headers }) })
}

export const answer = shop.withSession(scene)
export const answerAdmins = admins.withSession(scene)

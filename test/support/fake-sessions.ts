import type { IncomingMessage, ServerResponse } from "node:http"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, expect, vi } from "vitest"
import type { Finalized, Outcome, RequestFacts, Sessions } from "coatcheck"
import { StoreError } from "coatcheck"
import { attachSession, type NodeSessionOptions, withSession } from "coatcheck/node"
import { type Protocol, type Running, serve } from "./node-servers.ts"

/** Sessions of which an adapter sees all it is allowed to see: whether they are touched, and how they are finalized. */

export type Handler = (request: IncomingMessage, response: ServerResponse, session: FakeSession) => unknown

export interface FakeSession {
  isTouched: boolean
  readonly cookieHeader: unknown
  readonly facts: RequestFacts
  readonly outcomes: Outcome[]
  finalize(outcome?: Outcome): Promise<Finalized>
}

export interface FakeSessions {
  readonly opened: FakeSession[]
  open(cookieHeader: unknown, facts: RequestFacts): FakeSession
}

export const nothing: Finalized = { headers: [] }
export const cookie: Finalized = {
  headers: [
    { name: "Vary", value: "Cookie", mode: "merge" },
    { name: "Set-Cookie", value: "id=new; Path=/", mode: "append" },
    { name: "Cache-Control", value: "no-store", mode: "set" },
  ],
  setCookie: "id=new; Path=/",
}

export function fakeSessions(
  finalize: (outcome: Outcome | undefined) => Promise<Finalized> | Finalized = () => nothing,
  isTouched = true,
): FakeSessions {
  const opened: FakeSession[] = []
  return {
    opened,
    open(cookieHeader, facts) {
      const session: FakeSession = {
        isTouched,
        cookieHeader,
        facts,
        outcomes: [],
        async finalize(outcome) {
          session.outcomes.push({ ...outcome })
          return finalize(outcome)
        },
      }
      opened.push(session)
      return session
    },
  }
}

/** A listener of `withSession`. What the handlers do works under HTTP/1 and HTTP/2 alike, so they are written for the former. */
export function listen(
  sessions: FakeSessions,
  handler: Handler,
  options: NodeSessionOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  return withSession(
    sessions as unknown as Sessions,
    (request, response, session) => handler(request, response, session as unknown as FakeSession),
    options,
  )
}

export function attach(
  sessions: FakeSessions,
  request: IncomingMessage,
  response: ServerResponse,
): FakeSession {
  return attachSession(sessions as unknown as Sessions, request, response) as unknown as FakeSession
}

export const storeDown = (): StoreError =>
  new StoreError("The store failed.", { operation: "update", store: "fake" })

export const slowly = (finalized: Finalized) => async (): Promise<Finalized> => {
  await sleep(3)
  return finalized
}

/** Under HTTP/2 `setHeader` returns nothing to go on with. */
export function withHeaders(
  response: ServerResponse,
  headers: Record<string, string | number | string[]>,
): ServerResponse {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  return response
}

/**
 * A server for each test, stopped after it, which fails if a promise was rejected and nobody looked.
 * @returns a function that starts it, in place of the one before.
 */
export function oneServer(): (protocol: Protocol, listener: unknown) => Promise<Running> {
  let running: Running | undefined
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)

  async function stop(): Promise<void> {
    await running?.[Symbol.asyncDispose]()
    running = undefined
  }

  beforeEach(() => {
    unhandled.length = 0
    process.on("unhandledRejection", note)
  })

  afterEach(async () => {
    await stop()
    await nextTurn()
    process.off("unhandledRejection", note)
    vi.restoreAllMocks()
    expect(unhandled).toEqual([])
  })

  return async (protocol, listener) => {
    await stop()
    running = await serve(protocol, listener)
    return running
  }
}

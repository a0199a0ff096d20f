import {
  type CsrfError,
  type CsrfOptions,
  errorResponse,
  type ErrorResponse,
  type HandleOptions,
  isRevoked,
  isSessionError,
  type RequestFacts,
  requireFresh,
  requireUser,
  type Revocation,
  type Session,
  type SessionError,
  type sessionErrorResponse,
  type SessionReadOnlyError,
  type Sessions,
  type SignInRequiredError,
} from "coatcheck"
import { readSession, withSession } from "coatcheck/node"
import { signedInCookie, type PlaywrightCookie, type SignedInCookie } from "coatcheck/testing"
import type { IncomingMessage } from "node:http"
import { expectType, type Same } from "./expect-type.ts"

interface State {
  cart: string[]
}
interface ClientState {
  theme: "light" | "dark"
}
declare const sessions: Sessions<State, ClientState>
declare const session: Session<State, ClientState>
declare const request: IncomingMessage

// The guards take a session of any state, and give the user.

expectType<Same<ReturnType<typeof requireUser>, Promise<string>>>()
expectType<Same<ReturnType<typeof requireFresh>, Promise<string>>>()
await requireUser(session)
await requireFresh(session, { within: "5m" })
await requireFresh(session, { within: 300_000 })
// @ts-expect-error -- no duration
await requireFresh(session, { within: "5 minutes" })
// @ts-expect-error -- it must be said
await requireFresh(session, {})
// @ts-expect-error -- a promise of a session is none
await requireUser(Promise.resolve(session))

expectType<Same<ReturnType<typeof session.signedInFor>, Promise<number | null>>>()
expectType<Same<ReturnType<typeof session.csrfToken>, Promise<string>>>()
expectType<Same<ReturnType<typeof session.verifyCsrfToken>, boolean>>()
// @ts-expect-error -- what may be missing is checked first
session.verifyCsrfToken(request.headers["x-csrf-token"])

// Options may be left out, be undefined, and be shared.

const csrf: CsrfOptions = { trustedOrigins: ["https://admin.example"], token: undefined }
const options: HandleOptions = { csrf, trustProxy: undefined }
sessions.handle(() => new Response(), options)
sessions.handle(() => new Response(), { csrf: true })
sessions.handle(() => new Response(), { csrf: { trustedOrigins: ["https://a.example"] as const } })
// @ts-expect-error -- a list
sessions.handle(() => new Response(), { csrf: { trustedOrigins: "https://a.example" } })
// @ts-expect-error -- no such option
sessions.handle(() => new Response(), { csrf: { origins: [] } })
// @ts-expect-error -- no such option
sessions.handle(() => new Response(), { crsf: true })

withSession(sessions, (_, response) => response.end(), { csrf, trustProxy: true, readOnly: "why" })
// @ts-expect-error -- no such option
withSession(sessions, (_, response) => response.end(), { csrf: { tokens: true } })

const facts: RequestFacts = { isUpgrade: true, readOnly: undefined, origin: null, httpsSetting: "trust" }
expectType<Same<ReturnType<typeof sessions.open>, Session<State, ClientState>>>()
sessions.open(null, facts)
// @ts-expect-error -- a reason, not a flag
sessions.open(null, { readOnly: true })

// A read session has the types of its sessions.

const read = readSession(sessions, request, { csrf: true, trustProxy: true })
expectType<Same<typeof read, Session<State, ClientState>>>()
expectType<Same<Awaited<ReturnType<typeof read.get<"cart">>>, string[] | undefined>>()

// The new errors are session errors, told apart by code and reason.

declare const error: SignInRequiredError | CsrfError | SessionReadOnlyError
expectType<Same<typeof error extends SessionError ? true : false, true>>()
switch (error.code) {
  case "ERR_SESSION_SIGN_IN_REQUIRED":
    expectType<Same<typeof error, SignInRequiredError>>()
    expectType<Same<typeof error.reason, "anonymous" | "stale">>()
    expectType<Same<typeof error.status, 401>>()
    break
  case "ERR_SESSION_CSRF":
    expectType<Same<typeof error.reason, "cross-site" | "token">>()
    expectType<Same<typeof error.statusCode, 403>>()
    break
  case "ERR_SESSION_READ_ONLY":
    expectType<Same<typeof error, SessionReadOnlyError>>()
    break
  default:
    expectType<Same<typeof error, never>>()
}
const answer: ErrorResponse = errorResponse(error)
expectType<Same<typeof answer.status, number>>()
expectType<Same<ReturnType<typeof sessionErrorResponse>, Response | undefined>>()

// An error of any copy of this library, known by its code.

declare const thrown: unknown
if (isSessionError(thrown))
  expectType<Same<typeof thrown, Error & { readonly code: `ERR_SESSION${string}` }>>()
if (isSessionError(thrown, "ERR_SESSION_ENDED"))
  expectType<Same<typeof thrown, Error & { readonly code: "ERR_SESSION_ENDED" }>>()
// @ts-expect-error -- a name is no code
isSessionError(thrown, "SessionEndedError")

// What a session says of itself can be asked for as it is.

declare const revocation: Revocation
const meant = isRevoked(revocation, { id: session.id, userId: await session.userId() })
expectType<Same<typeof meant, boolean>>()
// @ts-expect-error -- the user is needed, too
isRevoked(revocation, { id: session.id })

// A signed-in cookie: `prepare` knows the session, and Playwright takes what it is given.

const cookie: SignedInCookie = await signedInCookie(sessions, 7, {
  label: undefined,
  url: "http://localhost",
  prepare: async (own) => {
    expectType<Same<typeof own, Session<State, ClientState>>>()
    own.set("cart", [])
    // @ts-expect-error -- there is no such key
    own.set("kart", [])
  },
})
expectType<Same<typeof cookie.playwright, PlaywrightCookie>>()
await signedInCookie(sessions, 7n)
// @ts-expect-error -- nobody
await signedInCookie(sessions, null)

import { describe, expect, test } from "vitest"
import * as errors from "./errors.ts"
import { errorResponse, isSessionError, sessionErrorResponse } from "./refusal.ts"

const store = new errors.StoreError("down", { operation: "load", store: "memory" })
const signIn = new errors.SignInRequiredError("who?", { reason: "anonymous" })
const ended = new errors.SessionEndedError("signed out meanwhile")
const busy = new errors.VersionConflictError("too many at once", { id: "x" })
const csrf = new errors.CsrfError("from where?", { reason: "cross-site" })

describe("an answer to a failure", () => {
  test.each<[string, unknown, number, string, string?]>([
    ["a store that is down", store, 503, "Service Unavailable\n", "5"],
    ["a session that too many write at once", busy, 503, "Service Unavailable\n", "1"],
    ["a session that was ended meanwhile", ended, 401, "Unauthorized\n"],
    ["nobody signed in", signIn, 401, "Unauthorized\n"],
    [
      "a sign-in too long ago",
      new errors.SignInRequiredError("again", { reason: "stale" }),
      401,
      "Unauthorized\n",
    ],
    ["another site", csrf, 403, "Forbidden\n"],
    ["a wrong token", new errors.CsrfError("token", { reason: "token" }), 403, "Forbidden\n"],
    ["a read-only session", new errors.SessionReadOnlyError("read only"), 500, "Internal Server Error\n"],
    ["any other error", new Error("oops"), 500, "Internal Server Error\n"],
    ["something thrown that is no error", "oops", 500, "Internal Server Error\n"],
    ["nothing", undefined, 500, "Internal Server Error\n"],
    [
      "an error with a code that is no text",
      Object.assign(new Error("x"), { code: 23_505 }),
      500,
      "Internal Server Error\n",
    ],
  ])(
    "for %s tells nothing of its cause and is kept by no cache",
    (_name, error, status, body, retryAfter) => {
      const answer = errorResponse(error)
      expect(answer).toMatchObject({ status, body })
      expect(answer.headers).toEqual({
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-store",
        ...(retryAfter === undefined ? undefined : { "Retry-After": retryAfter }),
      })
    },
  )

  test("its status is the one the error itself bears, for frameworks that look there", () => {
    for (const error of [signIn, csrf]) {
      expect(errorResponse(error).status).toBe(error.status)
      expect(error.statusCode).toBe(error.status)
      expect(error.expose).toBe(true)
    }
  })
})

describe("an answer as a Response", () => {
  test("is the same", async () => {
    for (const error of [store, signIn, ended, busy, csrf]) {
      const response = sessionErrorResponse(error) as Response
      const { status, headers, body } = errorResponse(error)
      expect(response.status).toBe(status)
      for (const [name, value] of Object.entries(headers ?? {}))
        expect(response.headers.get(name)).toBe(value)
      expect(await response.text()).toBe(body)
    }
  })

  test("there is one for every error of a session's, by its code, for a bundle may hold this library twice", () => {
    const kinds = Object.values(errors).filter((value) => typeof value === "function")
    expect(kinds.length).toBeGreaterThan(15)
    for (const Kind of kinds) {
      const make = Kind as unknown as new (message: string, options: object) => errors.SessionError
      const error = new make("x", { issues: [] })
      expect(sessionErrorResponse(error)?.status).toBe(errorResponse(error).status)
    }
    const twin = Object.assign(new Error("of another copy"), { code: "ERR_SESSION_CSRF" })
    expect(sessionErrorResponse(twin)?.status).toBe(403)
  })

  test.each([
    ["an error without a code", new Error("oops")],
    ["an error of Node.js", Object.assign(new Error("oops"), { code: "ERR_HTTP_HEADERS_SENT" })],
    ["an error of HTTP/2 sessions", Object.assign(new Error("oops"), { code: "ERR_HTTP2_SESSION_ERROR" })],
    ["what is no error, whatever its code", { code: "ERR_SESSION_CSRF" }],
    ["nothing", undefined],
  ])("there is none for %s", (_name, error) => {
    expect(sessionErrorResponse(error)).toBeUndefined()
  })
})

describe("an error of a session's", () => {
  const twin = Object.assign(new Error("of another copy"), { code: "ERR_SESSION_ENDED" })

  test("is told by its code, for a bundle may hold this library twice", () => {
    for (const error of [ended, twin]) {
      expect(isSessionError(error)).toBe(true)
      expect(isSessionError(error, "ERR_SESSION_ENDED")).toBe(true)
      expect(isSessionError(error, "ERR_SESSION_STORE")).toBe(false)
    }
    expect(isSessionError(new errors.SessionError("of an adapter"))).toBe(true)
  })

  test.each([
    ["another error", new Error("oops")],
    ["an error of Node.js", Object.assign(new Error("oops"), { code: "ERR_HTTP2_SESSION_ERROR" })],
    ["one whose code is no text", Object.assign(new Error("oops"), { code: 23_505 })],
    ["what is no error, whatever its code", { code: "ERR_SESSION_ENDED" }],
    ["nothing", undefined],
  ])("is not %s", (_name, error) => {
    expect(isSessionError(error)).toBe(false)
    expect(isSessionError(error, "ERR_SESSION_ENDED")).toBe(false)
  })
})

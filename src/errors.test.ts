import { expect, test } from "vitest"
import {
  CapabilityError,
  ConfigError,
  CookieTooLargeError,
  CsrfError,
  DuplicateIdError,
  RecordCorruptError,
  SessionEndedError,
  SessionError,
  SessionFinalizedError,
  SessionReadOnlyError,
  SignInRequiredError,
  StoreError,
  UnknownIdError,
  ValueSerializationError,
  ValueValidationError,
  VersionConflictError,
} from "./errors.ts"

const cause = new Error("why")
const ID = "an-id-that-no-message-may-hold"

const ALL: readonly (readonly [name: string, code: string, error: SessionError, facts: object])[] = [
  ["SessionError", "ERR_SESSION", new SessionError("m", { cause }), {}],
  ["ConfigError", "ERR_SESSION_CONFIG", new ConfigError("m", { cause, option: "ttl" }), { option: "ttl" }],
  [
    "ValueSerializationError",
    "ERR_SESSION_VALUE_SERIALIZATION",
    new ValueSerializationError("m", { cause, key: "k", path: ".a" }),
    { key: "k", path: ".a" },
  ],
  [
    "ValueValidationError",
    "ERR_SESSION_VALUE_VALIDATION",
    new ValueValidationError("m", { cause, key: "k", stored: true, issues: [{ message: "no" }] }),
    { key: "k", stored: true, issues: [{ message: "no" }] },
  ],
  [
    "CookieTooLargeError",
    "ERR_SESSION_COOKIE_TOO_LARGE",
    new CookieTooLargeError("m", { cause, largestKey: "k", size: 5000, limit: 4096 }),
    { largestKey: "k", size: 5000, limit: 4096 },
  ],
  ["SessionFinalizedError", "ERR_SESSION_FINALIZED", new SessionFinalizedError("m", { cause }), {}],
  ["SessionReadOnlyError", "ERR_SESSION_READ_ONLY", new SessionReadOnlyError("m", { cause }), {}],
  [
    "SignInRequiredError",
    "ERR_SESSION_SIGN_IN_REQUIRED",
    new SignInRequiredError("m", { cause, reason: "stale" }),
    { reason: "stale", status: 401, statusCode: 401, expose: true },
  ],
  [
    "CsrfError",
    "ERR_SESSION_CSRF",
    new CsrfError("m", { cause, reason: "token" }),
    { reason: "token", status: 403, statusCode: 403, expose: true },
  ],
  ["SessionEndedError", "ERR_SESSION_ENDED", new SessionEndedError("m", { cause, id: ID }), { id: ID }],
  [
    "StoreError",
    "ERR_SESSION_STORE",
    new StoreError("m", { cause, operation: "load", store: "memory" }),
    { operation: "load", store: "memory" },
  ],
  [
    "UnknownIdError",
    "ERR_SESSION_UNKNOWN_ID",
    new UnknownIdError({ cause, id: ID, gone: { ended: true } }),
    { id: ID, gone: { ended: true } },
  ],
  ["DuplicateIdError", "ERR_SESSION_DUPLICATE_ID", new DuplicateIdError({ cause, id: ID }), { id: ID }],
  [
    "VersionConflictError",
    "ERR_SESSION_VERSION_CONFLICT",
    new VersionConflictError("m", { cause, id: ID }),
    { id: ID },
  ],
  [
    "CapabilityError",
    "ERR_SESSION_CAPABILITY",
    new CapabilityError("m", { cause, capability: "merge" }),
    { capability: "merge" },
  ],
  [
    "RecordCorruptError",
    "ERR_SESSION_RECORD_CORRUPT",
    new RecordCorruptError("m", { cause, id: ID, store: "memory" }),
    { id: ID, store: "memory" },
  ],
]

test.each(ALL)("%s has the code %s, a fixed name, its facts and its cause", (name, code, error, facts) => {
  expect(error).toBeInstanceOf(SessionError)
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({ name, code, cause, ...facts })
  expect(String(error)).toMatch(new RegExp(`^${name}: `))
  expect(error.message).not.toContain(ID)
})

test("codes and names are all different", () => {
  expect(new Set(ALL.map(([, code]) => code)).size).toBe(ALL.length)
  expect(new Set(ALL.map(([, , error]) => error.name)).size).toBe(ALL.length)
})

test("what an error is not told stays undefined, and no cause is made up", () => {
  const config = new ConfigError("m")
  const ended = new SessionEndedError("m")
  expect(config.option).toBeUndefined()
  expect(ended.id).toBeUndefined()
  expect(Object.hasOwn(config, "cause")).toBe(false)
  expect(new ValueSerializationError("m", { key: "k" }).path).toBe("")
  expect(new UnknownIdError({ id: ID }).gone).toBeUndefined()
})

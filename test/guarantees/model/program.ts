import fc from "fast-check"
import type { Keep, Rules } from "./reference-request.ts"
import type { Fault } from "./reference-store.ts"

/** What one request may do. */
export type Op =
  | { readonly op: "get" | "take" | "consume" | "remove"; readonly key: string }
  | { readonly op: "set"; readonly key: string; readonly value: number }
  | { readonly op: "load" | "clear" | "delete" | "invalidate" | "save" | "signOut" | "revokeOthers" }
  | { readonly op: "userId" | "expiresIn" | "facts" | "client.load" | "client.clear" }
  | { readonly op: "increment" | "peek"; readonly key: string }
  | { readonly op: "client.set"; readonly key: string; readonly value: number }
  | { readonly op: "client.remove"; readonly key: string }
  | { readonly op: "cycleId"; readonly grace: number }
  | { readonly op: "signIn"; readonly user: string; readonly keep: Keep }
  | { readonly op: "setExpiry"; readonly expiry: ExpiryWish }

export type ExpiryWish =
  | { readonly idle: number }
  | { readonly in: number }
  | { readonly idle: number; readonly in: number }
  | "browser-session"
  | null

/** One step of a program. A request is opened by the first step in its slot. */
export type ProgramStep =
  | { readonly on: number; readonly cookie: number; readonly op: Op; readonly fault: Fault | undefined }
  | {
      readonly finish: number
      readonly status: number
      readonly headersLost: boolean
      readonly lost: boolean
      readonly fault: Fault | undefined
    }
  | { readonly advance: number }
  | { readonly revoke: number }
  | { readonly revokeUser: string; readonly except: number | undefined }
  | { readonly sweep: true }

export interface Program {
  readonly rules: Rules
  readonly steps: readonly ProgramStep[]
}

export const TTL = 3_600_000
const SECOND = 1000
const MINUTE = 60_000

const key = fc.constantFrom("a", "b", "n")
const clientKey = fc.constantFrom("a", "x")
const value = fc.integer({ min: 0, max: 2 })
const user = fc.constantFrom("ann", "bob")
const keep: fc.Arbitrary<Keep> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Keep>(true) },
  { weight: 1, arbitrary: fc.constant<Keep>([]) },
  { weight: 1, arbitrary: fc.constant<Keep>(["a"]) },
)
const expiry = fc.constantFrom<ExpiryWish>(
  { idle: 3 * TTL },
  { idle: 5 * MINUTE },
  { in: 2 * MINUTE },
  { in: 90 * MINUTE },
  { idle: 20 * MINUTE, in: 2 * TTL },
  "browser-session",
  null,
)

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("set" as const), key, value }) },
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constantFrom("get" as const, "take" as const, "remove" as const), key }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("consume" as const), key }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom("load" as const, "save" as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("clear" as const, "delete" as const) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("signOut" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom("invalidate" as const, "revokeOthers" as const) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom("userId" as const, "expiresIn" as const, "facts" as const, "client.load" as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("increment" as const), key: fc.constantFrom("a", "n") }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("peek" as const), key }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("client.set" as const), key: clientKey, value }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("client.remove" as const), key: clientKey }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("client.clear" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("cycleId" as const),
      grace: fc.constantFrom(0, 30 * SECOND, 15 * MINUTE, 15 * MINUTE),
    }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("signIn" as const), user, keep }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("setExpiry" as const), expiry }) },
)

const fault: fc.Arbitrary<Fault | undefined> = fc.oneof(
  { weight: 12, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.record({ nth: fc.constantFrom(0, 0, 1), applied: fc.boolean() }) },
)

// Three requests at once of one browser, one of another, and one of a thief with any cookie ever sent.
const slot = fc.constantFrom(0, 0, 1, 1, 2, 3, 4)

const step: fc.Arbitrary<ProgramStep> = fc.oneof(
  { weight: 24, arbitrary: fc.record({ on: slot, cookie: fc.nat(20), op, fault }) },
  {
    weight: 10,
    arbitrary: fc.record({
      finish: slot,
      status: fc.constantFrom(200, 200, 200, 302, 500),
      headersLost: fc.constantFrom(false, false, false, true),
      lost: fc.constantFrom(false, false, false, true),
      fault,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      advance: fc.constantFrom(
        10 * SECOND,
        30 * SECOND,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        45 * MINUTE,
        TTL - 1000,
        TTL,
        2 * TTL,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ revoke: fc.nat(20) }) },
  {
    weight: 1,
    arbitrary: fc.record({ revokeUser: user, except: fc.option(fc.nat(20), { nil: undefined }) }),
  },
  { weight: 1, arbitrary: fc.constant({ sweep: true } as const) },
)

const rules: fc.Arbitrary<Rules> = fc.record({
  ttl: fc.constant(TTL),
  absoluteTtl: fc.constant(4 * TTL),
  tombstoneTtl: fc.constant(10 * MINUTE),
  threshold: fc.constantFrom(0.8, 0.8, 0.8, 0, 1),
  extendTtl: fc.constantFrom("on-loads-and-changes", "on-loads-and-changes", "on-changes"),
  serverStateCreation: fc.constantFrom("never-skip", "never-skip", "skip-if-empty"),
  missingServerState: fc.constantFrom("renew", "renew", "reject", "allow"),
  saveOnServerError: fc.constantFrom(false, false, false, true),
  onLostWrite: fc.constantFrom("discard", "discard", "throw"),
})

export const programs: fc.Arbitrary<Program> = fc.record({
  rules,
  steps: fc.array(step, { minLength: 1, maxLength: 40, size: "max" }),
})

/** The same programs at each run of `npm test`, so that a change is to blame for what fails; others each time where more are asked for. */
export const SEED: { seed?: number } = process.env["COATCHECK_RUNS"] === undefined ? { seed: 20_261_121 } : {}

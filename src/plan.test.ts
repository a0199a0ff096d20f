import { describe, expect, test } from "vitest"
import {
  afterServerError,
  cookieMayBeWithheld,
  decide,
  fateOf,
  type Identity,
  isDue,
  type Knowledge,
  MAX_HOPS,
  type Plan,
  type Policy,
  type ServerWish,
  type Situation,
} from "./plan.ts"

const BOOLEANS = [false, true] as const
const FLAGS = [
  "clientChanged",
  "clientNonEmpty",
  "invalidated",
  "extensionDue",
  "sealDue",
  "resealDue",
  "expiryChanged",
  "unannounced",
  "inGrace",
  "mayCreate",
] as const
const BOOKMARKS = ["none", "after-write", "due"] as const

const calm: Situation = {
  identity: "existing",
  knowledge: "unknown",
  server: "none",
  clientChanged: false,
  clientNonEmpty: false,
  invalidated: false,
  extensionDue: false,
  sealDue: false,
  resealDue: false,
  expiryChanged: false,
  unannounced: false,
  bookmark: "none",
  inGrace: false,
  mayCreate: true,
}
const standard: Policy = { serverStateCreation: "never-skip", missingServerState: "renew" }

/**
 * The decision table, written a second time, as rows: the first whose `when` holds gives the store operation.
 * `decide` is written as branches, so that a slip in one is seen by the other.
 */
interface Row {
  name: string
  when(s: Situation, p: Policy): boolean
  store: Plan["store"] | ((s: Situation, p: Policy) => Plan["store"])
  mint: boolean | ((s: Situation, p: Policy) => boolean)
  /** What the cookie is, beside the common rules for an existing ticket. */
  cookie: Plan["cookie"] | ((s: Situation, p: Policy) => Plan["cookie"])
}

const rotated = (s: Situation): boolean => s.identity === "rotated"
const neverSkips = (p: Policy): boolean => p.serverStateCreation === "never-skip"
/** For an existing ticket: what a call that confirms the session lets the cookie say. */
const news = (s: Situation): Plan["cookie"] => {
  if (s.unannounced) return "send"
  if (s.inGrace) return "none"
  if (s.clientChanged || s.resealDue || s.expiryChanged || s.bookmark !== "none") return "send"
  return s.sealDue ? "refresh" : "none"
}

const ROWS: readonly Row[] = [
  {
    name: "new, invalidated: none, no cookie",
    when: (s) => s.identity === "new" && s.invalidated,
    store: "none",
    mint: false,
    cookie: "none",
  },
  {
    name: "existing or rotated, invalidated: delete with a tombstone, removal cookie",
    when: (s) => s.invalidated && (s.knowledge === "unknown" || s.knowledge === "present"),
    store: "delete",
    mint: false,
    cookie: "remove",
  },
  {
    name: "existing or rotated without a record, invalidated: removal cookie",
    when: (s) => s.invalidated,
    store: "none",
    mint: false,
    cookie: "remove",
  },
  {
    name: "new, creation denied: none, no cookie",
    when: (s) => s.identity === "new" && !s.mayCreate,
    store: "none",
    mint: false,
    cookie: "none",
  },
  {
    name: "new, record deleted: none, pending dropped, no cookie",
    when: (s) => s.identity === "new" && s.server === "delete",
    store: "none",
    mint: false,
    cookie: "none",
  },
  {
    name: "new, change: create",
    when: (s) => s.identity === "new" && s.server === "change",
    store: "create",
    mint: true,
    cookie: "send",
  },
  {
    name: "new, only client state: create an empty record under never-skip, else a cookie alone",
    when: (s) => s.identity === "new" && s.clientNonEmpty,
    store: (_s, p) => (neverSkips(p) ? "create" : "none"),
    mint: true,
    cookie: "send",
  },
  {
    name: "new, nothing: none",
    when: (s) => s.identity === "new",
    store: "none",
    mint: false,
    cookie: "none",
  },
  {
    name: "missing under reject: invalidated, removal cookie",
    when: (s, p) => s.knowledge === "missing" && p.missingServerState === "reject",
    store: "none",
    mint: false,
    cookie: "remove",
  },
  {
    name: "missing under renew, change: create under a new ticket",
    when: (s, p) => s.knowledge === "missing" && p.missingServerState === "renew" && s.server === "change",
    store: "create",
    mint: true,
    cookie: "send",
  },
  {
    name: "missing under renew, only client state: as for a new session",
    when: (s, p) =>
      s.knowledge === "missing" &&
      p.missingServerState === "renew" &&
      s.server === "none" &&
      s.clientNonEmpty,
    store: (_s, p) => (neverSkips(p) ? "create" : "none"),
    mint: true,
    cookie: "send",
  },
  {
    name: "missing under renew, nothing to remember: a new ticket only if one was asked for",
    when: (s, p) => s.knowledge === "missing" && p.missingServerState === "renew",
    store: "none",
    mint: rotated,
    cookie: (s) => (rotated(s) ? "send" : "none"),
  },
  {
    name: "recordless, or missing under allow, change: rotate, then create",
    when: (s) => (s.knowledge === "recordless" || s.knowledge === "missing") && s.server === "change",
    store: "create",
    mint: true,
    cookie: "send",
  },
  {
    name: "recordless, only client state, never-skip: rotate and create empty",
    when: (s, p) =>
      (s.knowledge === "recordless" || s.knowledge === "missing") &&
      s.clientChanged &&
      s.clientNonEmpty &&
      neverSkips(p),
    store: "create",
    mint: true,
    cookie: "send",
  },
  {
    name: "rotated, recordless: a new ticket without a record",
    when: (s) => rotated(s) && (s.knowledge === "recordless" || s.knowledge === "missing"),
    store: "none",
    mint: true,
    cookie: "send",
  },
  {
    name: "existing, recordless: no store call; a cookie for client state, another key, or a longer life",
    when: (s) => s.knowledge === "recordless" || s.knowledge === "missing",
    store: "none",
    mint: false,
    cookie: (s) =>
      s.clientChanged || s.resealDue || s.unannounced ? "send" : s.extensionDue ? "refresh" : "none",
  },
  {
    name: "existing or rotated, record deleted: delete, the record bit goes off",
    when: (s) => s.server === "delete",
    store: "delete",
    mint: rotated,
    cookie: (s) => (s.inGrace && !rotated(s) ? "none" : "send"),
  },
  {
    name: "rotated, unknown or present: changeId with the change",
    when: rotated,
    store: "changeId",
    mint: true,
    cookie: "send",
  },
  {
    name: "existing, change: update",
    when: (s) => s.server === "change",
    store: "update",
    mint: false,
    cookie: news,
  },
  {
    name: "existing, client state, a reseal or a saved expiry: updateTtl confirms that the session lives",
    when: (s) => (s.clientChanged || s.resealDue || s.expiryChanged) && !s.inGrace,
    store: "updateTtl",
    mint: false,
    cookie: news,
  },
  {
    name: "existing, extension due: updateTtl",
    when: (s) => s.extensionDue,
    store: "updateTtl",
    mint: false,
    cookie: news,
  },
  {
    name: "existing, an earlier write of the request left a bookmark that is untold: updateTtl confirms that the session lives",
    when: (s) => s.bookmark === "due" && !s.inGrace && !s.unannounced,
    store: "updateTtl",
    mint: false,
    cookie: "send",
  },
  {
    name: "existing, nothing: none; a ticket saved earlier in the request is told, and its bookmark with it",
    when: () => true,
    store: "none",
    mint: false,
    cookie: (s) => (s.unannounced ? "send" : "none"),
  },
]

function* situations(): Generator<Situation> {
  const standings: [Identity, Knowledge][] = [["new", "absent"]]
  for (const identity of ["existing", "rotated"] as const) {
    for (const knowledge of ["unknown", "present", "recordless", "missing"] as const) {
      standings.push([identity, knowledge])
    }
  }
  for (const [identity, knowledge] of standings) {
    for (const server of ["none", "change", "delete"] as const satisfies readonly ServerWish[]) {
      for (let bits = 0; bits < 2 ** FLAGS.length; bits++) {
        const flags = Object.fromEntries(FLAGS.map((flag, index) => [flag, (bits & (1 << index)) !== 0]))
        for (const bookmark of BOOKMARKS) yield { ...calm, ...flags, identity, knowledge, server, bookmark }
      }
    }
  }
}

function* policies(): Generator<Policy> {
  for (const serverStateCreation of ["never-skip", "skip-if-empty"] as const) {
    for (const missingServerState of ["renew", "reject", "allow"] as const) {
      yield { serverStateCreation, missingServerState }
    }
  }
}

const pick = <T>(value: T | ((s: Situation, p: Policy) => T), s: Situation, p: Policy): T =>
  typeof value === "function" ? (value as (s: Situation, p: Policy) => T)(s, p) : value

test("decide agrees with the table for every combination of identity, knowledge, change and configuration", () => {
  const used = new Set<string>()
  let count = 0
  for (const policy of policies()) {
    for (const situation of situations()) {
      const row = ROWS.find(({ when }) => when(situation, policy)) as Row
      used.add(row.name)
      count += 1
      const expected: Plan = {
        store: pick(row.store, situation, policy),
        mint: pick(row.mint, situation, policy),
        cookie: pick(row.cookie, situation, policy),
      }
      const actual = decide(situation, policy)
      if (
        actual.store !== expected.store ||
        actual.mint !== expected.mint ||
        actual.cookie !== expected.cookie
      ) {
        expect({ row: row.name, situation, policy, plan: actual }).toEqual({
          row: row.name,
          situation,
          policy,
          plan: expected,
        })
      }
    }
  }
  expect(count).toBe(9 * 3 * 2 ** FLAGS.length * BOOKMARKS.length * 6)
  expect(used.size, "every row is reached").toBe(ROWS.length)
})

test("what holds in every situation", () => {
  for (const policy of policies()) {
    for (const situation of situations()) {
      const plan = decide(situation, policy)
      const explain = (): string => JSON.stringify({ situation, policy, plan })
      // G6: an id comes into the store only together with a ticket minted for it.
      if ((plan.store === "create" || plan.store === "changeId") && !plan.mint) throw new Error(explain())
      // A ticket that is minted is told.
      if (plan.mint && plan.cookie !== "send") throw new Error(explain())
      // G5: a cookie for an existing ticket that may have died follows a call that confirms it.
      const isOld =
        situation.identity === "existing" && situation.knowledge === "unknown" && !situation.unannounced
      if (isOld && plan.cookie !== "none" && plan.store === "none") throw new Error(explain())
      // G2: nothing asked for and nothing due is no call.
      const asked =
        situation.server !== "none" ||
        situation.clientChanged ||
        situation.clientNonEmpty ||
        situation.identity === "rotated" ||
        situation.invalidated ||
        situation.extensionDue ||
        situation.expiryChanged ||
        situation.resealDue ||
        situation.bookmark === "due"
      if (!asked && plan.store !== "none") throw new Error(explain())
    }
  }
})

test("a bookmark is told after each write that leaves a session, unless the ticket is an old one in its grace", () => {
  for (const policy of policies()) {
    for (const situation of situations()) {
      const plan = decide(situation, policy)
      const without = decide({ ...situation, bookmark: "none" }, policy)
      const explain = (): string => JSON.stringify({ situation, policy, plan, without })
      const isOldTicket = situation.identity === "existing" && situation.inGrace
      const writes = plan.store !== "none" && plan.cookie !== "remove"
      if (situation.bookmark !== "none" && writes && !isOldTicket && plan.cookie !== "send") {
        throw new Error(explain())
      }
      // Nothing but what has been written says that a cookie is sent for its sake.
      const isSame =
        plan.store === without.store && plan.mint === without.mint && plan.cookie === without.cookie
      const mayDiffer = !isOldTicket && (situation.bookmark === "due" || without.store !== "none")
      if (!mayDiffer && !isSame) throw new Error(explain())
      // It changes no other decision, costs at most one call, and ends no session.
      const costs = plan.store !== without.store
      if (costs && (situation.bookmark !== "due" || without.store !== "none" || plan.store !== "updateTtl")) {
        throw new Error(explain())
      }
      if (plan.mint !== without.mint || (plan.cookie === "remove") !== (without.cookie === "remove")) {
        throw new Error(explain())
      }
    }
  }
})

describe("each row of the table", () => {
  const rows: [name: string, situation: Partial<Situation>, plan: Partial<Plan>, policy?: Partial<Policy>][] =
    [
      [
        "new, change: create",
        { identity: "new", knowledge: "absent", server: "change" },
        { store: "create", cookie: "send" },
      ],
      ["new, nothing: none", { identity: "new", knowledge: "absent" }, { store: "none", cookie: "none" }],
      [
        "new, only client state, never-skip: create an empty record",
        { identity: "new", knowledge: "absent", clientChanged: true, clientNonEmpty: true },
        { store: "create", cookie: "send" },
      ],
      [
        "new, only client state, skip-if-empty: a ticket without a record",
        { identity: "new", knowledge: "absent", clientChanged: true, clientNonEmpty: true },
        { store: "none", mint: true, cookie: "send" },
        { serverStateCreation: "skip-if-empty" },
      ],
      ["existing, unknown, change: update", { server: "change" }, { store: "update", cookie: "none" }],
      ["existing, present, change: update", { knowledge: "present", server: "change" }, { store: "update" }],
      [
        "existing, present, none, due: updateTtl",
        { knowledge: "present", extensionDue: true, sealDue: true },
        { store: "updateTtl", cookie: "refresh" },
      ],
      ["existing, present, none, not due: none", { knowledge: "present" }, { store: "none", cookie: "none" }],
      [
        "existing, unknown, only client state: updateTtl",
        { clientChanged: true },
        { store: "updateTtl", cookie: "send" },
      ],
      [
        "existing, unknown, reseal due: updateTtl",
        { resealDue: true },
        { store: "updateTtl", cookie: "send" },
      ],
      ["existing, unknown, none: none", {}, { store: "none", cookie: "none" }],
      [
        "existing, recordless, change: rotate, then create",
        { knowledge: "recordless", server: "change" },
        { store: "create", mint: true, cookie: "send" },
      ],
      [
        "existing, recordless, only client state, never-skip: rotate and create empty",
        { knowledge: "recordless", clientChanged: true, clientNonEmpty: true },
        { store: "create", mint: true, cookie: "send" },
      ],
      [
        "existing, recordless, only client state, skip-if-empty: none",
        { knowledge: "recordless", clientChanged: true, clientNonEmpty: true },
        { store: "none", mint: false, cookie: "send" },
        { serverStateCreation: "skip-if-empty" },
      ],
      [
        "existing, missing, renew: becomes new",
        { knowledge: "missing", server: "change" },
        { store: "create", mint: true },
      ],
      [
        "existing, missing, reject: invalidated",
        { knowledge: "missing", server: "change" },
        { store: "none", cookie: "remove" },
        { missingServerState: "reject" },
      ],
      [
        "existing, missing, allow, none: goes on",
        { knowledge: "missing" },
        { store: "none", cookie: "none" },
        { missingServerState: "allow" },
      ],
      [
        "existing, missing, allow, change: rotates and creates",
        { knowledge: "missing", server: "change" },
        { store: "create", mint: true },
        { missingServerState: "allow" },
      ],
      [
        "rotated, unknown: changeId",
        { identity: "rotated" },
        { store: "changeId", mint: true, cookie: "send" },
      ],
      [
        "rotated, present, change: changeId",
        { identity: "rotated", knowledge: "present", server: "change" },
        { store: "changeId", cookie: "send" },
      ],
      [
        "rotated, recordless, none: new ticket without a record",
        { identity: "rotated", knowledge: "recordless" },
        { store: "none", mint: true, cookie: "send" },
      ],
      [
        "rotated, recordless, change: create",
        { identity: "rotated", knowledge: "recordless", server: "change" },
        { store: "create", mint: true },
      ],
      [
        "rotated, missing, none: new ticket without a record",
        { identity: "rotated", knowledge: "missing" },
        { store: "none", mint: true, cookie: "send" },
      ],
      [
        "rotated, missing, change: create",
        { identity: "rotated", knowledge: "missing", server: "change" },
        { store: "create", mint: true },
      ],
      [
        "existing, record deleted: delete",
        { server: "delete" },
        { store: "delete", mint: false, cookie: "send" },
      ],
      [
        "rotated, record deleted: delete and a new ticket",
        { identity: "rotated", server: "delete" },
        { store: "delete", mint: true, cookie: "send" },
      ],
      [
        "new, record deleted: none",
        { identity: "new", knowledge: "absent", server: "delete" },
        { store: "none", cookie: "none" },
      ],
      [
        "new, invalidated: none",
        { identity: "new", knowledge: "absent", invalidated: true },
        { store: "none", cookie: "none" },
      ],
      [
        "existing, invalidated: delete and removal",
        { invalidated: true },
        { store: "delete", cookie: "remove" },
      ],
      [
        "rotated, invalidated: delete and removal",
        { identity: "rotated", invalidated: true },
        { store: "delete", cookie: "remove" },
      ],
      [
        "in grace a change updates and sends no cookie",
        { inGrace: true, server: "change", clientChanged: true, sealDue: true },
        { store: "update", cookie: "none" },
      ],
      ["a ticket saved earlier is told", { unannounced: true }, { store: "none", cookie: "send" }],
      [
        "what is written with a store that has bookmarks tells the new one",
        { knowledge: "present", server: "change", bookmark: "after-write" },
        { store: "update", cookie: "send" },
      ],
      [
        "what is extended with a store that has bookmarks tells the new one",
        { knowledge: "present", extensionDue: true, bookmark: "after-write" },
        { store: "updateTtl", cookie: "send" },
      ],
      [
        "what is only read with a store that has bookmarks tells none",
        { knowledge: "present", bookmark: "after-write" },
        { store: "none", cookie: "none" },
      ],
      [
        "a bookmark that a save left is told once the session is known to live",
        { knowledge: "present", bookmark: "due" },
        { store: "updateTtl", cookie: "send" },
      ],
      [
        "a bookmark that a save left goes with the ticket that it made",
        { knowledge: "present", bookmark: "due", unannounced: true },
        { store: "none", cookie: "send" },
      ],
      [
        "in grace no bookmark is told",
        { inGrace: true, server: "change", bookmark: "due" },
        { store: "update", cookie: "none" },
      ],
      [
        "in grace a bookmark costs nothing",
        { inGrace: true, bookmark: "due" },
        { store: "none", cookie: "none" },
      ],
      [
        "without a record no bookmark is needed",
        { knowledge: "recordless", bookmark: "due" },
        { store: "none", cookie: "none" },
      ],
    ]
  test.each(rows)("%s", (_name, situation, plan, policy) => {
    expect(decide({ ...calm, ...situation }, { ...standard, ...policy })).toMatchObject(plan)
  })
})

describe("the fate of a request whose id is unknown", () => {
  const moved = { movedTo: "x", graceExpiresIn: 1, privilegeChanged: false }

  test.each([
    ["ended by a tombstone", { ended: true } as const, false, 0, "ended"],
    ["no trace, never loaded: missing", undefined, false, 0, "missing"],
    ["no trace, but loaded in this request: it died under us", undefined, true, 0, "ended"],
    ["no trace behind a hop of grace: it died there", undefined, false, 1, "ended"],
    ["moved within grace: followed", moved, false, 0, "follow"],
    ["moved, the grace is over", { ...moved, graceExpiresIn: 0 }, false, 0, "moved"],
    ["moved by a sign-in: never followed", { ...moved, privilegeChanged: true }, false, 0, "moved"],
    ["the last hop of grace", moved, false, MAX_HOPS - 1, "follow"],
    ["one hop too many", moved, false, MAX_HOPS, "moved"],
  ] as const)("%s", (_name, gone, seen, hops, fate) => {
    expect(fateOf(gone, seen, hops)).toBe(fate)
  })
})

test("a server error drops all that is pending but what takes rights away", () => {
  const everything = {
    server: "change",
    client: true,
    cycleId: true,
    signIn: true,
    signOut: false,
    invalidate: true,
  } as const
  expect(afterServerError(everything, false)).toEqual({
    server: "none",
    client: false,
    cycleId: true,
    signIn: false,
    signOut: false,
    invalidate: true,
  })
  expect(afterServerError({ ...everything, signOut: true }, false)).toMatchObject({
    server: "change",
    client: true,
    signOut: true,
  })
})

test("a ticket that cannot be told is not cycled", () => {
  for (const headersLost of BOOLEANS) {
    const pending = {
      server: "none",
      client: false,
      cycleId: true,
      signIn: false,
      signOut: false,
      invalidate: false,
    } as const
    expect(afterServerError(pending, headersLost).cycleId).toBe(!headersLost)
  }
})

test("an extension is due below the threshold, and only if something is gained", () => {
  expect(isDue(799, 1000, 1000, 0.8)).toBe(true)
  expect(isDue(800, 1000, 1000, 0.8)).toBe(false)
  expect(isDue(999, 1000, 1000, 1)).toBe(true)
  expect(isDue(0, 1000, 1000, 0)).toBe(false)
  // At the absolute end, living longer is not to be had.
  expect(isDue(500, 500, 1000, 0.8)).toBe(false)
})

test.each([
  ["lax", "cross-site", "POST", true],
  ["lax", "cross-site", "GET", false],
  ["lax", "cross-site", undefined, false],
  ["lax", "same-site", "POST", false],
  ["lax", undefined, "POST", false],
  ["strict", "cross-site", "GET", true],
  ["strict", "none", "GET", false],
  ["none", "cross-site", "POST", false],
] as const)("SameSite=%s, Sec-Fetch-Site: %s, %s: withheld is %s", (sameSite, site, method, withheld) => {
  expect(cookieMayBeWithheld(sameSite, site, method)).toBe(withheld)
})

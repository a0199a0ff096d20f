import { describe, expect, test } from "vitest"
import type { Revocation } from "./api.ts"
import { isRevoked } from "./revocation.ts"

const ONE = "A".repeat(43)
const TWO = "B".repeat(43)

describe("a session is revoked", () => {
  const one: Revocation = { id: ONE }
  const all: Revocation = { userId: "7", except: undefined }
  const others: Revocation = { userId: "7", except: ONE }

  test.each<[string, Revocation, string | undefined, string | number | bigint | null | undefined, boolean]>([
    ["by its id", one, ONE, "7", true],
    ["by its id, whoever is bound", one, ONE, null, true],
    ["not by another's id", one, TWO, "7", false],
    ["not by an id, if it has none", one, undefined, "7", false],
    ["with all of its user's", all, ONE, "7", true],
    ["with all of its user's, whose id is a number", all, ONE, 7, true],
    ["with all of its user's, whose id is a bigint", all, ONE, 7n, true],
    ["with all of its user's, if its id is not known", all, undefined, "7", true],
    ["not with all of another's", all, ONE, "8", false],
    ["not with all of a user's, if nobody is bound", all, ONE, null, false],
    ["not with all of a user's, if nobody is known to be bound", all, ONE, undefined, false],
    ["with all but another one of its user's", others, TWO, "7", true],
    ["with all but another one of its user's, if its id is not known", others, undefined, "7", true],
    ["not with all but itself", others, ONE, "7", false],
    ["not with all but one of another's", others, TWO, "8", false],
  ])("%s", (_how, revocation, id, userId, expected) => {
    expect(isRevoked(revocation, { id, userId })).toBe(expected)
  })
})

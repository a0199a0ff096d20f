import { describe, expect, test } from "vitest"
import { resolveCookie } from "./attributes.ts"
import { openCookies } from "./incoming.ts"
import { KeyRing } from "./key-ring.ts"
import { sealAt } from "./mutations.test-helper.ts"

const now = 1_750_000_000_000
const ring = KeyRing.create(["a key of thirty-two bytes or more"])
const settings = resolveCookie(undefined).standard
const { name } = settings

describe("openCookies", () => {
  const seal = sealAt(now)
  const valid = ring.seal(name, seal)
  const again = ring.seal(name, { ...seal, issuedAt: now - 5000, client: '{"theme":"dark"}' })
  const other = ring.seal(name, sealAt(now))
  const open = (...values: string[]): ReturnType<typeof openCookies> =>
    openCookies(ring, settings, values.map((value) => `${name}=${value}`).join("; "), now)

  test("finds an anonymous request without any cookie of ours", () => {
    expect(openCookies(ring, settings, "theme=dark", now)).toEqual({
      opened: undefined,
      presented: 0,
      ambiguous: false,
    })
    expect(openCookies(ring, settings, undefined, now).presented).toBe(0)
  })

  test("opens the one cookie of ours", () => {
    expect(open(valid)).toMatchObject({ opened: seal, presented: 1, ambiguous: false })
  })

  test("G9: takes the first that opens, after up to three that do not", () => {
    expect(open("x", "", `${valid}A`, valid)).toMatchObject({ opened: seal, presented: 4, ambiguous: false })
    expect(open(valid, "forged")).toMatchObject({ opened: seal, presented: 2, ambiguous: false })
  })

  test("G9: looks at no fifth", () => {
    expect(open("1", "2", "3", "4", valid)).toEqual({ opened: undefined, presented: 4, ambiguous: false })
    expect(open(valid, "2", "3", "4", other)).toMatchObject({ opened: seal, ambiguous: false })
  })

  test("G9: counts none when two open with different ids, wherever they are", () => {
    const ambiguous = { opened: undefined, presented: 2, ambiguous: true }
    expect(open(valid, other)).toEqual(ambiguous)
    expect(open(other, valid)).toEqual(ambiguous)
    expect(open("x", valid, "y", other)).toEqual({ ...ambiguous, presented: 4 })
    expect(open(valid, again, other)).toEqual({ ...ambiguous, presented: 3 })
  })

  test("takes the first of two that open with the same id", () => {
    expect(open(valid, again)).toMatchObject({
      opened: { client: undefined },
      presented: 2,
      ambiguous: false,
    })
    expect(open(again, valid)).toMatchObject({ opened: { client: '{"theme":"dark"}' }, ambiguous: false })
    expect(open(valid, valid)).toMatchObject({ opened: seal, ambiguous: false })
  })

  test("counts what came and did not open, so that it can be told", () => {
    expect(open("")).toEqual({ opened: undefined, presented: 1, ambiguous: false })
  })
})

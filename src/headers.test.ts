import { describe, expect, test } from "vitest"
import type { HeaderChange } from "./api.ts"
import { applyFinalized, headersTarget } from "./headers.ts"

function applied(before: [string, string][], ...changes: HeaderChange[]): [string, string][] {
  const headers = new Headers(before)
  applyFinalized(headersTarget(headers), { headers: changes })
  return [...headers]
}

const setCookie = (value: string): HeaderChange => ({ name: "Set-Cookie", value, mode: "append" })
const vary: HeaderChange = { name: "Vary", value: "Cookie", mode: "merge" }
const noCache: HeaderChange = { name: "Cache-Control", value: "private, no-cache", mode: "merge" }
const noStore: HeaderChange = { name: "Cache-Control", value: "no-store", mode: "set" }

describe("Set-Cookie", () => {
  test("is added beside other cookies, which stay as they are and in order", () => {
    const before: [string, string][] = [
      ["set-cookie", "a=1; Path=/"],
      ["set-cookie", "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT"],
    ]
    expect(applied(before, setCookie("id=new; Path=/"))).toEqual([
      ...before,
      ["set-cookie", "id=new; Path=/"],
    ])
  })

  test("replaces every earlier one of the same name, and no other", () => {
    const before: [string, string][] = [
      ["set-cookie", "id=old; Path=/"],
      ["set-cookie", "id2=kept"],
      ["set-cookie", " id = older"],
      ["set-cookie", "ID=kept too"],
      ["set-cookie", "x=id=kept"],
    ]
    expect(applied(before, setCookie("id=new"))).toEqual([
      ["set-cookie", "id2=kept"],
      ["set-cookie", "ID=kept too"],
      ["set-cookie", "x=id=kept"],
      ["set-cookie", "id=new"],
    ])
  })

  test("applied twice is there once", () => {
    expect(applied([], setCookie("id=1"), setCookie("id=2"))).toEqual([["set-cookie", "id=2"]])
  })
})

describe("G12: Vary", () => {
  test.each([
    [undefined, "Cookie"],
    ["", "Cookie"],
    ["  ", "Cookie"],
    ["Accept", "Accept, Cookie"],
    ["Accept-Encoding, Origin", "Accept-Encoding, Origin, Cookie"],
    ["cookie", "cookie"],
    ["Accept, COOKIE , Origin", "Accept, COOKIE , Origin"],
    ["*", "*"],
    ["Accept, *", "Accept, *"],
    ["Cookie2", "Cookie2, Cookie"],
  ])("of %j becomes %j", (before, after) => {
    expect(applied(before === undefined ? [] : [["vary", before]], vary)).toEqual([["vary", after]])
  })
})

describe("G12: Cache-Control", () => {
  test.each([
    [undefined, "private, no-cache"],
    ["", "private, no-cache"],
    ["public, max-age=60", "public, max-age=60"],
  ])("of %j is %j when the session was only read", (before, after) => {
    expect(applied(before === undefined ? [] : [["cache-control", before]], noCache)).toEqual([
      ["cache-control", after],
    ])
  })

  test.each([
    [undefined, "no-store"],
    ["public, max-age=60", "no-store"],
    ["private, no-cache", "no-store"],
    ["x-no-store", "no-store"],
    ["private, No-Store, max-age=0", "private, No-Store, max-age=0"],
  ])("of %j is %j when a cookie is sent", (before, after) => {
    expect(applied(before === undefined ? [] : [["cache-control", before]], noStore)).toEqual([
      ["cache-control", after],
    ])
  })

  test("of shared caches is removed by an empty value", () => {
    const before: [string, string][] = [
      ["cdn-cache-control", "max-age=60"],
      ["surrogate-control", "max-age=60"],
      ["x", "y"],
    ]
    const changes = (["CDN-Cache-Control", "Surrogate-Control"] as const).map((name): HeaderChange => ({
      name,
      value: "",
      mode: "set",
    }))
    expect(applied(before, ...changes)).toEqual([["x", "y"]])
  })
})

test("a header that is set takes the place of what was there", () => {
  const change: HeaderChange = { name: "CDN-Cache-Control", value: "no-store", mode: "set" }
  expect(applied([["cdn-cache-control", "max-age=60"]], change)).toEqual([["cdn-cache-control", "no-store"]])
})

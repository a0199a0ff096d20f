import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { readCookies } from "./header.ts"

describe("readCookies", () => {
  test.each<[string, string | string[] | null | undefined, string[]]>([
    ["no header", undefined, []],
    ["a header that is null", null, []],
    ["an empty header", "", []],
    ["no header lines", [], []],
    ["the only cookie", "id=a", ["a"]],
    ["one among others", "x=1; id=a; y=2", ["a"]],
    ["an empty value", "id=", [""]],
    ["an empty value before others", "id=; x=1", [""]],
    ["several of the name, in order", "id=a; id=b; id=c", ["a", "b", "c"]],
    ["several header lines", ["id=a; x=1", "y=2", "id=b"], ["a", "b"]],
    ["no space after the semicolon", "x=1;id=a;id=b", ["a", "b"]],
    ["spaces and tabs around name and value", " \t id \t = \t a \t ; x=1", ["a"]],
    ["spaces inside the value", "id=a b", ["a b"]],
    ["quotes, which belong to the value", 'id="a"', ['"a"']],
    ["an equals sign in the value", "id=a=b==", ["a=b=="]],
    ["a doubled equals sign", "id==a", ["=a"]],
    ["the name in another case", "ID=a; Id=b", []],
    ["the name as the end of another", "xid=a; x-id=b", []],
    ["the name as the beginning of another", "idx=a; id.x=b", []],
    ["the name within a name of several words", "x id=a; id x=b", []],
    ["the name within a value", "x=id=a; y=id; z=1 id=b", []],
    ["the name without equals sign, which has no name", "id; x=1", []],
    ["the name without equals sign, then with", "id; id=a", ["a"]],
    ["the name as a value without name", "=id=a; =id", []],
    ["empty pairs", ";;id=a;; ;id=b;", ["a", "b"]],
    ["a comma, which separates nothing", "x=1, id=a", []],
    ["other blanks, which are no blanks here", "\u00a0id=a; \nid=b; \u3000id=c", []],
    ["other blanks around the value, which stay", "id=\u00a0a\n", ["\u00a0a\n"]],
    ["bytes outside ASCII", "id=é", ["é"]],
    ["at most four", "id=1; id=2; id=3; id=4; id=5", ["1", "2", "3", "4"]],
    ["at most four over all lines", ["id=1; id=2; id=3", "id=4; id=5", "id=6"], ["1", "2", "3", "4"]],
  ])("reads %s", (_what, header, values) => {
    expect(readCookies(header, "id")).toEqual(values)
  })

  test("reads as many as asked for", () => {
    expect(readCookies("id=1; id=2; id=3", "id", 1)).toEqual(["1"])
    expect(readCookies("id=1; id=2; id=3; id=4; id=5", "id", 9)).toHaveLength(5)
  })

  test("agrees with the algorithm of RFC 6265bis, spelled out, on any header", () => {
    const piece = fc.constantFrom("id", "i", "d", "=", ";", " ", "\t", '"', "x", "id=", "; id=", "\n")
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
        const header = pieces.join("")
        expect(readCookies(header, "id", 100)).toEqual(spelledOut(header, "id"))
      }),
      { numRuns: 3000 },
    )
  })

  test.each([
    ["one value", `id=${"a".repeat(1_048_576)}`],
    ["blanks", `${" ".repeat(1_048_576)}id=a`],
    ["blanks around names that lead nowhere", "id \t ".repeat(200_000)],
    ["names", "id".repeat(524_288)],
    ["equals signs", "id=".repeat(349_525)],
    ["semicolons", ";".repeat(1_048_576)],
    ["pairs without equals sign", "id;".repeat(349_525)],
    ["near misses", "xid=a;".repeat(174_762)],
  ])("takes linear time for a megabyte of %s", (_what, header) => {
    const start = performance.now()
    for (let round = 0; round < 5; round++) readCookies(header, "id")
    // A quadratic scan of a megabyte would take minutes.
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

function spelledOut(header: string, name: string): string[] {
  return header.split(";").flatMap((pair) => {
    const equals = pair.indexOf("=")
    if (equals === -1) return []
    const trim = (text: string): string => text.replace(/^[ \t]+/, "").replace(/[ \t]+$/, "")
    return trim(pair.slice(0, equals)) === name ? [trim(pair.slice(equals + 1))] : []
  })
}

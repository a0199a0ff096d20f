import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { forwarded, isEncrypted, PROXY_HEADERS } from "./forwarded.ts"

function told(
  what: "proto" | "host",
  headers: Record<string, string | null | undefined>,
): string | undefined {
  return forwarded(what, (name) => headers[name])
}

describe("what a proxy says", () => {
  test.each<[Record<string, string | null>, string | undefined]>([
    [{}, undefined],
    [{ "x-forwarded-proto": "https" }, "https"],
    [{ "x-forwarded-proto": " https " }, "https"],
    [{ "x-forwarded-proto": "https, http" }, "https"],
    [{ "x-forwarded-proto": "http,https" }, "http"],
    [{ "x-forwarded-proto": "" }, undefined],
    [{ "x-forwarded-proto": ", https" }, undefined],
    [{ "x-forwarded-proto": null, forwarded: "proto=https" }, "https"],
    [{ "x-forwarded-proto": "", forwarded: "proto=https" }, "https"],
    [{ "x-forwarded-proto": "http", forwarded: "proto=https" }, "http"],
    [{ forwarded: "for=192.0.2.60;proto=https;by=203.0.113.43" }, "https"],
    [{ forwarded: "for=192.0.2.60; Proto=HTTPS" }, "HTTPS"],
    [{ forwarded: 'proto="https"' }, "https"],
    [{ forwarded: "proto=https, proto=http" }, "https"],
    [{ forwarded: "for=192.0.2.43, for=198.51.100.17;proto=https" }, undefined],
    [{ forwarded: 'for="a;proto=http";proto=https' }, "https"],
    [{ forwarded: 'for="a,b";proto=https' }, "https"],
    [{ forwarded: 'for="a\\",proto=http";proto=https' }, "https"],
    [{ forwarded: "xproto=http;proto=https" }, "https"],
    [{ forwarded: "x-proto=http" }, undefined],
    [{ forwarded: "proto=" }, undefined],
    [{ forwarded: 'proto=""' }, undefined],
    [{ forwarded: 'proto="https' }, undefined],
    [{ forwarded: "proto" }, undefined],
    [{ forwarded: "" }, undefined],
    [{ forwarded: "," }, undefined],
  ])("in %j is the protocol %j", (headers, protocol) => {
    expect(told("proto", headers)).toBe(protocol)
  })

  test.each<[Record<string, string>, string | undefined]>([
    [{ "x-forwarded-host": "shop.example" }, "shop.example"],
    [{ "x-forwarded-host": "shop.example:8443, internal" }, "shop.example:8443"],
    [{ forwarded: 'host="shop.example:8443";proto=https' }, "shop.example:8443"],
    [{ forwarded: 'host="[2001:db8::1]:8443"' }, "[2001:db8::1]:8443"],
    [{ forwarded: "host=shop.example" }, "shop.example"],
    [{ forwarded: 'host="shop\\.example"' }, "shop.example"],
    [{ forwarded: "proto=https" }, undefined],
    [{ "x-forwarded-proto": "https" }, undefined],
  ])("in %j is the host %j", (headers, host) => {
    expect(told("host", headers)).toBe(host)
  })

  test("property: what a proxy of RFC 7239 writes is read as it was meant, whatever stands around it", () => {
    const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/)
    const text = fc.string({ maxLength: 20 }).filter((value) => /^[\t\x20-\x7e]*$/.test(value))
    const quoted = (value: string): string => `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`
    const other = fc.tuple(fc.constantFrom("for", "by", "ext"), fc.oneof(token, text.map(quoted)))
    fc.assert(
      fc.property(
        fc.array(other, { maxLength: 3 }),
        fc.array(other, { maxLength: 3 }),
        text.filter((value) => value !== ""),
        fc.string({ maxLength: 30 }),
        (before, after, host, next) => {
          const pairs = [...before, ["Host", quoted(host)], ...after].map(
            ([name, value]) => `${name}=${value}`,
          )
          expect(told("host", { forwarded: `${pairs.join(";")}, ${next}` })).toBe(host)
        },
      ),
    )
  })

  // What takes the square of the length would outlast the time that a test has.
  test("a header of a megabyte is read at once, however it is made", () => {
    for (const piece of ['"', "\\", 'a="', ";", "proto=", '"\\"', "a=a;", ",", "-=", "-"])
      told("proto", { forwarded: piece.repeat(1_000_000 / piece.length) })
  })
})

test("the names of proxies' headers are in lower case, as Node.js gives them", () => {
  expect(PROXY_HEADERS).toEqual(PROXY_HEADERS.map((name) => name.toLowerCase()))
  expect(PROXY_HEADERS).toContain("x-forwarded-proto")
})

test.each([
  ["https", true],
  ["https:", true],
  ["HTTPS", true],
  ["wss", true],
  ["http", false],
  ["ws", false],
  ["https2", false],
  ["xhttps", false],
  ["", false],
])("%j is encrypted: %j", (protocol, encrypted) => {
  expect(isEncrypted(protocol)).toBe(encrypted)
})

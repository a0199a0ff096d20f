import { expect, test } from "vitest"
import { locationOf, proxySetting } from "./shared-adapter.ts"

test.each([
  ["/sign-in", "/sign-in"],
  ["/sign-in?next=%2Fcart&a=b#top", "/sign-in?next=%2Fcart&a=b#top"],
  ["https://login.example/start", "https://login.example/start"],
  ["/anmelden/ł", "/anmelden/%C5%82"],
  ["/a b", "/a%20b"],
  ["/a\r\nSet-Cookie: b=c", "/a%0D%0ASet-Cookie:%20b=c"],
])("where a guard leads, %j, goes into a header as %j", (url, location) => {
  expect(locationOf(url)).toBe(location)
  expect(new Headers({ location }).get("location")).toBe(location)
})

test("a warning of plain http names the option of the adapter, or what the proxy has to send", () => {
  expect(proxySetting("honoSessions", undefined)).toBe("honoSessions(sessions, { trustProxy: true })")
  expect(proxySetting("honoSessions", true)).toBe("let it send X-Forwarded-Proto")
})

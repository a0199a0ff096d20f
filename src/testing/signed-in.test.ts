import { describe, expect, test } from "vitest"
import type { Session } from "../api.ts"
import type { SessionsOptions } from "../config.ts"
import { createSessions } from "../sessions.ts"
import { memoryStore } from "../stores/memory.ts"
import { KEY, world } from "../visitor.test-helper.ts"
import { signedInCookie, type SignedInOptions } from "./signed-in.ts"

const DAY = 86_400

describe("a signed-in cookie", () => {
  test("is one of a session that is there, with its user, label and what was prepared", async () => {
    const w = world()
    const cookie = await signedInCookie(w.sessions, 7, {
      label: "a test",
      prepare: async (session) => {
        expect(await session.userId()).toBe("7")
        session.set("cart", ["coat"])
        session.client.set("theme", "dark")
      },
    })
    expect(w.store.operations()).toEqual(["create"])
    const session = w.sessions.open(cookie.header)
    expect(session.id).toBe(cookie.id)
    expect([await session.userId(), await session.get("cart"), session.client.get("theme")]).toEqual([
      "7",
      ["coat"],
      "dark",
    ])
    expect(await w.sessions.listByUser(7)).toMatchObject([{ id: cookie.id, label: "a test" }])
    expect(await w.sessions.revoke(cookie.id)).toBe(true)
    expect(await w.sessions.open(cookie.header).userId()).toBeNull()
  })

  test("is what a browser would have got, in the forms that clients take", async () => {
    const before = Math.floor(Date.now() / 1000)
    const cookie = await signedInCookie(world().sessions, "ada")
    expect(cookie.name).toBe("__Host-id")
    expect(cookie.value).toMatch(/^[\w-]{115}$/)
    expect(cookie.header).toBe(`__Host-id=${cookie.value}`)
    expect(cookie.setCookie).toBe(`${cookie.header}; Max-Age=${DAY}; Path=/; Secure; HttpOnly; SameSite=Lax`)
    const { expires, ...rest } = cookie.playwright
    expect(rest).toEqual({
      name: "__Host-id",
      value: cookie.value,
      domain: "localhost",
      path: "/",
      httpOnly: true,
      secure: true,
      sameSite: "Lax",
    })
    expect(expires).toBeGreaterThanOrEqual(before + DAY)
    expect(expires).toBeLessThanOrEqual(before + DAY + 2)
  })

  test.each<[string, SessionsOptions["cookie"], string | undefined, object]>([
    [
      "auto on plain localhost",
      { secure: "auto" },
      "http://localhost:3000",
      { name: "id", secure: false, domain: "localhost" },
    ],
    [
      "auto on plain ::1",
      { secure: "auto" },
      "http://[::1]:3000",
      { name: "id", secure: false, domain: "[::1]" },
    ],
    [
      "auto, where clients of tests are by default",
      { secure: "auto" },
      undefined,
      { name: "id", secure: false, domain: "localhost" },
    ],
    ["auto over https", { secure: "auto" }, "https://localhost", { name: "__Host-id", secure: true }],
    [
      "auto elsewhere",
      { secure: "auto" },
      "http://shop.example",
      { name: "__Host-id", secure: true, domain: "shop.example" },
    ],
    ["plain", { secure: false }, "http://localhost", { name: "id", secure: false }],
    [
      "a domain",
      { domain: "example.com" },
      "https://app.example.com",
      { name: "__Secure-id", domain: ".example.com" },
    ],
    ["a path", { path: "/app" }, undefined, { name: "__Secure-id", path: "/app" }],
    ["strict", { sameSite: "strict" }, undefined, { sameSite: "Strict" }],
    ["none", { sameSite: "none" }, undefined, { sameSite: "None" }],
    ["of a browser session", { kind: "browser-session" }, undefined, { expires: -1 }],
    ["open to scripts", { httpOnly: false }, undefined, { httpOnly: false }],
    ["of another name", { name: "shop" }, undefined, { name: "__Host-shop" }],
  ])("%s", async (_name, cookie, url, expected) => {
    const { sessions } = world({ cookie })
    expect((await signedInCookie(sessions, "ada", { url })).playwright).toMatchObject(expected)
  })

  test("is one of a session that was saved on the way, too", async () => {
    const w = world()
    const cookie = await signedInCookie(w.sessions, "ada", { prepare: (session) => session.save() })
    expect(await w.sessions.open(cookie.header).userId()).toBe("ada")
  })

  test("is another one each time", async () => {
    const { sessions } = world()
    const [one, two] = [await signedInCookie(sessions, "ada"), await signedInCookie(sessions, "ada")]
    expect(one.value).not.toBe(two.value)
    expect(await sessions.listByUser("ada")).toHaveLength(2)
  })

  test("carries the types of its sessions to prepare", async () => {
    const sessions = createSessions<{ cart: string[] }>({ keys: [KEY], store: memoryStore() })
    const cookie = await signedInCookie(sessions, "ada", {
      prepare: (session) => session.set("cart", ["coat"]),
    })
    expect(await sessions.open(cookie.header).get("cart")).toEqual(["coat"])
  })

  test("is none if prepare ends the session, fails, or the store does; the error says so", async () => {
    const w = world()
    const made = (options: SignedInOptions<Session>): Promise<unknown> =>
      signedInCookie(w.sessions, "ada", options)
    await expect(made({ prepare: (session) => session.invalidate() })).rejects.toThrow(
      /^No session came of this/,
    )
    await expect(made({ prepare: () => Promise.reject(new Error("mine")) })).rejects.toThrow("mine")
    w.store.failNext("create")
    await expect(made({})).rejects.toMatchObject({ code: "ERR_SESSION_STORE" })
    for (const url of ["localhost", "localhost:3000", ""])
      await expect(made({ url })).rejects.toThrow(/^signedInCookie: url is an address such as/)
  })
})

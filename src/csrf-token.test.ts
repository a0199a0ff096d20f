import fc from "fast-check"
import { inspect } from "node:util"
import { describe, expect, test } from "vitest"
import type { Session } from "./api.ts"
import { SessionFinalizedError, StoreError } from "./errors.ts"
import { KEY, Visitor, world } from "./visitor.test-helper.ts"
import { createSessions } from "./sessions.ts"
import { memoryStore } from "./stores/memory.ts"

const OTHER_KEY = "another key for tests, long enough as well"

const tokenOf = (s: Session): Promise<string> => s.csrfToken()
const verifies = (visitor: Visitor, token: string): Promise<boolean> =>
  visitor.visit((s) => s.verifyCsrfToken(token))

describe("a session's CSRF token", () => {
  test("is of the session whose cookie comes in, at no cost to make or to verify", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    w.store.reset()
    const token = await visitor.visit(tokenOf)
    expect(visitor.setCookie).toBeUndefined()
    expect(token).toMatch(/^[\w-]{64}$/)
    expect(await verifies(visitor, token)).toBe(true)
    expect(w.store.operations()).toEqual([])
  })

  test("is another text each time, and all of them verify", async () => {
    const visitor = world().visitor()
    const tokens = await visitor.visit(async (s) => [await s.csrfToken(), await s.csrfToken()])
    tokens.push(await visitor.visit(tokenOf))
    expect(new Set(tokens).size).toBe(3)
    for (const token of tokens) expect(await verifies(visitor, token)).toBe(true)
  })

  test("is none of another session's, of nobody's, or of a session under other keys", async () => {
    const w = world()
    const [ada, bob] = [w.visitor(), w.visitor()]
    const token = await ada.visit(tokenOf)
    await bob.visit((s) => s.set("cart", []))
    expect(await verifies(bob, token)).toBe(false)
    expect(await verifies(w.visitor(), token)).toBe(false)
    expect(await verifies(w.visitor("__Host-id=forged"), token)).toBe(false)
    const id = await ada.visit((s) => s.id)
    expect(await verifies(ada, id ?? "")).toBe(false)
    // Another application of the same store.
    const elsewhere = new Visitor(createSessions({ keys: [OTHER_KEY], store: w.store, clock: w.clock }))
    expect(await verifies(elsewhere, await elsewhere.visit(tokenOf))).toBe(true)
    expect(await verifies(elsewhere, token)).toBe(false)
  })

  test("is of the session that the cookies stand for: the first that opens, or none if they are of different ones", async () => {
    const w = world()
    const [ada, bob] = [w.visitor(), w.visitor()]
    const [token, other] = [await ada.visit(tokenOf), await bob.visit(tokenOf)]
    const with2 = (...cookies: (string | undefined)[]): Visitor => w.visitor(cookies.join("; "))
    expect(await verifies(with2("__Host-id=forged", ada.cookie, "theme=dark"), token)).toBe(true)
    expect(await verifies(with2(ada.cookie, ada.cookie), token)).toBe(true)
    expect(await verifies(with2(ada.cookie, bob.cookie), token)).toBe(false)
    expect(await verifies(with2(ada.cookie, bob.cookie), other)).toBe(false)
  })

  test("lives as long as its session does: through key rotation while the old key is there, no longer", async () => {
    const store = memoryStore()
    const under = (...keys: string[]): Visitor => new Visitor(createSessions({ keys, store }))
    const before = under(KEY)
    const token = await before.visit(tokenOf)
    const after = under(OTHER_KEY, KEY)
    after.cookie = before.cookie
    expect(await verifies(after, token)).toBe(true)
    // Another key seals its cookie by now.
    expect(after.cookie).not.toBe(before.cookie)
    expect(await verifies(after, token)).toBe(true)
    const later = under(OTHER_KEY)
    later.cookie = after.cookie
    expect(await later.visit((s) => s.isNew)).toBe(false)
    expect(await verifies(later, token)).toBe(false)
    expect(await verifies(later, await after.visit(tokenOf))).toBe(true)
  })

  test("of before a sign-in, a sign-out or another ticket is no good after it, and one taken after it in the same request is", async () => {
    for (const change of [
      (s: Session) => s.signIn("ada"),
      (s: Session) => s.signOut(),
      (s: Session) => s.cycleId(),
    ]) {
      const visitor = world().visitor()
      const before = await visitor.visit(tokenOf)
      const after = await visitor.visit(async (s) => {
        change(s)
        return s.csrfToken()
      })
      expect(await verifies(visitor, before)).toBe(false)
      expect(await verifies(visitor, after)).toBe(true)
    }
  })

  test("with pending changes saves them, so that nothing changes the id behind it", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("theme", "dark"))
    expect(w.store.operations()).toEqual([])
    // A session without a record gets a new id with its first one.
    const token = await visitor.visit(async (s) => {
      s.set("cart", [])
      const made = await s.csrfToken()
      expect(s.isModified).toBe(false)
      return made
    })
    expect(w.store.operations()).toEqual(["create"])
    expect(await verifies(visitor, token)).toBe(true)
  })

  test("with an old ticket in its grace is that of where the session has moved, once that is known", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    const late = w.visitor(visitor.cookie)
    const before = await visitor.visit(tokenOf)
    await visitor.visit((s) => s.cycleId({ grace: "30s" }))
    const token = await late.visit(async (s) => (await s.get("cart"), s.csrfToken()))
    expect(late.setCookie).toBeUndefined()
    // By then the browser has the cookie that the other response set.
    expect(await verifies(visitor, token)).toBe(true)
    expect(await verifies(visitor, before)).toBe(false)
    // A form that a page under the old ticket sends in the meantime passes.
    expect(await verifies(late, before)).toBe(true)
  })

  test("of a session without a record is as good", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("theme", "dark"))
    const token = await visitor.visit(tokenOf)
    expect(w.store.operations()).toEqual([])
    expect(await verifies(visitor, token)).toBe(true)
  })

  test("of a session whose record was lost holds until it gets another one", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    const id = await visitor.visit((s) => s.id)
    await w.store.delete(id as string)
    const token = await visitor.visit(async (s) => (await s.get("cart"), s.csrfToken()))
    expect(await verifies(visitor, token)).toBe(true)
    const renewed = await visitor.visit(async (s) => {
      s.set("cart", [])
      await s.get("cart")
      return s.csrfToken()
    })
    expect(await verifies(visitor, token)).toBe(false)
    expect(await verifies(visitor, renewed)).toBe(true)
  })

  test("G12: makes the response depend on the session, when made and when verified", async () => {
    const w = world()
    const visitor = w.visitor()
    const token = await visitor.visit(tokenOf)
    for (const use of [tokenOf, (s: Session) => s.verifyCsrfToken(token)]) {
      const session = w.sessions.open(visitor.cookie)
      await use(session)
      const { headers } = await session.finalize()
      expect(headers).toContainEqual({ name: "Vary", value: "Cookie", mode: "merge" })
    }
  })

  test("after the response has begun can be made if nothing has to be changed for it", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    const session = w.sessions.open(visitor.cookie)
    await session.get("cart")
    await session.finalize()
    expect(await verifies(visitor, await session.csrfToken())).toBe(true)
    const stranger = w.sessions.open(undefined)
    expect(stranger.isNew).toBe(true)
    await stranger.finalize()
    await expect(stranger.csrfToken()).rejects.toThrow(SessionFinalizedError)
    const untouched = w.sessions.open(visitor.cookie)
    await untouched.finalize()
    await expect(untouched.csrfToken()).rejects.toThrow(SessionFinalizedError)
  })

  test("G7: neither the token nor the ticket shows in events, warnings or what is printed", async () => {
    const told: unknown[] = []
    const store = memoryStore()
    const sessions = createSessions({
      keys: [KEY],
      store,
      onEvent: (event) => told.push(event),
      onWarning: (message) => told.push(message),
    })
    const session = sessions.open(undefined)
    const token = await session.csrfToken()
    const { setCookie = "" } = await session.finalize()
    const again = sessions.open(setCookie.split(";")[0])
    expect(again.verifyCsrfToken(token)).toBe(true)
    const printed = inspect([told, session, again, sessions, store], { depth: 12, showHidden: true })
    expect(printed).not.toContain(token)
    expect(printed).not.toContain(setCookie.split(/[=;]/)[1])
  })

  test("property: nothing but a token of its own verifies, however near", async () => {
    const visitor = world().visitor()
    const token = await visitor.visit(tokenOf)
    const session = world().sessions.open(visitor.cookie)
    expect(session.verifyCsrfToken(token)).toBe(true)
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const swap = fc.tuple(fc.nat(token.length - 1), fc.constantFrom(...alphabet))
    fc.assert(
      fc.property(
        fc.oneof(
          swap.map(([at, sign]) => token.slice(0, at) + sign + token.slice(at + 1)),
          fc.string(),
          fc.string({ unit: fc.constantFrom(...alphabet), minLength: 64, maxLength: 64 }),
        ),
        (text) => {
          expect(session.verifyCsrfToken(text)).toBe(text === token)
        },
      ),
    )
    for (const wrong of [
      undefined,
      null,
      7,
      {},
      [token],
      `${token}=`,
      ` ${token}`,
      token.slice(1),
      token + token,
    ])
      expect(session.verifyCsrfToken(wrong as string)).toBe(false)
  })
})

describe("a new visitor's CSRF token", () => {
  test("starts a session, once however many ask for it, with nothing in it", async () => {
    const w = world()
    const visitor = w.visitor()
    const tokens = await visitor.visit((s) => Promise.all([s.csrfToken(), s.csrfToken(), s.csrfToken()]))
    expect(w.store.operations()).toEqual(["create"])
    expect(visitor.setCookie).toContain("__Host-id=")
    for (const token of tokens) expect(await verifies(visitor, token)).toBe(true)
    expect(await visitor.visit(async (s) => [s.isNew, await s.isEmpty()])).toEqual([false, true])
    expect(w.store.operations()).toEqual(["create", "load"])
  })

  test("starts it with what is pending, and lets it be changed and finalized like any other", async () => {
    const w = world()
    const visitor = w.visitor()
    const token = await visitor.visit(async (s) => {
      s.set("cart", ["coat"])
      const made = await s.csrfToken()
      s.set("views", 1)
      return made
    })
    expect(w.store.operations()).toEqual(["create", "update"])
    expect(await verifies(visitor, token)).toBe(true)
    expect(await visitor.visit((s) => s.entries())).toEqual([
      ["cart", ["coat"]],
      ["views", 1],
    ])
  })

  test.each(["never-skip", "skip-if-empty"] as const)("starts one under %s", async (serverStateCreation) => {
    const w = world({ serverStateCreation })
    const visitor = w.visitor()
    const token = await visitor.visit(tokenOf)
    expect(w.store.operations()).toEqual(["create"])
    expect(await verifies(visitor, token)).toBe(true)
    // Asked for again, nothing is started or written.
    await visitor.visit(tokenOf)
    expect(w.store.operations()).toEqual(["create"])
  })

  test("is announced even if the response is a server error, for the page may show it", async () => {
    const visitor = world().visitor()
    const token = await visitor.visit(tokenOf, { status: 500 })
    expect(await verifies(visitor, token)).toBe(true)
  })

  test("starts none across sites, where it would replace the session that the browser holds; nothing verifies it", async () => {
    const w = world()
    const request = { method: "POST", secFetchSite: "cross-site" }
    const stranger = w.visitor()
    const token = await stranger.visit(tokenOf, undefined, request)
    expect(w.store.operations()).toEqual([])
    expect(stranger.setCookie).toBeUndefined()
    expect(token).toMatch(/^[\w-]{64}$/)
    expect(await verifies(stranger, token)).toBe(false)
    const somebody = w.visitor()
    await somebody.visit(tokenOf)
    expect(await verifies(somebody, token)).toBe(false)
    const open = world({ crossSiteCreation: "allow" })
    await open.visitor().visit(tokenOf, undefined, request)
    expect(open.store.operations()).toEqual(["create"])
  })

  test("of one whose session was invalidated in this request starts none, and verifies nowhere", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", []))
    const token = await visitor.visit((s) => (s.invalidate(), s.csrfToken()))
    expect(visitor.cookie).toBeUndefined()
    expect(w.store.operations()).toEqual(["create", "delete"])
    expect(await verifies(visitor, token)).toBe(false)
  })

  test("G11: a store that fails rejects all who asked, and leaves nothing behind that starts a session later", async () => {
    const w = world()
    const visitor = w.visitor()
    w.store.failNext("create")
    await visitor.visit(async (s) => {
      const [first, second] = await Promise.allSettled([s.csrfToken(), s.csrfToken()])
      expect(first).toMatchObject({ status: "rejected", reason: expect.any(StoreError) as unknown })
      // The second one asks again, and gets a session: never a token that nothing verifies.
      expect(second.status).toBe("fulfilled")
      return (second as PromiseFulfilledResult<string>).value
    })
    expect(w.store.operations()).toEqual(["create", "create"])
    const other = w.visitor()
    w.store.failNext("create")
    await other.visit((s) => expect(s.csrfToken()).rejects.toThrow(StoreError))
    expect(other.setCookie).toBeUndefined()
    expect(w.store.operations()).toHaveLength(3)
  })

  test("verifying starts nothing", async () => {
    const w = world()
    const visitor = w.visitor()
    expect(await verifies(visitor, "x")).toBe(false)
    expect(visitor.setCookie).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })
})

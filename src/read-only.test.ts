import { describe, expect, test } from "vitest"
import type { RequestFacts, Session } from "./api.ts"
import { SessionFinalizedError, SessionReadOnlyError } from "./errors.ts"
import { KEY, type World, world } from "./visitor.test-helper.ts"
import { createSessions } from "./sessions.ts"
import { memoryStore } from "./stores/memory.ts"

const WHY = "a server component sends no cookies"
const READ_ONLY: RequestFacts = { readOnly: WHY }

/** Somebody signed in, whose session holds something and is not due for anything. */
async function signedIn(w: World): Promise<string> {
  const visitor = w.visitor()
  await visitor.visit((s) => {
    s.set("cart", ["coat"])
    s.client.set("theme", "dark")
    s.signIn("ada", { label: "laptop" })
    s.set("cart", ["coat"])
    s.client.set("theme", "dark")
  })
  w.store.reset()
  w.events.length = 0
  return visitor.cookie as string
}

/** Every member that changes something, by the name it has in `Session`. */
const writes: Record<string, (s: Session) => unknown> = {
  set: (s) => s.set("cart", []),
  remove: (s) => s.remove("cart"),
  clear: (s) => s.clear(),
  take: (s) => s.take("cart"),
  consume: (s) => s.consume("cart"),
  transact: (s) => s.transact((state) => state.set("cart", [])),
  delete: (s) => s.delete(),
  cycleId: (s) => s.cycleId(),
  signIn: (s) => s.signIn("bob"),
  signOut: (s) => s.signOut(),
  revokeOthers: (s) => s.revokeOthers(),
  invalidate: (s) => s.invalidate(),
  setExpiry: (s) => s.setExpiry("browser-session"),
  save: (s) => s.save(),
  "client.set": (s) => s.client.set("theme", "light"),
  "client.remove": (s) => s.client.remove("theme"),
  "client.clear": (s) => s.client.clear(),
  "client.take": (s) => s.client.take("theme"),
  "load, set": async (s) => (await s.load()).set("cart", []),
  "load, remove": async (s) => (await s.load()).remove("cart"),
  "load, clear": async (s) => (await s.load()).clear(),
  "load, take": async (s) => (await s.load()).take("cart"),
}

/** Every member that changes nothing, and what it says. */
const reads: Record<string, [(s: Session) => unknown, unknown]> = {
  get: [(s) => s.get("cart"), ["coat"]],
  has: [(s) => s.has("cart"), true],
  keys: [(s) => s.keys(), ["cart"]],
  entries: [(s) => s.entries(), [["cart", ["coat"]]]],
  isEmpty: [(s) => s.isEmpty(), false],
  load: [async (s) => (await s.load({ fresh: true })).get("cart"), ["coat"]],
  id: [(s) => s.id, expect.stringMatching(/^[\w-]{43}$/)],
  isNew: [(s) => s.isNew, false],
  isModified: [(s) => s.isModified, false],
  isInvalidated: [(s) => s.isInvalidated, false],
  isTouched: [(s) => s.isTouched, false],
  userId: [(s) => s.userId(), "ada"],
  signedInAt: [(s) => s.signedInAt(), expect.any(Date)],
  signedInFor: [(s) => s.signedInFor(), 0],
  expiry: [(s) => s.expiry(), null],
  expiresAt: [(s) => s.expiresAt(), expect.any(Date)],
  expiresIn: [(s) => s.expiresIn(), 86_400_000],
  csrfToken: [(s) => s.csrfToken(), expect.stringMatching(/^[\w-]{64}$/)],
  verifyCsrfToken: [(s) => s.verifyCsrfToken("x"), false],
  client: [(s) => s.client.entries(), [["theme", "dark"]]],
}

describe.each([
  ["readOnly", READ_ONLY, WHY],
  ["isUpgrade", { isUpgrade: true }, "a request for another protocol"],
  ["readOnly, before isUpgrade", { readOnly: WHY, isUpgrade: true }, WHY],
] as const)("a session that can only be read (%s)", (_name, request, why) => {
  test.each(Object.entries(writes))("%s throws, says why, and stores nothing", async (_member, write) => {
    const w = world()
    const session = w.sessions.open(await signedIn(w), request)
    const failure = await attempt(() => write(session))
    expect(failure).toBeInstanceOf(SessionReadOnlyError)
    expect(failure).toMatchObject({ code: "ERR_SESSION_READ_ONLY", name: "SessionReadOnlyError" })
    expect((failure as Error).message).toContain(`This session can only be read: ${why}`)
    expect(session.isModified).toBe(false)
    // Nothing of it is left for later, either.
    expect(await session.get("cart")).toEqual(["coat"])
    expect(session.client.get("theme")).toBe("dark")
    expect(await session.userId()).toBe("ada")
    expect((await session.finalize()).setCookie).toBeUndefined()
    expect(w.store.operations()).toEqual(["load"])
    expect(w.events).toEqual([])
  })

  test.each(Object.entries(writes))("%s throws for a new visitor as well", async (_member, write) => {
    const w = world()
    const session = w.sessions.open(undefined, request)
    expect(await attempt(() => write(session))).toBeInstanceOf(SessionReadOnlyError)
    expect(await session.finalize()).toEqual(
      expect.not.objectContaining({ setCookie: expect.anything() as unknown }),
    )
    expect(w.store.operations()).toEqual([])
  })

  test.each(Object.entries(reads))("%s works", async (_member, [read, value]) => {
    const w = world()
    const session = w.sessions.open(await signedIn(w), request)
    expect(await read(session)).toEqual(value)
    expect((await session.finalize()).setCookie).toBeUndefined()
    expect(w.store.operations().filter((operation) => operation !== "load")).toEqual([])
  })

  test("extends nothing, however much it is due: not the record, not the cookie, not under a new key", async () => {
    const store = memoryStore()
    const w = world({ ttlExtensionThreshold: 1 })
    const cookie = await signedIn(w)
    w.clock.advance("20h")
    const session = w.sessions.open(cookie, request)
    await session.get("cart")
    const left = await session.expiresIn()
    expect(await session.finalize()).toEqual({
      headers: [
        { name: "Vary", value: "Cookie", mode: "merge" },
        { name: "Cache-Control", value: "private, no-cache", mode: "merge" },
      ],
    })
    expect(w.store.operations()).toEqual(["load"])
    expect(left).toBe(4 * 3_600_000)
    w.clock.advance(left)
    expect(await w.sessions.open(cookie, request).userId()).toBeNull()
    // A reseal that is due stays so.
    const before = createSessions({ keys: [KEY], store }).open(undefined)
    before.set("cart", ["coat"])
    const { setCookie } = await before.finalize()
    const rotated = createSessions({ keys: ["a newer key, long enough: 32 bytes", KEY], store })
    const later = rotated.open(setCookie, request)
    expect(await later.get("cart")).toEqual(["coat"])
    expect((await later.finalize()).setCookie).toBeUndefined()
  })

  test.each(["renew", "reject", "allow"] as const)(
    "whose record is gone reads empty and removes no cookie (%s)",
    async (missingServerState) => {
      const w = world({ missingServerState })
      const cookie = await signedIn(w)
      await w.store.delete(w.sessions.open(cookie).id as string)
      const session = w.sessions.open(cookie, request)
      expect(await session.get("cart")).toBeUndefined()
      expect(await session.userId()).toBeNull()
      expect((await session.finalize()).setCookie).toBeUndefined()
    },
  )

  test("that has ended reads empty", async () => {
    const w = world()
    const cookie = await signedIn(w)
    await w.sessions.revokeByUser("ada")
    const session = w.sessions.open(cookie, request)
    expect(await session.userId()).toBeNull()
    expect(session.isInvalidated).toBe(true)
    expect((await session.finalize()).setCookie).toBeUndefined()
  })

  test("of a new visitor has no token to give, for that would start a session", async () => {
    const w = world()
    const session = w.sessions.open(undefined, request)
    await expect(session.csrfToken()).rejects.toThrow(SessionReadOnlyError)
    expect(await session.get("cart")).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })

  test("costs nothing untouched, and after its end says that it has ended", async () => {
    const w = world()
    const session = w.sessions.open(await signedIn(w), request)
    expect(await session.finalize()).toEqual({ headers: [] })
    expect(w.store.operations()).toEqual([])
    expect(() => session.set("cart", [])).toThrow(SessionFinalizedError)
  })
})

test("every member of a session is one that reads or one that writes, and tried here", () => {
  const prototype = Object.getPrototypeOf(world().sessions.open(undefined)) as object
  const members = Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor")
  const tried = new Set([...Object.keys(writes), ...Object.keys(reads), "finalize"])
  expect(members.filter((name) => !tried.has(name))).toEqual([])
})

test("which protocol is asked for is looked at only when something is to be changed or sent", async () => {
  const asked: string[] = []
  const facts = new Proxy<RequestFacts>(
    {},
    {
      get: (target, name) => (asked.push(String(name)), Reflect.get(target, name) as unknown),
    },
  )
  const w = world()
  const session = w.sessions.open(await signedIn(w), facts)
  await session.get("cart")
  expect(asked).toEqual([])
  session.set("cart", [])
  expect(asked).toEqual(["readOnly", "isUpgrade"])
})

/** What a call throws or rejects with. */
async function attempt(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return undefined
  } catch (error) {
    return error
  }
}

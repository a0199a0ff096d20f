import { describe, expect, test } from "vitest"
import { SignInRequiredError } from "./errors.ts"
import { type Duration } from "./expiry.ts"
import { freshness, requireFresh, requireUser } from "./guards.ts"
import { cachedStore } from "./stores/cached.ts"
import { memoryCache } from "./stores/cached-memory.ts"
import { memoryStore } from "./stores/memory.ts"
import { fakeClock } from "./testing/clock.ts"
import { spyStore } from "./testing/spy-store.ts"
import { KEY, Visitor, world } from "./visitor.test-helper.ts"
import { createSessions } from "./sessions.ts"

const anonymous = { name: "SignInRequiredError", code: "ERR_SESSION_SIGN_IN_REQUIRED", reason: "anonymous" }
const stale = { ...anonymous, reason: "stale" }

describe("requireUser", () => {
  test("gives the id of who is signed in, for one load", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn(7))
    w.store.reset()
    expect(await ada.visit((s) => requireUser(s))).toBe("7")
    expect(w.store.operations()).toEqual(["load"])
  })

  test("turns away who is nobody: a new visitor without a store call, one with a session, one who signed out", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => expect(requireUser(s)).rejects.toMatchObject(anonymous))
    expect(w.store.operations()).toEqual([])
    await visitor.visit((s) => s.set("cart", []))
    await visitor.visit((s) => expect(requireUser(s)).rejects.toThrow(SignInRequiredError))
    await visitor.visit((s) => s.signIn("ada"))
    await visitor.visit((s) => {
      s.signOut()
      return expect(requireUser(s)).rejects.toMatchObject(anonymous)
    })
    await visitor.visit((s) => expect(requireUser(s)).rejects.toMatchObject(anonymous))
  })

  test("turns away who was revoked", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    await w.sessions.revokeByUser("ada")
    await ada.visit((s) => expect(requireUser(s)).rejects.toMatchObject({ ...anonymous, status: 401 }))
  })

  test("knows of a sign-in of this very request", async () => {
    await world()
      .visitor()
      .visit(async (s) => {
        s.signIn("ada")
        expect(await requireUser(s)).toBe("ada")
        expect(await requireFresh(s, { within: 1 })).toBe("ada")
      })
  })

  test("a store that fails is not taken for nobody", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    w.store.failNext("load")
    await ada.visit((s) => expect(requireUser(s)).rejects.toMatchObject({ name: "StoreError" }))
    w.store.failNext("load")
    await ada.visit((s) =>
      expect(requireFresh(s, { within: "5m" })).rejects.toMatchObject({ name: "StoreError" }),
    )
  })
})

describe("requireFresh", () => {
  test("the sessions' own clock decides, to the millisecond", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    expect(await ada.visit((s) => requireFresh(s, { within: "5m" }))).toBe("ada")
    w.clock.advance("5m")
    expect(await ada.visit((s) => requireFresh(s, { within: "5m" }))).toBe("ada")
    expect(await ada.visit((s) => requireFresh(s, { within: 300_000 }))).toBe("ada")
    w.clock.advance(1)
    await ada.visit((s) => expect(requireFresh(s, { within: "5m" })).rejects.toMatchObject(stale))
    expect(await ada.visit((s) => requireUser(s))).toBe("ada")
  })

  test("who signs in again is fresh, while use alone makes nobody so", async () => {
    const w = world({ ttlExtensionThreshold: 1 })
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    for (let visit = 0; visit < 4; visit++) {
      w.clock.advance("2m")
      await ada.visit((s) => s.set("visit", visit))
    }
    await ada.visit((s) => s.cycleId())
    await ada.visit((s) => expect(requireFresh(s, { within: "5m" })).rejects.toMatchObject(stale))
    await ada.visit((s) => s.signIn("ada"))
    w.clock.advance("4m")
    expect(await ada.visit((s) => requireFresh(s, { within: "5m" }))).toBe("ada")
  })

  test("nobody is anonymous rather than stale, and costs no store call", async () => {
    const w = world()
    await w.visitor().visit((s) => expect(requireFresh(s, { within: "5m" })).rejects.toMatchObject(anonymous))
    expect(w.store.operations()).toEqual([])
  })

  test("a clock that was set back makes nobody's sign-in lie in the future", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    w.clock.set(w.clock() - 60_000)
    expect(await ada.visit((s) => s.signedInFor())).toBe(0)
    expect(await ada.visit((s) => requireFresh(s, { within: "1s" }))).toBe("ada")
  })

  test("asks the store's authority, where requireUser takes what a cache says", async () => {
    const clock = fakeClock()
    const authority = spyStore(memoryStore({ clock }))
    const sessions = createSessions({
      keys: [KEY],
      clock,
      store: cachedStore(memoryCache({ clock }), authority, { clock, staleness: "1m" }),
    })
    const ada = new Visitor(sessions)
    await ada.visit((s) => s.signIn("ada"))
    const id = await ada.visit((s) => s.userId().then(() => s.id as string))
    // Somebody else, past this process's cache.
    await authority.delete(id, { tombstone: { ttl: 60_000 } })
    authority.reset()
    expect(await ada.visit((s) => requireUser(s))).toBe("ada")
    expect(authority.operations()).toEqual([])
    await ada.visit((s) => expect(requireFresh(s, { within: "1h" })).rejects.toMatchObject(anonymous))
    expect(authority.operations()).toEqual(["load"])
  })

  test("asks it even if the cache has been read in this request, and once alone", async () => {
    const clock = fakeClock()
    const authority = spyStore(memoryStore({ clock }))
    const store = cachedStore(memoryCache({ clock }), authority, { clock, staleness: "1m" })
    const ada = new Visitor(createSessions({ keys: [KEY], clock, store }))
    await ada.visit((s) => s.signIn("ada"))
    await ada.visit((s) => s.userId())
    authority.reset()
    await ada.visit(async (s) => {
      expect(await requireUser(s)).toBe("ada")
      expect(await requireFresh(s, { within: "5m" })).toBe("ada")
      expect(await requireFresh(s, { within: "5m" })).toBe("ada")
    })
    expect(authority.operations()).toEqual(["load"])
  })

  test.each(["5 minutes", -1, Number.NaN, undefined, null, ""])(
    "%j is no duration, whoever asks",
    async (within) => {
      const w = world()
      const asked = w.visitor().visit((s) => requireFresh(s, { within: within as Duration }))
      await expect(asked).rejects.toThrow(/^requireFresh: within is a duration such as "5m"/)
      expect(w.store.operations()).toEqual([])
    },
  )
})

test("a duration is read once, when a guard is made", () => {
  expect(freshness("5m")).toBe(300_000)
  expect(freshness(5)).toBe(5)
  expect(() => freshness("soon" as Duration)).toThrow(TypeError)
})

describe("signedInFor", () => {
  test("tells how long ago the sign-in was, for one load", async () => {
    const w = world()
    const ada = w.visitor()
    await ada.visit((s) => s.signIn("ada"))
    w.clock.advance("90s")
    w.store.reset()
    const ages = await ada.visit(async (s) => [await s.signedInFor(), (await s.signedInAt())?.getTime()])
    expect(ages).toEqual([90_000, w.clock() - 90_000])
    expect(w.store.operations()).toEqual(["load"])
  })

  test("is null for nobody, and 0 for who signs in with this request", async () => {
    const w = world()
    const visitor = w.visitor()
    expect(await visitor.visit((s) => s.signedInFor())).toBeNull()
    await visitor.visit((s) => s.set("cart", []))
    expect(await visitor.visit((s) => s.signedInFor())).toBeNull()
    expect(await visitor.visit((s) => (s.signIn("ada"), s.signedInFor()))).toBe(0)
    expect(await visitor.visit((s) => (s.signOut(), s.signedInFor()))).toBeNull()
  })
})

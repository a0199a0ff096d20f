import { describe, expect, test } from "vitest"
import type { Session } from "./api.ts"
import type { SessionsOptions } from "./config.ts"
import {
  CookieTooLargeError,
  DuplicateIdError,
  SessionEndedError,
  StoreError,
  UnknownIdError,
  ValueSerializationError,
  VersionConflictError,
} from "./errors.ts"
import type { Change, SessionStore } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"
import { fakeClock } from "./testing/clock.ts"
import { Visitor, type World, world } from "./visitor.test-helper.ts"

const HOUR = 3_600_000

/** A visitor whose session holds `{ cart: ["coat"] }`, and a log that starts empty. */
async function customer(w: World, userId?: string): Promise<Visitor> {
  const visitor = w.visitor()
  await visitor.visit((s) => {
    s.set("cart", ["coat"])
    if (userId !== undefined) s.signIn(userId)
  })
  forget(w)
  return visitor
}

function forget(w: World): void {
  w.store.reset()
  w.events.length = 0
}

/** A memory store of which some operations do something else. */
function altered(change: (inner: SessionStore) => Partial<SessionStore>): SessionStore {
  const inner = memoryStore({ clock: fakeClock() })
  const own = change(inner)
  return new Proxy(inner, {
    get(target, name) {
      const member: unknown = Reflect.get(name in own ? own : target, name)
      return typeof member === "function" ? member.bind(target) : member
    },
  })
}

describe("signIn more than once in a request", () => {
  const known = async (s: Session): Promise<void> => void (await s.load())
  const unknown = async (): Promise<void> => undefined

  test.each([
    ["loaded", known],
    ["not loaded", unknown],
  ])("as another user keeps nothing of what came before (%s)", async (_what, prepare) => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await prepare(s)
      s.signIn("ann")
      s.set("of ann", 1)
      s.client.set("of ann", 1)
      s.signIn("bob")
      s.set("of bob", 1)
      s.client.set("of bob", 1)
      expect(await s.userId()).toBe("bob")
    })
    expect(w.store.operations()).toEqual(["load", "changeId"])
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBe("bob")
      expect(await s.keys()).toEqual(["of bob"])
      expect(s.client.keys()).toEqual(["of bob"])
    })
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test.each([
    ["loaded", known],
    ["not loaded", unknown],
  ])("as the same user changes no more than the label (%s)", async (_what, prepare) => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await prepare(s)
      s.signIn("ann", { label: "one" })
      s.set("between", 1)
      s.client.set("between", 1)
      s.signIn("ann", { label: "two" })
      s.set("after", 1)
    })
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBe("ann")
      expect(await s.keys()).toEqual(["cart", "between", "after"])
      expect(s.client.keys()).toEqual(["between"])
    })
    expect(await w.sessions.listByUser("ann")).toMatchObject([{ label: "two" }])
  })

  const strangers = async (prepare: (s: Session) => Promise<void>): Promise<unknown> => {
    const w = world()
    const visitor = await customer(w, "bob")
    await visitor.visit(async (s) => {
      await prepare(s)
      s.signIn("ann")
      s.set("between", 1)
      s.signIn("ann")
      s.set("after", 1)
    })
    return visitor.visit((s) => s.keys())
  }

  test("as the same user, over another's session, keeps what came since the first (loaded)", async () => {
    expect(await strangers(known)).toEqual(["between", "after"])
  })

  // "Keys set after `signIn` always survive": without a load what came between the two calls is lost.
  test("as the same user, over another's session, keeps what came since the first (not loaded)", async () => {
    expect(await strangers(unknown)).toEqual(["between", "after"])
  })

  const narrowed = async (prepare: (s: Session) => Promise<void>): Promise<unknown> => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await prepare(s)
      s.set("other", 1)
      s.signIn("ann", { keep: ["cart"] })
      s.set("between", 1)
      s.signIn("ann")
    })
    return visitor.visit((s) => s.keys())
  }

  test("as the same user keeps what the first call kept (loaded)", async () => {
    expect(await narrowed(known)).toEqual(["cart", "between"])
  })

  // The same program must not give another result for not having loaded: here nothing is kept.
  test("as the same user keeps what the first call kept (not loaded)", async () => {
    expect(await narrowed(unknown)).toEqual(["cart", "between"])
  })
})

describe("signIn, signOut, delete and invalidate in one request", () => {
  test("signIn then signOut leaves nobody signed in and nothing behind", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.signIn("ann")
      s.set("a", 1)
      s.client.set("a", 1)
      s.signOut()
      expect(await s.userId()).toBeNull()
      expect(await s.signedInAt()).toBeNull()
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys(), s.client.keys()])).toEqual([
      null,
      [],
      [],
    ])
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test("signOut then signIn binds the new user", async () => {
    const w = world()
    const visitor = await customer(w, "ann")
    await visitor.visit((s) => {
      s.signOut()
      s.signIn("bob")
      s.set("a", 1)
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["bob", ["a"]])
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test("a new visitor who signs in and out has no session", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.set("a", 1)
      s.signIn("ann")
      s.signOut()
    })
    expect(visitor.cookie).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })

  test("signIn then delete leaves nobody signed in, and no record", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.signIn("ann")
      s.delete()
    })
    expect(w.store.operations()).toEqual(["delete"])
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
  })

  test("delete then signIn binds the user to a session that keeps client state alone", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.client.set("theme", "dark"))
    await visitor.visit(async (s) => {
      s.delete()
      expect(await s.userId()).toBeNull()
      expect(await s.signedInAt()).toBeNull()
      s.signIn("ann")
      s.set("a", 1)
    })
    await visitor.visit(async (s) => {
      expect([await s.userId(), await s.keys(), s.client.keys()]).toEqual(["ann", ["a"], ["theme"]])
    })
  })

  const handedOver = async (load: boolean): Promise<unknown> => {
    const w = world()
    const visitor = await customer(w, "ann")
    await visitor.visit((s) => s.client.set("of ann", 1))
    await visitor.visit(async (s) => {
      if (load) await s.load()
      s.delete()
      s.signIn("bob")
    })
    return visitor.visit((s) => s.client.keys())
  }

  test("delete then signIn as another user hands over nothing (not loaded)", async () => {
    expect(await handedOver(false)).toEqual([])
  })

  // "One bound to another user keeps nothing set before `signIn`", and whether it was loaded must make no difference.
  test("delete then signIn as another user hands over nothing (loaded)", async () => {
    expect(await handedOver(true)).toEqual([])
  })

  test("a new visitor who deletes gets no cookie, whatever was pending", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.set("a", 1)
      s.client.set("a", 1)
      s.delete()
    })
    expect(visitor.cookie).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })

  test("delete of a session without a record costs no call", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("a", 1))
    await visitor.visit((s) => s.delete())
    expect(w.store.operations()).toEqual([])
    expect(await visitor.visit((s) => s.client.get("a"))).toBe(1)
  })

  test("after invalidate everything but signIn does nothing", async () => {
    const w = world()
    const visitor = await customer(w, "ann")
    const id = await visitor.visit((s) => s.id)
    forget(w)
    await visitor.visit(async (s) => {
      s.invalidate()
      s.invalidate()
      expect(s.isInvalidated).toBe(true)
      expect(s.isModified).toBe(true)
      expect(s.id).toBe(id)
      s.set("a", 1)
      s.client.set("a", 1)
      s.remove("cart")
      s.clear()
      s.delete()
      s.cycleId()
      s.signOut()
      s.setExpiry({ idle: "1h" })
      expect(await s.keys()).toEqual([])
      expect(await s.userId()).toBeNull()
      expect(await s.consume("cart")).toBeUndefined()
      expect(await s.take("cart")).toBeUndefined()
      expect(await s.expiresIn()).toBe(0)
      expect(await s.expiry()).toBeNull()
      expect(await s.revokeOthers()).toBe(0)
      await expect(s.transact((state) => state.set("a", 1))).rejects.toThrow(/invalidated by this request/)
    })
    expect(w.store.operations()).toEqual(["delete"])
    expect(visitor.setCookie).toBe(
      "__Host-id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax",
    )
  })

  test("an anonymous visitor who invalidates gets no cookie and costs no call", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.set("a", 1)
      s.invalidate()
    })
    expect(visitor.setCookie).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })

  test("invalidate after save ends what was saved", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(async (s) => {
      s.signIn("ann")
      await s.save()
      s.invalidate()
    })
    expect(w.store.operations()).toEqual(["create", "delete"])
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test("signIn after invalidate, and invalidate after that", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.invalidate()
      s.signIn("ann")
      s.invalidate()
    })
    expect(w.store.operations()).toEqual(["delete"])
    expect(visitor.cookie).toBeUndefined()
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test("the session of a record that another request has ended meanwhile: invalidate sends no removal", async () => {
    const w = world()
    const visitor = await customer(w)
    const other = new Visitor(w.sessions, visitor.cookie)
    const late = other.arrive((s) => s.invalidate())
    await visitor.visit((s) => s.invalidate())
    expect(await late.leave()).toBeUndefined()
  })

  test("a record that is gone without a trace: invalidate sends the removal", async () => {
    const w = world()
    const visitor = await customer(w)
    await w.store.delete((await visitor.visit((s) => s.id)) as string)
    await visitor.visit((s) => s.invalidate())
    expect(visitor.setCookie).toContain("Max-Age=0")
  })

  test("a store that cannot end it fails finalize, and the session lives", async () => {
    const w = world()
    const visitor = await customer(w)
    const late = visitor.arrive((s) => s.invalidate())
    w.store.failNext("delete")
    await expect(late.leave()).rejects.toBeInstanceOf(StoreError)
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
  })
})

describe("arguments", () => {
  test.each(["", "a\0", 1.5, -0, Number.NaN, null, undefined, {}, true])(
    "signIn(%j) is a TypeError, and nothing has changed",
    async (userId) => {
      const w = world()
      const session = w.sessions.open(undefined)
      expect(() => session.signIn(userId as string)).toThrow(TypeError)
      expect(session.isModified).toBe(false)
    },
  )

  test("a label is text, and cut", async () => {
    const w = world()
    const visitor = w.visitor()
    expect(() => w.sessions.open(undefined).signIn("ann", { label: 5 as never })).toThrow(
      /A label is a string/,
    )
    await visitor.visit((s) => s.signIn("ann", { label: "x".repeat(300) }))
    expect((await w.sessions.listByUser("ann"))[0]?.label).toBe("x".repeat(256))
  })

  test.each(["soon", 0, -1, null, {}])("cycleId with a grace of %j is a TypeError", (grace) => {
    const session = world().sessions.open(undefined)
    expect(() => session.cycleId({ grace: grace as never })).toThrow(/cycleId: grace is a duration/)
  })

  test("cycleId of a new visitor does nothing", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.cycleId()
      expect(s.isModified).toBe(false)
    })
    expect(visitor.cookie).toBeUndefined()
  })

  test.each([undefined, "1h", { idle: "soon" }, { at: "tomorrow" }, { cookie: "x" }])(
    "setExpiry(%j) is a TypeError, and nothing has changed",
    (expiry) => {
      const session = world().sessions.open(undefined)
      expect(() => session.setExpiry(expiry as never)).toThrow(TypeError)
      expect(session.isModified).toBe(false)
    },
  )

  test.each([undefined, null, "x", {}])("transact(%j) rejects with a TypeError", async (change) => {
    const session = world().sessions.open(undefined)
    await expect(session.transact(change as never)).rejects.toThrow(/^transact takes a function/)
    expect(session.isTouched).toBe(false)
  })

  test("delete with a key points to remove", () => {
    const session = world().sessions.open(undefined) as unknown as { delete(key?: unknown): void }
    for (const key of ["cart", undefined, 1]) expect(() => session.delete(key)).toThrow(/remove\(key\)/)
  })
})

describe("how long a session lasts", () => {
  test("is known in every state", async () => {
    const w = world({ ttl: "1h", absoluteTtl: "3h" })
    const visitor = w.visitor()
    await visitor.visit(async (s) => {
      expect(await s.expiresIn()).toBe(HOUR)
      expect(await s.expiry()).toBeNull()
      s.setExpiry({ idle: "2h" })
      expect(await s.expiry()).toEqual({ idle: 2 * HOUR })
      expect(await s.expiresIn()).toBe(2 * HOUR)
      s.signIn("ann")
      expect(await s.expiresIn()).toBe(2 * HOUR)
      await s.save()
      expect(await s.expiry()).toEqual({ idle: 2 * HOUR })
      expect(await s.expiresIn()).toBe(2 * HOUR)
    })
    w.clock.advance("90m")
    await visitor.visit(async (s) => {
      expect(await s.expiresAt()).toEqual(new Date(w.clock() + HOUR / 2))
      s.set("a", 1)
      await s.save()
      expect(await s.expiresIn()).toBe(1.5 * HOUR)
      s.setExpiry(null)
      expect(await s.expiry()).toBeNull()
      expect(await s.expiresIn()).toBe(HOUR)
      s.signIn("bob")
      expect(await s.expiresIn()).toBe(HOUR)
      s.signOut()
      s.delete()
      expect(await s.expiresIn()).toBeGreaterThan(0)
    })
  })

  test("for a session that signs in: as its expiry says, within a new absolute end", async () => {
    const w = world({ ttl: "1h", absoluteTtl: "3h" })
    const visitor = await customer(w)
    await visitor.visit((s) => s.setExpiry({ at: w.clock() + 2 * HOUR }))
    w.clock.advance("30m")
    await visitor.visit(async (s) => {
      await s.load()
      s.signIn("ann")
      expect(await s.expiresIn()).toBe(1.5 * HOUR)
    })
    const fresh = w.visitor()
    await fresh.visit(async (s) => {
      s.signIn("bob")
      expect(await s.expiresIn()).toBe(HOUR)
      expect(await s.signedInAt()).toEqual(new Date(w.clock()))
    })
  })

  test("is nothing for a dead one", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit(async (s) => {
      expect(await s.expiresIn()).toBe(0)
      expect(await s.expiresAt()).toEqual(new Date(w.clock()))
      expect(await s.expiry()).toBeNull()
      expect(await s.signedInAt()).toBeNull()
      expect(s.isInvalidated).toBe(true)
    })
  })

  test("for one without a record: as the seal says", async () => {
    const w = world({ serverStateCreation: "skip-if-empty", ttl: "1h" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("a", 1))
    w.clock.advance("5m")
    await visitor.visit(async (s) => {
      expect(await s.expiresIn()).toBe(55 * 60_000)
      expect(await s.expiry()).toBeNull()
    })
    expect(w.store.operations()).toEqual([])
  })

  test("for one whose record is missing and that starts afresh: as a new one", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w)
    await w.store.delete((await visitor.visit((s) => s.id)) as string)
    w.clock.advance("30m")
    expect(await visitor.visit((s) => s.expiresIn())).toBe(HOUR)
  })

  test("an end beyond the absolute end is capped, with an event; one within it is not", async () => {
    const w = world({ ttl: "1h", absoluteTtl: "3h" })
    const visitor = await customer(w)
    const id = await visitor.visit((s) => s.id)
    w.clock.advance("30m")
    for (const expiry of [{ idle: "150m" }, { at: w.clock() + 2.5 * HOUR }] as const) {
      await visitor.visit((s) => s.setExpiry(expiry))
      expect(w.events.filter(({ type }) => type === "expiry-capped")).toEqual([])
    }
    for (const expiry of [{ idle: "151m" }, { at: w.clock() + 2.5 * HOUR + 1 }] as const) {
      forget(w)
      await visitor.visit((s) => s.setExpiry(expiry))
      expect(w.events).toContainEqual({ type: "expiry-capped", id })
    }
    expect(await visitor.visit((s) => s.expiresIn())).toBe(2.5 * HOUR)
    forget(w)
    await w.visitor().visit((s) => s.setExpiry({ idle: "4h" }))
    expect(w.events).toEqual([{ type: "expiry-capped", id: undefined }])
  })

  test("setExpiry to a time that has passed ends the session at once", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.setExpiry({ at: w.clock() - 5 }))
    w.clock.advance(1)
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("setExpiry alone is nothing to remember a new visitor for, with client state it is kept", async () => {
    const w = world({ serverStateCreation: "skip-if-empty", ttl: "1h" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.setExpiry("browser-session"))
    expect(visitor.cookie).toBeUndefined()
    await visitor.visit((s) => {
      s.client.set("a", 1)
      s.setExpiry("browser-session")
    })
    expect(visitor.setCookie).not.toContain("Max-Age")
    expect(w.store.operations()).toEqual(["create"])
    expect(await visitor.visit((s) => s.expiry())).toEqual({ idle: HOUR, cookie: "browser-session" })
  })

  test("another user's sign-in goes back to the configured expiry", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w, "ann")
    await visitor.visit((s) => s.setExpiry({ idle: "5h" }))
    await visitor.visit((s) => s.signIn("bob"))
    expect(visitor.setCookie).toContain("Max-Age=3600;")
    expect(await visitor.visit((s) => s.expiry())).toBeNull()
    await visitor.visit((s) => s.setExpiry({ idle: "5h" }))
    await visitor.visit((s) => {
      s.signIn("ann")
      s.setExpiry({ idle: "2h" })
    })
    expect(await visitor.visit((s) => s.expiry())).toEqual({ idle: 2 * HOUR })
  })

  test("with on-changes a load extends nothing", async () => {
    const w = world({ ttl: "1h", extendTtl: "on-changes" })
    const visitor = await customer(w)
    w.clock.advance("59m")
    await visitor.visit((s) => s.get("cart"))
    expect(w.store.operations()).toEqual(["load"])
    expect(visitor.setCookie).toBeUndefined()
    await visitor.visit((s) => s.set("a", 1))
    expect(visitor.setCookie).toContain("Max-Age=3600;")
  })

  test("a threshold of 1 extends whenever the session is used, one of 0 never", async () => {
    for (const [ttlExtensionThreshold, operations] of [
      [1, ["load", "updateTtl"]],
      [0, ["load"]],
    ] as const) {
      const w = world({ ttl: "1h", ttlExtensionThreshold })
      const visitor = await customer(w)
      w.clock.advance(1000)
      await visitor.visit((s) => s.get("cart"))
      expect(w.store.operations()).toEqual(operations)
    }
  })

  /** A session without a record, made 45 minutes ago, with an idle timeout of one hour and an absolute end after 90 minutes. */
  async function recordless(): Promise<{ w: World; visitor: Visitor }> {
    const w = world({ serverStateCreation: "skip-if-empty", ttl: "1h", absoluteTtl: "90m" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("a", 1))
    w.clock.advance("45m")
    return { w, visitor }
  }

  // "Sent only when it says something new: ... a refreshed lifetime"; a session without a record "cannot be refreshed for ever", so it can be
  // refreshed. It is not: its deadline stays the one of the first cookie.
  test("a read extends a session without a record by its cookie, never beyond its absolute end", async () => {
    const { w, visitor } = await recordless()
    await visitor.visit((s) => s.client.get("a"))
    expect(visitor.setCookie).toContain("Max-Age=2700;")
    w.clock.advance("44m")
    expect(await visitor.visit((s) => s.client.get("a"))).toBe(1)
    w.clock.advance("1m")
    expect(await visitor.visit((s) => s.client.get("a"))).toBeUndefined()
  })

  // The same: a change of client state sends the cookie, with the old deadline.
  test("a change extends a session without a record", async () => {
    const { visitor } = await recordless()
    await visitor.visit((s) => s.client.set("a", 2))
    expect(visitor.setCookie).toContain("Max-Age=2700;")
  })
})

describe("saving", () => {
  test("save with nothing to save makes no call", async () => {
    const w = world()
    await w.visitor().visit((s) => s.save())
    const visitor = await customer(w)
    await visitor.visit((s) => s.save())
    expect(w.store.operations()).toEqual([])
  })

  test.each<[what: string, act: (s: Session) => Promise<unknown>]>([
    ["save", (s) => s.save()],
    ["transact", (s) => s.transact((state) => state.set("a", 1))],
    ["revokeOthers", (s) => s.revokeOthers()],
  ])("%s on a dead session rejects with its id", async (_what, act) => {
    const w = world()
    const visitor = await customer(w, "ann")
    const id = await visitor.visit((s) => s.id)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit(async (s) => {
      s.set("late", 1)
      const error: unknown = await act(s).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(SessionEndedError)
      expect(error).toMatchObject({ id })
      expect((error as Error).message).not.toContain(id)
    })
  })

  test("consume on a dead session gives nothing", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    expect(await old.visit((s) => s.consume("cart"))).toBeUndefined()
  })

  test("consume fails as the store does", async () => {
    const w = world()
    const visitor = await customer(w)
    w.store.failNext("update")
    await visitor.visit((s) => expect(s.consume("cart")).rejects.toBeInstanceOf(StoreError))
    expect(await visitor.visit((s) => s.consume("cart"))).toEqual(["coat"])
    expect(await visitor.visit((s) => s.consume("cart"))).toBeUndefined()
  })

  test("consume gives what this request has just set, once", async () => {
    const w = world()
    await w.visitor().visit(async (s) => {
      s.set("a", 1)
      expect(await s.consume("a")).toBe(1)
      expect(await s.consume("a")).toBeUndefined()
    })
  })

  test("take reads and removes with the other changes", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.client.set("flash", "hello")
      expect(await s.take("cart")).toEqual(["coat"])
      expect(await s.take("cart")).toBeUndefined()
      expect(s.client.take("flash")).toBe("hello")
      expect(s.client.take("flash")).toBeUndefined()
    })
    expect(w.store.operations()).toEqual(["load", "update"])
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("revokeOthers of an anonymous visitor saves, and ends nothing", async () => {
    const w = world()
    expect(await w.visitor().visit((s) => s.revokeOthers())).toBe(0)
    const visitor = await customer(w)
    expect(await visitor.visit((s) => (s.set("a", 1), s.revokeOthers()))).toBe(0)
    expect(w.store.operations()).toEqual(["update", "load"])
    expect(w.events.filter(({ type }) => type === "revoked")).toEqual([])
  })

  test("revokeOthers with a sign-in pending keeps the session that it makes", async () => {
    const w = world()
    const [one, two] = [w.visitor(), await customer(w)]
    await one.visit((s) => s.signIn("ann"))
    expect(await two.visit((s) => (s.signIn("ann"), s.revokeOthers()))).toBe(1)
    expect(await two.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["ann", ["cart"]])
    expect(w.events).toContainEqual({ type: "revoked", count: 1 })
  })

  // G2, "Nothing changed, nothing due: no call": a `keep` list counts as changed after `save`, and is sent again.
  test("G2: a sign-in that kept some keys and was saved is not saved again", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.signIn("ann", { keep: ["cart"] })
      await s.save()
      expect(s.isModified).toBe(false)
    })
    expect(w.store.operations()).toEqual(["load", "changeId"])
  })

  // G4, "concurrent requests on one session that write different keys all survive": what is sent again drops them.
  test("G4: what others write after a sign-in that kept some keys was saved survives", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.signIn("ann", { keep: ["cart"] })
      await s.save()
      await w.store.update(s.id as string, { set: new Map([["other", "1"]]), remove: new Set() })
    })
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "other"])
  })

  test("a sign-in in two steps: what is saved first stays pending for the rest", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      const hold = w.store.hold("update")
      s.set("a", 1)
      s.setExpiry({ idle: "2h" })
      const saving = s.save()
      await hold.reached
      s.signIn("ann")
      s.cycleId()
      s.setExpiry({ idle: "3h" })
      hold.release()
      await saving
      expect(s.isModified).toBe(true)
      expect(await s.userId()).toBe("ann")
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.expiry(), await s.keys()])).toEqual([
      "ann",
      { idle: 3 * HOUR },
      ["cart", "a"],
    ])
  })

  test("an id that happens to be taken is minted again, three times", async () => {
    for (const [collisions, works] of [
      [3, true],
      [4, false],
    ] as const) {
      const w = world()
      for (let i = 0; i < collisions; i++) w.store.failNext("create", new DuplicateIdError({ id: "x" }))
      const late = w.visitor().arrive((s) => s.set("a", 1))
      if (works) expect(await late.leave()).toBeDefined()
      else await expect(late.leave()).rejects.toBeInstanceOf(DuplicateIdError)
      expect(new Set(w.store.log.map(({ ids }) => ids[0])).size).toBe(4)
    }
  })

  test("G6: an id that happens to be taken is minted again on rotation", async () => {
    const w = world()
    const visitor = await customer(w)
    w.store.failNext("changeId", new DuplicateIdError({ id: "x" }))
    await visitor.visit((s) => s.cycleId())
    expect(w.store.operations()).toEqual(["changeId", "changeId"])
    expect(new Set(w.store.log.map(({ ids }) => ids[1])).size).toBe(2)
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
  })

  test("a store that never knows the id it is told ends in a StoreError, not in a loop", async () => {
    const store = altered(() => ({
      create: (id) => Promise.reject(new UnknownIdError({ id })),
    }))
    const w = world({ store })
    const late = w.visitor().arrive((s) => s.set("a", 1))
    await expect(late.leave()).rejects.toBeInstanceOf(StoreError)
    expect(w.store.log.length).toBeLessThan(20)
  })
})

describe("transact", () => {
  test("gives up after transactTimeout, with a VersionConflictError", async () => {
    let conflicts = 0
    const store = altered((inner) => ({
      update: (id, change: Change, options) => {
        if (options?.ifVersion === undefined) return inner.update(id, change, options)
        conflicts += 1
        return Promise.reject(new VersionConflictError("stale", { id }))
      },
    }))
    const w = world({ store, transactTimeout: 50 })
    const visitor = await customer(w)
    const id = await visitor.visit((s) => s.id)
    const started = performance.now()
    await visitor.visit(async (s) => {
      const error: unknown = await s.transact((state) => state.set("a", 1)).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(VersionConflictError)
      expect(error).toMatchObject({ id, cause: { message: "stale" } })
      expect((error as Error).message).toBe(
        "The session was changed by others for as long as transactTimeout.",
      )
      expect(await s.keys()).toEqual(["cart"])
    })
    expect(performance.now() - started).toBeLessThan(1000)
    expect(conflicts).toBeGreaterThan(1)
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
  })

  test("other errors of the store are not tried again", async () => {
    const w = world()
    const visitor = await customer(w)
    w.store.loseNext("update")
    await visitor.visit((s) =>
      expect(s.transact((state) => state.set("a", 1))).rejects.toBeInstanceOf(StoreError),
    )
    expect(w.store.operations()).toEqual(["load", "update"])
  })

  test("that changes nothing makes no call but the load, on fresh state", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      expect(await s.transact((state) => state.get("cart"))).toEqual(["coat"])
      await new Visitor(w.sessions, visitor.cookie).visit((other) => other.set("cart", ["hat"]))
      expect(await s.transact((state) => state.get("cart"))).toEqual(["hat"])
    })
    expect(w.store.operations()).toEqual(["load", "update", "load"])
  })

  test("loads again where a record read earlier has been overtaken", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await s.load()
      await new Visitor(w.sessions, visitor.cookie).visit((other) => other.set("n", 5))
      await s.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1))
    })
    expect(await visitor.visit((s) => s.get("n"))).toBe(6)
  })

  test("after a save that others interleaved with, it trusts nothing and loads again", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await s.load()
      await new Visitor(w.sessions, visitor.cookie).visit((other) => other.set("n", 5))
      s.set("a", 1)
      await s.save()
      await s.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1))
    })
    expect(await visitor.visit((s) => s.get("n"))).toBe(6)
  })

  test("on a session without a record makes one", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("a", 1))
    await visitor.visit((s) => s.transact((state) => state.set("n", 1)))
    expect(w.store.operations()).toEqual(["create"])
    expect(await visitor.visit(async (s) => [await s.get("n"), s.client.get("a")])).toEqual([1, 1])
  })

  test("where no session may be started keeps its changes pending", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(
      async (s) => {
        await s.transact((state) => state.set("n", 1))
        expect(await s.get("n")).toBe(1)
        expect(w.store.operations()).toEqual([])
        s.signIn("ann")
      },
      {},
      { method: "POST", secFetchSite: "cross-site" },
    )
    expect(await visitor.visit((s) => s.get("n"))).toBe(1)
  })

  test("the state it hands out is of no use afterwards", async () => {
    const w = world()
    await w.visitor().visit(async (s) => {
      let kept: { set(key: string, value: number): void } | undefined
      await s.transact((state) => void (kept = state))
      expect(() => kept?.set("a", 1)).toThrow(/used after its function returned/)
    })
  })

  test("on a session whose record is gone and that is rejected for it, it rejects", async () => {
    const w = world({ missingServerState: "reject" })
    const visitor = await customer(w)
    await w.store.delete((await visitor.visit((s) => s.id)) as string)
    await visitor.visit((s) =>
      expect(s.transact((state) => state.set("a", 1))).rejects.toBeInstanceOf(SessionEndedError),
    )
    expect(visitor.setCookie).toContain("Max-Age=0")
  })

  test("what others of this process do to the same session waits for it", async () => {
    const w = world()
    const visitor = await customer(w)
    const hold = w.store.hold("update")
    const first = new Visitor(w.sessions, visitor.cookie).visit((s) =>
      s.transact((state) => state.set("a", 1)),
    )
    await hold.reached
    const second = new Visitor(w.sessions, visitor.cookie).visit((s) =>
      s.transact((state) => state.set("b", 1)),
    )
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(w.store.operations()).toEqual(["load", "update"])
    hold.release()
    await Promise.all([first, second])
    expect(w.store.operations()).toEqual(["load", "update", "load", "update"])
  })
})

describe("size", () => {
  test("a cookie that browsers would not keep is refused before anything is stored, naming the largest key", async () => {
    const w = world()
    const visitor = w.visitor()
    const late = visitor.arrive((s) => {
      s.client.set("small", "x".repeat(1000))
      s.client.set("large", "x".repeat(2500))
    })
    const error: unknown = await late.leave().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CookieTooLargeError)
    expect(error).toMatchObject({ largestKey: "large", limit: 4096 })
    expect((error as CookieTooLargeError).size).toBeGreaterThan(4096)
    expect((error as Error).message).toMatch(
      /^The session cookie would be \d+ bytes; browsers keep at most 4096\. The largest key of its client state is "large"\.$/,
    )
    expect(w.store.operations()).toEqual([])
  })

  test("the boundary is exact: what fits is sent, 4096 bytes of name and value", async () => {
    const w = world({ cookie: { name: "n" } })
    const sizeFor = async (length: number): Promise<number> => {
      const visitor = w.visitor()
      const late = visitor.arrive((s) => s.client.set("a", "x".repeat(length)))
      await late.leave().catch((thrown: unknown) => {
        expect(thrown).toBeInstanceOf(CookieTooLargeError)
      })
      return visitor.cookie?.length ?? Infinity
    }
    let length = 2900
    while ((await sizeFor(length + 1)) <= 4096) length += 1
    const size = await sizeFor(length)
    expect(size).toBe(4096)
    expect(await sizeFor(length + 1)).toBe(Infinity)
  })

  test("an update of client state that is too large leaves record and cookie as they are", async () => {
    const w = world()
    const visitor = await customer(w)
    const late = visitor.arrive((s) => {
      s.set("a", 1)
      s.client.set("large", "ü".repeat(2000))
    })
    await expect(late.leave()).rejects.toBeInstanceOf(CookieTooLargeError)
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
  })

  test("the cookie's name counts", async () => {
    const w = world({ cookie: { name: "n".repeat(256) } })
    const late = w.visitor().arrive((s) => s.client.set("large", "x".repeat(2780)))
    await expect(late.leave()).rejects.toMatchObject({ largestKey: "large" })
  })

  // "The size is measured before the store is written; too large is a CookieTooLargeError": not so for a session without a record,
  // whose cookie is sent, too large, and dropped by the browser.
  test("the cookie of a session without a record is measured as well", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("small", 1))
    const late = visitor.arrive((s) => s.client.set("large", "x".repeat(5000)))
    await expect(late.leave()).rejects.toMatchObject({ name: "CookieTooLargeError", largestKey: "large" })
  })

  test("a state beyond maxStateBytes is refused when it is saved, naming its largest key", async () => {
    const w = world({ maxStateBytes: 100 })
    const late = w.visitor().arrive((s) => {
      s.set("a", "x".repeat(60))
      s.set("b", "ü".repeat(20))
    })
    const error: unknown = await late.leave().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ValueSerializationError)
    expect(error).toMatchObject({ key: "a" })
    expect((error as Error).message).toMatch(
      /^The session's state is \d+ bytes of JSON; maxStateBytes allows 100\. Its largest key is "a"\.$/,
    )
  })

  test("maxStateBytes is exact, in UTF-8 bytes, and counts what is there already", async () => {
    const w = world({ maxStateBytes: 20 })
    const fits = w.visitor()
    // {"k":"ü..."} is 8 bytes and two for each letter.
    await fits.visit((s) => s.set("k", "ü".repeat(6)))
    expect(w.store.operations()).toEqual(["create"])
    await expect(
      w
        .visitor()
        .arrive((s) => s.set("k", `${"ü".repeat(6)}x`))
        .leave(),
    ).rejects.toBeInstanceOf(ValueSerializationError)
    const late = fits.arrive(async (s) => {
      await s.load()
      s.set("l", 1)
    })
    await expect(late.leave()).rejects.toMatchObject({ key: "k" })
    expect(await fits.visit((s) => s.keys())).toEqual(["k"])
  })

  /** Two blind writes, each within the limit, and a record beyond it. */
  async function outgrown(): Promise<{ w: World; visitor: Visitor }> {
    const w = world({ maxStateBytes: 100, ttl: "1h" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", "x".repeat(60)))
    await visitor.visit((s) => s.set("b", "x".repeat(60)))
    return { w, visitor }
  }

  test("a record that has outgrown maxStateBytes can be read", async () => {
    const { visitor } = await outgrown()
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })

  // "Refused at save": a read that extends the session saves no state, and must not fail for it.
  test("a record that has outgrown maxStateBytes can be read when it is due for extension", async () => {
    const { w, visitor } = await outgrown()
    w.clock.advance("30m")
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })

  // Or else nobody could ever bring it below the limit key by key.
  test("a record that has outgrown maxStateBytes can be made smaller", async () => {
    const { visitor } = await outgrown()
    await visitor.visit(async (s) => {
      await s.load()
      s.set("b", "x".repeat(50))
    })
    expect(await visitor.visit((s) => s.get("b"))).toHaveLength(50)
  })
})

describe("what could not be carried out", () => {
  test("with saveOnServerError a failed response saves like any other", async () => {
    const w = world({ saveOnServerError: true })
    const visitor = w.visitor()
    await visitor.visit(
      (s) => {
        s.set("a", 1)
        s.client.set("b", 1)
        s.signIn("ann")
      },
      { status: 500 },
    )
    expect(await visitor.visit(async (s) => [await s.keys(), s.client.keys(), await s.userId()])).toEqual([
      ["a"],
      ["b"],
      "ann",
    ])
  })

  test("with saveOnServerError and headers that are lost, changes are saved and new tickets are not made", async () => {
    const w = world({ saveOnServerError: true })
    const visitor = await customer(w)
    await visitor.visit((s) => s.set("a", 1), { status: 500, headersLost: true })
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a"])
    await visitor.visit((s) => (s.set("b", 1), s.signIn("ann")), { status: 500, headersLost: true })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([
      null,
      ["cart", "a"],
    ])
    const stranger = w.visitor()
    w.store.reset()
    await stranger.visit((s) => s.set("a", 1), { status: 500, headersLost: true })
    expect(w.store.operations()).toEqual([])
  })

  // The event says "pending changes were dropped", and they were saved.
  test("with saveOnServerError what was saved is not reported as dropped", async () => {
    const w = world({ saveOnServerError: true })
    const visitor = await customer(w)
    await visitor.visit((s) => s.set("a", 1), { status: 500, headersLost: true })
    expect(w.events.map(({ type }) => type)).not.toContain("dropped-on-error")
  })

  test("a failed response extends nothing", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w)
    w.clock.advance("50m")
    await visitor.visit((s) => s.get("cart"), { status: 500 })
    expect(w.store.operations()).toEqual(["load"])
    expect(w.events).toEqual([])
  })

  test("a failed response still signs out, with no more said than that", async () => {
    const w = world()
    const visitor = await customer(w, "ann")
    await visitor.visit(
      (s) => {
        s.signOut()
        s.setExpiry({ idle: "1h" })
        s.delete()
      },
      { status: 500 },
    )
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
  })

  test("changes that a dead session lost are told, and only then", async () => {
    const w = world()
    const visitor = await customer(w)
    const id = await visitor.visit((s) => s.id)
    const [reader, writer, moved] = [1, 2, 3].map(() => new Visitor(w.sessions, visitor.cookie)) as [
      Visitor,
      Visitor,
      Visitor,
    ]
    await visitor.visit((s) => s.cycleId())
    forget(w)
    await reader.visit((s) => s.get("cart"))
    expect(w.events).toEqual([])
    await writer.visit((s) => s.set("a", 1))
    expect(w.events).toEqual([{ type: "write-discarded", id, reason: "moved" }])
    forget(w)
    await moved.visit(async (s) => {
      await s.load()
      s.client.set("a", 1)
    })
    expect(w.events).toEqual([{ type: "write-discarded", id, reason: "moved" }])
  })

  test("with onLostWrite: throw a read of a dead session does not throw", async () => {
    const w = world({ onLostWrite: "throw" })
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId())
    expect(await old.visit((s) => s.keys())).toEqual([])
    const late = new Visitor(w.sessions, old.cookie).arrive((s) => s.set("a", 1))
    await expect(late.leave()).rejects.toBeInstanceOf(SessionEndedError)
  })

  test("a record that dies between a load and the save is ended, not missing", async () => {
    const w = world()
    const visitor = await customer(w)
    const late = visitor.arrive(async (s) => {
      await s.load()
      s.set("a", 1)
    })
    await late.handled
    await w.store.delete(late.session.id as string)
    expect(await late.leave()).toBeUndefined()
    expect(w.events).toContainEqual(expect.objectContaining({ type: "write-discarded", reason: "ended" }))
    expect(w.store.operations()).toEqual(["load", "delete", "update"])
  })
})

describe("a rotation with grace", () => {
  async function moved(options: SessionsOptions = {}): Promise<{ w: World; visitor: Visitor; old: Visitor }> {
    const w = world(options)
    const visitor = await customer(w, "ann")
    await visitor.visit((s) => s.client.set("theme", "dark"))
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId({ grace: "30s" }))
    forget(w)
    return { w, visitor, old }
  }

  test("client state that is set before or after it is found to have moved is refused, with an event", async () => {
    const { w, visitor, old } = await moved()
    await old.visit(async (s) => {
      s.client.set("before", 1)
      await s.load()
      expect(s.client.has("before")).toBe(false)
      s.client.set("after", 1)
      s.client.remove("theme")
      expect(() => s.client.set("bad", Number.NaN)).toThrow(ValueSerializationError)
      expect(s.client.entries()).toEqual([["theme", "dark"]])
    })
    const id = await visitor.visit((s) => s.id)
    expect(w.events).toEqual(
      ["before", "after", "theme"].map((key) => ({ type: "client-write-refused", id, key })),
    )
    expect(old.setCookie).toBeUndefined()
  })

  test("signIn on the old ticket rotates again, and its client state counts", async () => {
    const { w, visitor, old } = await moved()
    await old.visit(async (s) => {
      await s.load()
      s.signIn("ann")
      s.client.set("after", 1)
    })
    expect(await old.visit(async (s) => [await s.userId(), s.client.keys()])).toEqual([
      "ann",
      ["theme", "after"],
    ])
    expect(await visitor.visit((s) => s.userId())).toBeNull()
    expect(await w.sessions.listByUser("ann")).toHaveLength(1)
  })

  test("a blind signIn on the old ticket does the same", async () => {
    const { old } = await moved()
    await old.visit((s) => {
      s.signIn("ann")
      s.client.set("after", 1)
    })
    expect(await old.visit(async (s) => [await s.userId(), s.client.keys()])).toEqual([
      "ann",
      ["theme", "after"],
    ])
  })

  test("signOut on the old ticket ends the session, with a removal", async () => {
    const { visitor, old } = await moved()
    await old.visit((s) => s.signOut())
    expect(await visitor.visit((s) => s.userId())).toBeNull()
    expect(await old.visit((s) => s.userId())).toBeNull()
  })

  test("delete on the old ticket drops the record without a cookie", async () => {
    const { w, visitor, old } = await moved()
    await old.visit((s) => s.delete())
    expect(old.setCookie).toBeUndefined()
    expect(w.store.operations()).toContain("delete")
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("hops are followed while each has grace, eight at most", async () => {
    const w = world()
    const visitor = await customer(w)
    const olds = [new Visitor(w.sessions, visitor.cookie)]
    for (let hop = 0; hop < 9; hop++) {
      await visitor.visit((s) => s.cycleId({ grace: "30s" }))
      olds.unshift(new Visitor(w.sessions, visitor.cookie))
    }
    const found = await Promise.all(olds.map((old) => old.visit((s) => s.has("cart"))))
    expect(found).toEqual([true, true, true, true, true, true, true, true, true, false])
  })

  test("a transaction on the old ticket that was not loaded follows as well", async () => {
    const { visitor, old } = await moved()
    await old.visit(async (s) => {
      s.set("a", 1)
      await s.transact((state) => state.set("b", state.get("a") as number))
    })
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a", "b"])
  })
})

describe("facts", () => {
  test("isModified says whether something is to be saved, without opening the cookie", async () => {
    const w = world()
    const visitor = await customer(w)
    const untouched = w.sessions.open(visitor.cookie)
    expect(untouched.isModified).toBe(false)
    expect(untouched.isTouched).toBe(false)
    const acts: ((s: Session) => void)[] = [
      (s) => s.set("a", 1),
      (s) => s.remove("a"),
      (s) => s.clear(),
      (s) => s.client.set("a", 1),
      (s) => s.signIn("ann"),
      (s) => s.signOut(),
      (s) => s.cycleId(),
      (s) => s.delete(),
      (s) => s.invalidate(),
      (s) => s.setExpiry(null),
    ]
    for (const act of acts) {
      const session = w.sessions.open(visitor.cookie)
      expect(session.isInvalidated).toBe(false)
      expect(session.isModified).toBe(false)
      act(session)
      expect(session.isModified).toBe(true)
      await session.finalize({ status: 500, headersLost: true })
    }
  })

  // "Whether there are changes that have not been saved": client state that has been sent still counts.
  test("after finalize nothing is left to be saved", async () => {
    const w = world()
    const session = w.sessions.open((await customer(w)).cookie)
    session.client.set("a", 1)
    await session.finalize()
    expect(session.isModified).toBe(false)
  })

  test("finalize twice is one", async () => {
    const w = world()
    const session = w.sessions.open(undefined)
    session.set("a", 1)
    const [one, two] = await Promise.all([session.finalize(), session.finalize({ status: 500 })])
    expect(two).toBe(one)
    expect(w.store.operations()).toEqual(["create"])
  })

  test("the id stays the stored one until the rotation is carried out", async () => {
    const w = world()
    const visitor = await customer(w)
    const late = visitor.arrive((s) => {
      const before = s.id
      s.cycleId()
      expect(s.id).toBe(before)
      return before
    })
    const before = await late.handled
    await late.leave()
    expect(late.session.id).not.toBe(before)
    expect(late.session.isModified).toBe(false)
  })

  test("signIn on a record that is missing under reject makes a new session", async () => {
    for (const load of [true, false]) {
      const w = world({ missingServerState: "reject" })
      const visitor = await customer(w)
      await w.store.delete((await visitor.visit((s) => s.id)) as string)
      await visitor.visit(async (s) => {
        if (load) await s.load()
        s.set("before", 1)
        s.client.set("before", 1)
        s.signIn("ann")
        s.set("after", 1)
        s.client.set("after", 1)
      })
      expect(await visitor.visit(async (s) => [await s.userId(), await s.keys(), s.client.keys()])).toEqual([
        "ann",
        ["after"],
        ["after"],
      ])
    }
  })

  test("signIn on a record that is missing under renew or allow gets in", async () => {
    for (const missingServerState of ["renew", "allow"] as const) {
      const w = world({ missingServerState })
      const visitor = await customer(w)
      await w.store.delete((await visitor.visit((s) => s.id)) as string)
      await visitor.visit((s) => {
        s.set("before", 1)
        s.signIn("ann")
      })
      expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([
        "ann",
        ["before"],
      ])
    }
  })

  test("cycleId on a record that is missing gives a new ticket all the same", async () => {
    for (const missingServerState of ["renew", "allow"] as const) {
      const w = world({ missingServerState })
      const visitor = await customer(w)
      const before = visitor.cookie
      await w.store.delete((await visitor.visit((s) => s.id)) as string)
      await visitor.visit((s) => s.cycleId())
      expect(visitor.cookie).not.toBe(before)
      expect(visitor.cookie).toBeDefined()
    }
  })

  test("the absolute end counts from creation, and anew from a sign-in", async () => {
    const w = world({ ttl: "20h", absoluteTtl: "1d" })
    const visitor = await customer(w)
    w.clock.advance("15h")
    await visitor.visit((s) => s.signIn("ann"))
    expect(await visitor.visit((s) => s.expiresIn())).toBe(20 * HOUR)
    w.clock.advance("15h")
    expect(await visitor.visit((s) => s.userId())).toBe("ann")
    w.clock.advance("9h")
    expect(await visitor.visit((s) => s.userId())).toBeNull()
  })
})

test("a write while the session is being loaded is not lost", async () => {
  const w = world()
  const visitor = await customer(w)
  await visitor.visit(async (s) => {
    const hold = w.store.hold("load")
    const reading = s.get("cart")
    await hold.reached
    s.set("cart", ["hat"])
    s.signIn("ann")
    s.set("a", 1)
    hold.release()
    expect(await reading).toEqual(["hat"])
    expect(await s.keys()).toEqual(["cart", "a"])
  })
  expect(await visitor.visit((s) => s.entries())).toEqual([
    ["cart", ["hat"]],
    ["a", 1],
  ])
})

test("what is invalidated while it is being loaded is not taken in", async () => {
  const w = world()
  const visitor = await customer(w, "bob")
  await visitor.visit(async (s) => {
    const hold = w.store.hold("load", "after")
    const reading = s.get("cart")
    await hold.reached
    s.invalidate()
    hold.release()
    expect(await reading).toBeUndefined()
    expect([await s.keys(), await s.userId(), s.isInvalidated]).toEqual([[], null, true])
    s.signIn("ann")
    expect([await s.keys(), await s.signedInAt()]).toEqual([[], new Date(w.clock())])
  })
  expect(await visitor.visit(async (s) => [await s.keys(), await s.userId()])).toEqual([[], "ann"])
})

describe("what is asked for while a save is under way", () => {
  /** A request that is held in the middle of saving, and what it does meanwhile. */
  async function during(
    options: { user?: string; load?: boolean; operation?: "update" | "create" },
    act: (s: Session) => void,
  ): Promise<{ w: World; visitor: Visitor; before: string | undefined }> {
    const w = world()
    const operation = options.operation ?? "update"
    const visitor = operation === "create" ? w.visitor() : await customer(w, options.user)
    const before = visitor.cookie
    await visitor.visit(async (s) => {
      if (options.load === true) await s.load()
      s.set("a", 1)
      const hold = w.store.hold(operation)
      const saving = s.save()
      await hold.reached
      act(s)
      hold.release()
      await saving
    })
    return { w, visitor, before }
  }

  // `signOut` "unbinds, clears server and client state and rotates". Asked for during a save it is forgotten, wholly or in part.
  test.each([false, true])("signOut signs out, under a new ticket (loaded: %s)", async (load) => {
    const { w, visitor, before } = await during({ user: "ann", load }, (s) => s.signOut())
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
    expect(await w.sessions.listByUser("ann")).toEqual([])
    expect(visitor.cookie).not.toBe(before)
  })

  test("signOut on a loaded session unbinds and clears at least", async () => {
    const { visitor } = await during({ user: "ann", load: true }, (s) => s.signOut())
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
  })

  // `delete` drops "the server-side record, ... it also unbinds the user": here the record is emptied, and stays bound.
  test.each([false, true])("delete drops the record and unbinds the user (loaded: %s)", async (load) => {
    const { w, visitor } = await during({ user: "ann", load }, (s) => s.delete())
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
    expect(w.store.operations()).toContain("delete")
  })

  test.each([false, true])("invalidate ends the session (loaded: %s)", async (load) => {
    const { w, visitor } = await during({ user: "ann", load }, (s) => s.invalidate())
    expect(visitor.cookie).toBeUndefined()
    expect(await w.sessions.listByUser("ann")).toEqual([])
    expect(w.store.operations().at(-1)).toBe("listByUser")
  })

  test.each([false, true])("invalidate, then signIn, makes another session (loaded: %s)", async (load) => {
    const { visitor } = await during({ user: "ann", load }, (s) => {
      s.invalidate()
      s.signIn("bob")
      s.set("b", 1)
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["bob", ["b"]])
  })

  // "`invalidate()`: end it: record deleted, cookie removed": the record that was being made stays, and nobody knows its ticket.
  test("invalidate of a session that is being made leaves no record", async () => {
    const { w, visitor } = await during({ operation: "create" }, (s) => s.invalidate())
    expect(visitor.cookie).toBeUndefined()
    expect(w.store.operations()).toEqual(["create", "delete"])
  })

  test("invalidate of a session that is being made, then signIn, keeps nothing", async () => {
    const { visitor } = await during({ operation: "create" }, (s) => {
      s.invalidate()
      s.signIn("bob")
      s.set("b", 1)
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["bob", ["b"]])
  })

  test.each([false, true])("signIn signs in (loaded: %s)", async (load) => {
    const { visitor, before } = await during({ load }, (s) => {
      s.signIn("bob")
      s.set("b", 1)
    })
    expect(visitor.cookie).not.toBe(before)
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([
      "bob",
      ["cart", "a", "b"],
    ])
  })

  test("signIn does not repeat what is being saved", async () => {
    const w = world()
    const visitor = await customer(w)
    const other = w.visitor(visitor.cookie)
    await visitor.visit(async (s) => {
      s.clear()
      const hold = w.store.hold("update")
      const saving = s.save()
      await hold.reached
      s.set("a", 1)
      s.signIn("ann")
      hold.release()
      await saving
      await other.visit((o) => o.set("of another", 1))
    })
    expect(await visitor.visit((s) => s.keys())).toEqual(["of another", "a"])
  })

  test("clear and remove hold against what is being saved", async () => {
    const cleared = await during({}, (s) => s.clear())
    expect(await cleared.visitor.visit((s) => s.keys())).toEqual([])
    const removed = await during({}, (s) => s.remove("a"))
    expect(await removed.visitor.visit((s) => s.keys())).toEqual(["cart"])
  })
})

describe("a session that moves or ends between a load and what comes after", () => {
  test("signIn on a session that was found dead makes a new one", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit(async (s) => {
      await s.load()
      expect(s.isInvalidated).toBe(true)
      s.set("lost", 1)
      s.signIn("ann")
      expect(s.isInvalidated).toBe(false)
      expect(s.isNew).toBe(false)
      s.set("a", 1)
      s.client.set("a", 1)
    })
    expect(await old.visit(async (s) => [await s.userId(), await s.keys(), s.client.keys()])).toEqual([
      "ann",
      ["a"],
      ["a"],
    ])
  })

  test("signOut on a session that another request has ended sends no cookie and is no loss", async () => {
    const w = world({ onLostWrite: "throw" })
    const visitor = await customer(w, "ann")
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit((s) => s.signOut())
    expect(old.setCookie).toBeUndefined()
    expect(w.events.map(({ type }) => type)).not.toContain("write-discarded")
  })

  test("signOut of a user whose session is loaded and empty unbinds all the same", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.signIn("ann"))
    await visitor.visit(async (s) => {
      await s.load()
      s.signOut()
      expect(await s.userId()).toBeNull()
      await s.transact((state) => state.get("a"))
    })
    expect(await w.sessions.listByUser("ann")).toEqual([])
    expect(await visitor.visit((s) => s.userId())).toBeNull()
  })

  test("a transaction whose record moves with grace, loaded already, is run again on what is there", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    let runs = 0
    await old.visit(async (s) => {
      await s.load()
      await visitor.visit((other) => (other.set("n", 5), other.cycleId({ grace: "30s" })))
      await s.transact((state) => {
        runs += 1
        state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1)
      })
    })
    expect(runs).toBe(2)
    expect(await visitor.visit((s) => s.get("n"))).toBe(6)
  })

  test("G3: a first read after finalize throws, though the session was written to", async () => {
    const w = world()
    const visitor = await customer(w)
    const late = visitor.arrive((s) => s.set("a", 1))
    await late.leave()
    for (const read of [
      () => late.session.get("a"),
      () => late.session.userId(),
      () => late.session.expiresIn(),
    ]) {
      await expect(read()).rejects.toThrow(/read for the first time after the response has begun/)
    }
  })
})

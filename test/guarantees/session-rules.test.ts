import { describe, expect, test } from "vitest"
import { SessionEndedError } from "../../src/errors.ts"
import { Visitor, type World, world } from "../../src/visitor.test-helper.ts"

/** What the property test of the model found, each as small as it gets. */

async function visitorWith(w: World, state: Record<string, number>, user?: string): Promise<Visitor> {
  const visitor = w.visitor()
  await visitor.visit((s) => {
    s.client.set("theme", "dark")
    for (const [key, value] of Object.entries(state)) s.set(key, value)
    if (user !== undefined) s.signIn(user)
  })
  w.store.reset()
  w.events.length = 0
  return visitor
}

/** Another tab of the same browser. */
function tab(w: World, visitor: Visitor): Visitor {
  return new Visitor(w.sessions, visitor.cookie)
}

describe("signing in and out", () => {
  test("G4: what a transaction committed after a narrowing sign-in is not cleared again at the end", async () => {
    const w = world()
    const visitor = await visitorWith(w, { cart: 1, other: 1 })
    await visitor.visit(async (s) => {
      s.signIn("ann", { keep: ["cart"] })
      await s.transact((state) => state.set("n", 1))
    })
    expect(w.store.operations()).not.toContain("update")
    expect(await visitor.visit((s) => s.entries())).toEqual([
      ["cart", 1],
      ["n", 1],
    ])
  })

  test("G5: a transaction on a session that died before its sign-in runs again, on the new session", async () => {
    const w = world()
    const visitor = await visitorWith(w, { n: 41 })
    const late = tab(w, visitor)
    await late.visit(async (s) => {
      await s.get("n")
      s.signIn("ann")
      await visitor.visit((other) => other.invalidate())
      await s.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1))
    })
    expect(await late.visit((s) => s.get("n"))).toBe(1)
  })

  test("another user's session keeps nothing that a request of the first user wrote meanwhile", async () => {
    const w = world()
    const visitor = await visitorWith(w, {}, "ann")
    const late = tab(w, visitor)
    await visitor.visit(async (s) => {
      await s.load()
      s.signIn("bob")
      await late.visit((other) => other.set("secret", 1))
    })
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["bob", []])
  })

  test("signOut clears what another request wrote meanwhile", async () => {
    const w = world()
    const visitor = await visitorWith(w, {}, "ann")
    const late = tab(w, visitor)
    await visitor.visit(async (s) => {
      await s.load()
      s.signOut()
      await late.visit((other) => other.set("secret", 1))
    })
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test.each(["signOut", "signIn"] as const)(
    "a server error after a saved %s does not bring the client state back",
    async (call) => {
      const w = world()
      const visitor = await visitorWith(w, {}, "ann")
      await visitor.visit(
        async (s) => {
          if (call === "signOut") s.signOut()
          else s.signIn("bob")
          await s.save()
        },
        { status: 500 },
      )
      expect(await visitor.visit((s) => s.client.keys())).toEqual([])
    },
  )

  test("setExpiry after signIn holds when the old session turns out dead", async () => {
    const w = world()
    const visitor = await visitorWith(w, {})
    const late = tab(w, visitor)
    await visitor.visit((s) => s.invalidate())
    await late.visit((s) => {
      s.signIn("ann")
      s.setExpiry("browser-session")
    })
    expect(late.setCookie).not.toContain("Max-Age")
  })

  test.each([false, true])("after signOut the session is nobody's, loaded or not (%s)", async (isLoaded) => {
    const w = world()
    const visitor = await visitorWith(w, {}, "ann")
    await visitor.visit(async (s) => {
      if (isLoaded) await s.load()
      s.signOut()
      s.set("between", 1)
      s.signIn("bob")
    })
    expect(await visitor.visit((s) => s.keys())).toEqual(["between"])
  })

  test("signIn that keeps nothing hides the client state at once", async () => {
    const w = world()
    const visitor = await visitorWith(w, {})
    await visitor.visit((s) => {
      s.signIn("ann", { keep: false })
      expect(s.client.keys()).toEqual([])
    })
  })

  test("what was set after signIn survives a second signIn of the same user", async () => {
    const w = world()
    const visitor = await visitorWith(w, {})
    const late = tab(w, visitor)
    await visitor.visit((s) => s.invalidate())
    await late.visit((s) => {
      s.signIn("ann")
      s.set("after", 1)
      s.signIn("ann")
    })
    expect(await late.visit((s) => s.keys())).toEqual(["after"])
  })
})

describe("a session that is dead", () => {
  test("G5: invalidate ends a session that was found to have moved", async () => {
    const w = world()
    const visitor = await visitorWith(w, { a: 1 })
    const old = tab(w, visitor)
    await visitor.visit((s) => s.cycleId())
    await old.visit(async (s) => {
      await s.get("a")
      s.invalidate()
    })
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("invalidate with a ticket that a sign-in has replaced removes no cookie, looked at or not", async () => {
    const w = world()
    const visitor = await visitorWith(w, { a: 1 })
    const old = tab(w, visitor)
    await visitor.visit((s) => s.signIn("ann"))
    await old.visit(async (s) => {
      await s.get("a")
      s.invalidate()
    })
    expect(old.setCookie).toBeUndefined()
  })

  test("has no user, also when it was loaded alive", async () => {
    const w = world()
    const visitor = await visitorWith(w, {}, "ann")
    await tab(w, visitor).visit(async (s) => {
      expect(await s.userId()).toBe("ann")
      await w.sessions.revokeByUser("ann")
      s.set("a", 1)
      await expect(s.save()).rejects.toBeInstanceOf(SessionEndedError)
      expect([await s.userId(), await s.signedInAt()]).toEqual([null, null])
    })
  })

  test("has no user after signIn, then invalidate", async () => {
    const w = world()
    await w.visitor().visit(async (s) => {
      s.signIn("ann")
      s.invalidate()
      expect([await s.userId(), s.isModified]).toEqual([null, false])
    })
  })

  test("signOut of a session that is known to be dead loses nothing", async () => {
    const w = world({ onLostWrite: "throw" })
    const visitor = await visitorWith(w, {}, "ann")
    const late = tab(w, visitor)
    await visitor.visit((s) => s.invalidate())
    await late.visit(async (s) => {
      await s.load()
      s.signOut()
    })
    expect(w.events.map(({ type }) => type)).not.toContain("write-discarded")
  })

  test("found dead by the second load of a transaction, it does not start afresh", async () => {
    const w = world()
    const visitor = await visitorWith(w, { n: 1 })
    await tab(w, visitor).visit(async (s) => {
      await s.get("n")
      await visitor.visit((other) => other.delete())
      await expect(s.transact((state) => state.get("n"))).rejects.toBeInstanceOf(SessionEndedError)
    })
  })

  test("reject: a session without its record has nothing to save", async () => {
    const w = world({ missingServerState: "reject" })
    const visitor = await visitorWith(w, { a: 1 })
    await w.store.delete((await visitor.visit((s) => s.id)) as string)
    await visitor.visit(async (s) => {
      await s.load()
      expect(s.isModified).toBe(false)
    })
  })
})

describe("transact", () => {
  test("G4: a transaction that only reads sees the newest state, whatever else is pending", async () => {
    const w = world()
    const visitor = await visitorWith(w, { n: 1 })
    await tab(w, visitor).visit(async (s) => {
      await s.get("n")
      await visitor.visit((other) => other.set("n", 2))
      s.client.set("theme", "light")
      expect(await s.transact((state) => state.get("n"))).toBe(2)
    })
  })

  test("G4: and one that takes a pending change back", async () => {
    const w = world()
    const visitor = await visitorWith(w, { n: 1, m: 1 })
    await tab(w, visitor).visit(async (s) => {
      await s.get("n")
      await visitor.visit((other) => other.set("m", 2))
      s.set("n", 5)
      const seen = await s.transact((state) => {
        state.set("n", 1)
        return state.get("m")
      })
      expect(seen).toBe(2)
    })
  })
})

describe("lifetimes", () => {
  test.each(["save", "transact"] as const)(
    "setExpiry that %s has stored reaches the cookie",
    async (call) => {
      const w = world({ ttl: "1h" })
      const visitor = await visitorWith(w, { n: 1 })
      await visitor.visit(async (s) => {
        s.setExpiry("browser-session")
        if (call === "save") await s.save()
        else await s.transact((state) => state.set("n", 2))
      })
      expect(visitor.setCookie).toBeDefined()
      expect(visitor.setCookie).not.toContain("Max-Age")
      await visitor.visit(async (s) => {
        s.setExpiry({ idle: "3h" })
        await s.save()
      })
      expect(visitor.setCookie).toContain("Max-Age=10800")
    },
  )

  test.each(["save", "transact"] as const)(
    "on-changes: a change that %s has stored extends the cookie",
    async (call) => {
      const w = world({ ttl: "1h", extendTtl: "on-changes" })
      const visitor = await visitorWith(w, { n: 1 })
      w.clock.advance("50m")
      await visitor.visit(async (s) => {
        s.set("n", 2)
        if (call === "save") await s.save()
        else await s.transact((state) => state.set("n", 2))
      })
      w.clock.advance("50m")
      expect(await visitor.visit((s) => s.get("n"))).toBe(2)
    },
  )

  test("a session without a record lives on while it is used", async () => {
    const w = world({ ttl: "1h", serverStateCreation: "skip-if-empty" })
    const visitor = await visitorWith(w, {})
    w.clock.advance("50m")
    await visitor.visit((s) => s.client.get("theme"))
    w.clock.advance("50m")
    expect(await visitor.visit((s) => s.client.get("theme"))).toBe("dark")
    await visitor.visit((s) => s.client.set("theme", "light"))
    w.clock.advance("50m")
    expect(await visitor.visit((s) => s.client.get("theme"))).toBe("light")
  })

  test("expiresIn is never below zero", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await visitorWith(w, { n: 1 })
    await visitor.visit((s) => s.setExpiry({ at: w.clock() + 60_000 }))
    await visitor.visit(async (s) => {
      await s.load()
      s.signIn("ann")
      w.clock.advance("2m")
      expect(await s.expiresIn()).toBe(0)
    })
  })

  test("a session that starts afresh takes neither age nor kind of cookie from the one before", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await visitorWith(w, { n: 1 })
    await visitor.visit((s) => s.setExpiry("browser-session"))
    await w.store.delete((await visitor.visit((s) => s.id)) as string)
    await visitor.visit((s) => s.set("n", 1))
    expect(visitor.setCookie).toContain("Max-Age=3600")
  })
})

import { describe, expect, test } from "vitest"
import { SessionEndedError, SessionFinalizedError } from "./errors.ts"
import { KEY, Visitor, type World, world } from "./visitor.test-helper.ts"
import { createSessions } from "./sessions.ts"

/** A visitor whose session holds `{ cart: ["coat"] }`, and a log that starts empty. */
async function customer(w: World): Promise<Visitor> {
  const visitor = w.visitor()
  await visitor.visit((s) => s.set("cart", ["coat"]))
  w.store.reset()
  w.events.length = 0
  return visitor
}

describe("store calls", () => {
  test("G1: an untouched session costs nothing", async () => {
    const w = world()
    const visitor = await customer(w)
    const session = w.sessions.open(visitor.cookie)
    expect(await session.finalize({ status: 200 })).toEqual({ headers: [] })
    expect(w.store.operations()).toEqual([])
    expect(session.isTouched).toBe(false)
  })

  test("G2: many reads cost one load", async () => {
    const w = world()
    const visitor = await customer(w)
    const values = await visitor.visit(async (s) => [
      await Promise.all([s.get("cart"), s.has("cart"), s.keys(), s.entries(), s.isEmpty(), s.userId()]),
      await s.get("cart"),
    ])
    expect(values).toEqual([[["coat"], true, ["cart"], [["cart", ["coat"]]], false, null], ["coat"]])
    expect(w.store.operations()).toEqual(["load"])
    expect(visitor.setCookie).toBeUndefined()
  })

  test("G2: many writes cost one update and no load", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.set("a", 1)
      s.set("b", 2)
      s.remove("cart")
    })
    expect(w.store.operations()).toEqual(["update"])
    expect(await visitor.visit((s) => s.entries())).toEqual([
      ["a", 1],
      ["b", 2],
    ])
  })

  test("G2: setting what is there already is no change", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      const cart = (await s.get("cart")) as string[]
      s.set("cart", cart)
      s.remove("none")
      expect(s.isModified).toBe(false)
    })
    expect(w.store.operations()).toEqual(["load"])
  })

  test("a value that was read and changed in place is a change when it is set", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      const cart = (await s.get("cart")) as string[]
      cart.push("hat")
      expect(await s.get("cart")).toEqual(["coat"])
      s.set("cart", cart)
    })
    expect(await visitor.visit((s) => s.get("cart"))).toEqual(["coat", "hat"])
  })

  test("a visitor who writes nothing gets no session", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(async (s) => {
      expect(await s.get("cart")).toBeUndefined()
      expect(s.isNew).toBe(true)
      expect(s.id).toBeUndefined()
      s.setExpiry({ idle: "1h" })
    })
    expect(visitor.cookie).toBeUndefined()
    expect(w.store.operations()).toEqual([])
  })

  test("the first write creates, and the next request finds it", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("n", 1))
    expect(w.store.operations()).toEqual(["create"])
    expect(await visitor.visit(async (s) => [s.isNew, await s.get("n")])).toEqual([false, 1])
  })

  test("client state is served without a store call, and its change is confirmed by one", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("theme", "dark"))
    expect(w.store.operations()).toEqual(["create"])
    w.store.reset()
    expect(await visitor.visit((s) => s.client.get("theme"))).toBe("dark")
    expect(w.store.operations()).toEqual([])
    await visitor.visit((s) => s.client.set("theme", "light"))
    expect(w.store.operations()).toEqual(["updateTtl"])
    expect(await visitor.visit((s) => s.client.entries())).toEqual([["theme", "light"]])
  })

  test("with skip-if-empty client state alone makes no record, and a later change does", async () => {
    const w = world({ serverStateCreation: "skip-if-empty" })
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("theme", "dark"))
    const before = visitor.cookie
    expect(await visitor.visit(async (s) => [await s.get("x"), s.client.get("theme")])).toEqual([
      undefined,
      "dark",
    ])
    expect(w.store.operations()).toEqual([])
    await visitor.visit((s) => s.set("x", 1))
    expect(w.store.operations()).toEqual(["create"])
    expect(visitor.cookie).not.toBe(before)
    expect(await visitor.visit(async (s) => [await s.get("x"), s.client.get("theme")])).toEqual([1, "dark"])
  })

  test("delete drops the record and keeps the client state", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.client.set("theme", "dark"))
    w.store.reset()
    await visitor.visit((s) => s.delete())
    expect(w.store.operations()).toEqual(["delete"])
    expect(await visitor.visit(async (s) => [await s.get("cart"), s.client.get("theme")])).toEqual([
      undefined,
      "dark",
    ])
    expect(w.store.operations()).toEqual(["delete"])
    // @ts-expect-error: a key is a mistake for remove
    expect(() => w.sessions.open(undefined).delete("cart")).toThrow(/remove/)
  })

  test("delete, then set, is one update that clears", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.delete()
      s.set("n", 1)
    })
    expect(w.store.operations()).toEqual(["update"])
    expect(await visitor.visit((s) => s.entries())).toEqual([["n", 1]])
  })
})

describe("signing in and out", () => {
  test("an anonymous session keeps its state, under a new ticket", async () => {
    const w = world()
    const visitor = await customer(w)
    const before = visitor.cookie
    const id = await visitor.visit((s) => s.id)
    await visitor.visit((s) => s.signIn(7, { label: "Firefox" }))
    expect(w.store.operations()).toEqual(["load", "changeId"])
    expect(visitor.cookie).not.toBe(before)
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBe("7")
      expect(await s.get("cart")).toEqual(["coat"])
      expect(s.id).not.toBe(id)
      expect(await s.signedInAt()).toEqual(new Date(w.clock()))
    })
    expect(await w.sessions.listByUser(7)).toMatchObject([{ label: "Firefox" }])
  })

  test("another user's session keeps nothing from before, and all that was set since", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.client.set("theme", "dark")
      s.signIn("ann")
    })
    await visitor.visit((s) => {
      s.set("before", 1)
      s.client.set("before", 1)
      s.signIn("bob")
      s.set("after", 1)
      s.client.set("after", 1)
    })
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBe("bob")
      expect(await s.entries()).toEqual([["after", 1]])
      expect(s.client.entries()).toEqual([["after", 1]])
    })
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })

  test.each([
    [false, []],
    [["cart"], ["cart"]],
    [true, ["cart", "other"]],
  ])("keep: %j keeps %j of an anonymous session", async (keep, keys) => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.set("other", 1))
    await visitor.visit((s) => s.signIn("ann", { keep }))
    expect(await visitor.visit((s) => s.keys())).toEqual(keys)
  })

  test("a new visitor who signs in gets one record", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.set("a", 1)
      s.signIn("ann")
      s.set("b", 1)
    })
    expect(w.store.operations()).toEqual(["create"])
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })

  test("signOut unbinds, clears and rotates, without loading", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => {
      s.client.set("theme", "dark")
      s.signIn("ann")
    })
    w.store.reset()
    const old = visitor.cookie
    await visitor.visit((s) => s.signOut())
    expect(w.store.operations()).toEqual(["changeId"])
    expect(visitor.cookie).not.toBe(old)
    await visitor.visit(async (s) => {
      expect([await s.userId(), await s.keys(), s.client.keys()]).toEqual([null, [], []])
    })
    expect(await w.visitor(old).visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
  })

  test("invalidate, then signIn, ends the old session and makes another", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = visitor.cookie
    await visitor.visit((s) => {
      s.invalidate()
      s.set("lost", 1)
      s.signIn("ann")
      s.set("kept", 1)
    })
    expect(w.store.operations()).toEqual(["delete", "create"])
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["ann", ["kept"]])
    expect(await w.visitor(old).visit((s) => s.keys())).toEqual([])
  })

  test("revokeOthers ends the user's other sessions and keeps this one", async () => {
    const w = world()
    const [one, two] = [w.visitor(), w.visitor()]
    await one.visit((s) => s.signIn("ann"))
    await two.visit((s) => s.signIn("ann"))
    expect(await one.visit((s) => s.revokeOthers())).toBe(1)
    expect(await one.visit((s) => s.userId())).toBe("ann")
    expect(await two.visit((s) => s.userId())).toBeNull()
  })
})

describe("G5: dead stays dead", () => {
  test("a slow request after a logout writes nothing and sends no cookie", async () => {
    const w = world()
    const visitor = await customer(w)
    const slow = new Visitor(w.sessions, visitor.cookie)
    const late = slow.arrive((s) => s.set("late", 1))
    await late.handled
    await visitor.visit((s) => s.invalidate())
    expect(visitor.cookie).toBeUndefined()
    expect(await late.leave()).toBeUndefined()
    expect(w.events).toContainEqual(expect.objectContaining({ type: "write-discarded", reason: "ended" }))
    expect(await slow.visit((s) => s.keys())).toEqual([])
  })

  test("with onLostWrite: throw it is told", async () => {
    const w = world({ onLostWrite: "throw" })
    const visitor = await customer(w)
    const late = new Visitor(w.sessions, visitor.cookie).arrive((s) => s.set("late", 1))
    await visitor.visit((s) => s.invalidate())
    await expect(late.leave()).rejects.toBeInstanceOf(SessionEndedError)
  })

  test("an old ticket after a rotation is anonymous and sends no cookie", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId())
    await old.visit(async (s) => {
      expect(await s.keys()).toEqual([])
      s.set("late", 1)
      s.client.set("late", 1)
    })
    expect(old.setCookie).toBeUndefined()
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
  })

  test("in its grace the old ticket reads and writes the moved session, and sends no cookie", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId({ grace: "30s" }))
    await old.visit(async (s) => {
      s.set("late", 1)
      s.client.set("late", 1)
      s.cycleId()
    })
    expect(old.setCookie).toBeUndefined()
    expect(w.events).toContainEqual(expect.objectContaining({ type: "client-write-refused", key: "late" }))
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "late"])
    expect(await old.visit((s) => s.get("late"))).toBe(1)
    w.clock.advance("30s")
    expect(await old.visit((s) => s.keys())).toEqual([])
  })

  test("invalidate with the old ticket ends the session that has moved", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId())
    await old.visit((s) => s.invalidate())
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("signOut with the old ticket ends the session that has moved", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.signIn("ann"))
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId())
    await old.visit((s) => s.signOut())
    expect(await visitor.visit((s) => s.userId())).toBeNull()
  })

  test("a late logout with the ticket from before a sign-in does not end the new session", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.signIn("ann"))
    await old.visit((s) => s.invalidate())
    expect(old.setCookie).toBeUndefined()
    expect(await visitor.visit((s) => s.userId())).toBe("ann")
  })

  test("signIn on a dead session makes a new one with what was set since", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit((s) => {
      s.set("before", 1)
      s.signIn("ann")
      s.set("after", 1)
    })
    expect(await old.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["ann", ["after"]])
  })
})

describe("a record that is gone without a trace", () => {
  async function lost(options: Parameters<typeof world>[0]): Promise<{ w: World; visitor: Visitor }> {
    const w = world(options)
    const visitor = await customer(w)
    await visitor.visit((s) => s.client.set("theme", "dark"))
    const id = (await visitor.visit((s) => s.id)) as string
    await w.store.delete(id)
    w.store.reset()
    return { w, visitor }
  }

  test("renew: a read starts afresh", async () => {
    const { visitor } = await lost({})
    await visitor.visit(async (s) => {
      expect(await s.keys()).toEqual([])
      expect(s.isNew).toBe(true)
      expect(s.client.keys()).toEqual([])
      s.set("n", 1)
    })
    expect(await visitor.visit((s) => s.entries())).toEqual([["n", 1]])
  })

  test("renew: a blind write makes a record under a new id from this change only", async () => {
    const { w, visitor } = await lost({})
    await visitor.visit((s) => s.set("n", 1))
    expect(w.store.operations()).toEqual(["update", "create"])
    expect(await visitor.visit(async (s) => [await s.entries(), s.client.keys()])).toEqual([[["n", 1]], []])
  })

  test("reject: the session is invalidated and the cookie removed", async () => {
    const { visitor } = await lost({ missingServerState: "reject" })
    await visitor.visit(async (s) => {
      expect(await s.keys()).toEqual([])
      expect(s.isInvalidated).toBe(true)
      s.set("n", 1)
    })
    expect(visitor.setCookie).toMatch(/Max-Age=0/)
  })

  test("allow: the session goes on with empty server state", async () => {
    const { w, visitor } = await lost({ missingServerState: "allow" })
    await visitor.visit(async (s) => {
      expect(await s.keys()).toEqual([])
      expect(s.client.get("theme")).toBe("dark")
    })
    expect(visitor.setCookie).toBeUndefined()
    await visitor.visit((s) => s.set("n", 1))
    expect(w.store.operations()).toEqual(["load", "update", "create"])
    expect(await visitor.visit(async (s) => [await s.get("n"), s.client.get("theme")])).toEqual([1, "dark"])
  })
})

describe("transact", () => {
  test("G4: concurrent counters add up", async () => {
    const w = world()
    const visitor = await customer(w)
    const add = (): Promise<void> =>
      new Visitor(w.sessions, visitor.cookie).visit((s) =>
        s.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1)),
      )
    await Promise.all(Array.from({ length: 50 }, add))
    expect(await visitor.visit((s) => s.get("n"))).toBe(50)
  })

  test("G4: and across processes, which share no queue", async () => {
    const w = world()
    const visitor = await customer(w)
    const others = Array.from({ length: 8 }, () =>
      createSessions({ keys: [KEY], store: w.store, clock: w.clock }),
    )
    const add = (sessions: (typeof others)[number]): Promise<void> =>
      new Visitor(sessions, visitor.cookie).visit((s) =>
        s.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1)),
      )
    await Promise.all(Array.from({ length: 5 }, () => others.map(add)).flat())
    expect(await visitor.visit((s) => s.get("n"))).toBe(40)
  })

  test("includes the pending changes and commits them; what it threw changed nothing", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(
      async (s) => {
        s.set("a", 1)
        await expect(
          s.transact((state) => {
            state.set("b", 1)
            throw new Error("no")
          }),
        ).rejects.toThrow("no")
        expect(w.store.operations()).toEqual(["load"])
        expect(await s.transact((state) => state.get("a"))).toBe(1)
        expect(w.store.operations()).toEqual(["load", "update"])
      },
      { status: 500 },
    )
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a"])
  })

  test("refuses outer writes, nesting and asynchronous functions", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await expect(s.transact(() => s.set("a", 1))).rejects.toThrow(TypeError)
      await expect(s.transact(() => void s.client.set("a", 1))).rejects.toThrow(TypeError)
      await expect(s.transact(async () => 1)).rejects.toThrow(/synchronous/)
      let nested: Promise<unknown> | undefined
      await s.transact(() => {
        nested = s.transact(() => 1)
        nested.catch(() => undefined)
      })
      await expect(nested).rejects.toThrow(TypeError)
    })
  })

  test("a dead session rejects", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.invalidate())
    await old.visit((s) =>
      expect(s.transact((state) => state.set("a", 1))).rejects.toBeInstanceOf(SessionEndedError),
    )
  })

  test("with a rotation pending it commits through changeId, on a new session through create", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.cycleId()
      await s.transact((state) => state.set("a", 1))
    })
    expect(w.store.operations()).toEqual(["load", "changeId"])
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a"])
    const other = w.visitor()
    w.store.reset()
    await other.visit((s) => s.transact((state) => state.set("a", 1)))
    expect(w.store.operations()).toEqual(["create"])
    expect(await other.visit((s) => s.keys())).toEqual(["a"])
  })

  test("consume gives the value to exactly one of many", async () => {
    const w = world()
    const visitor = await customer(w)
    const got = await Promise.all(
      Array.from({ length: 20 }, () =>
        new Visitor(w.sessions, visitor.cookie).visit((s) => s.consume("cart")),
      ),
    )
    expect(got.filter((value) => value !== undefined)).toEqual([["coat"]])
    expect(await w.visitor().visit((s) => s.consume("cart"))).toBeUndefined()
  })

  test("in its grace it follows and commits", async () => {
    const w = world()
    const visitor = await customer(w)
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s.cycleId({ grace: "30s" }))
    await old.visit((s) => s.transact((state) => state.set("a", 1)))
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a"])
  })
})

describe("save and finalize", () => {
  test("G3: a change or a first read after finalize throws", async () => {
    const w = world()
    const visitor = await customer(w)
    const session = w.sessions.open(visitor.cookie)
    await session.finalize()
    expect(() => session.set("a", 1)).toThrow(SessionFinalizedError)
    expect(() => session.client.get("a")).toThrow(SessionFinalizedError)
    expect(() => session.id).toThrow(SessionFinalizedError)
    await expect(session.get("a")).rejects.toBeInstanceOf(SessionFinalizedError)
    await expect(session.save()).rejects.toBeInstanceOf(SessionFinalizedError)
    const read = w.sessions.open(visitor.cookie)
    await read.get("cart")
    await read.finalize()
    expect(await read.get("cart")).toEqual(["coat"])
    expect(() => read.set("a", 1)).toThrow(SessionFinalizedError)
  })

  test("save writes at once; the end of the request writes what came later", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(async (s) => {
      s.set("a", 1)
      await s.save()
      expect(w.store.operations()).toEqual(["create"])
      expect(s.id).toBeDefined()
      s.set("b", 1)
    })
    expect(w.store.operations()).toEqual(["create", "update"])
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })

  test("what is set while a save is under way is not lost", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.set("a", 1)
      s.set("b", 1)
      const hold = w.store.hold("update")
      const saving = s.save()
      await hold.reached
      s.set("a", 2)
      s.remove("b")
      hold.release()
      await saving
    })
    expect(await visitor.visit((s) => s.entries())).toEqual([
      ["cart", ["coat"]],
      ["a", 2],
    ])
  })

  test("on a 5xx what is pending is dropped, and what was saved is announced", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(
      async (s) => {
        s.set("a", 1)
        await s.save()
        s.set("b", 1)
        s.client.set("c", 1)
      },
      { status: 500 },
    )
    expect(await visitor.visit(async (s) => [await s.keys(), s.client.keys()])).toEqual([["a"], []])
    await visitor.visit((s) => s.set("d", 1), { status: 503 })
    await visitor.visit((s) => s.signIn("ann"), { status: 500 })
    expect(await visitor.visit(async (s) => [await s.keys(), await s.userId()])).toEqual([["a"], null])
  })

  test("on a 5xx signOut, cycleId and invalidate are carried out", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.signIn("ann"))
    let cookie = visitor.cookie
    await visitor.visit(
      (s) => {
        s.cycleId()
        s.set("b", 1)
      },
      { status: 500 },
    )
    expect(visitor.cookie).not.toBe(cookie)
    cookie = visitor.cookie
    await visitor.visit(
      (s) => {
        s.signOut()
        s.set("b", 1)
      },
      { status: 500 },
    )
    expect(visitor.cookie).not.toBe(cookie)
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
    await visitor.visit((s) => s.invalidate(), { status: 500 })
    expect(visitor.cookie).toBeUndefined()
  })

  test("a ticket that cannot be told is not made", async () => {
    const w = world()
    const visitor = await customer(w)
    await visitor.visit((s) => s.cycleId(), { status: 500, headersLost: true })
    expect(w.store.operations()).toEqual([])
  })

  test("a load that is not awaited does not disturb finalize", async () => {
    const w = world()
    const visitor = await customer(w)
    const session = w.sessions.open(visitor.cookie)
    const reading = session.get("cart")
    session.set("a", 1)
    await session.finalize()
    expect(await reading).toEqual(["coat"])
    expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a"])
  })
})

describe("lifetimes", () => {
  test("G8: an idle session ends, by the store and by the seal", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w)
    w.clock.advance(3_599_999)
    expect(await new Visitor(w.sessions, visitor.cookie).visit((s) => s.keys(), { status: 500 })).toEqual([
      "cart",
    ])
    w.clock.advance(1)
    w.store.reset()
    expect(await visitor.visit((s) => s.keys())).toEqual([])
    expect(w.store.operations()).toEqual([])
  })

  test("a load extends only below the threshold", async () => {
    const w = world({ ttl: "10h" })
    const visitor = await customer(w)
    w.clock.advance("2h")
    await visitor.visit((s) => s.get("cart"))
    expect(w.store.operations()).toEqual(["load"])
    w.clock.advance(1)
    await visitor.visit((s) => s.get("cart"))
    expect(w.store.operations()).toEqual(["load", "load", "updateTtl"])
    expect(visitor.setCookie).toContain("Max-Age=36000")
  })

  test("G8: the absolute end holds whatever the activity", async () => {
    const w = world({ ttl: "1h", absoluteTtl: "3h" })
    const visitor = await customer(w)
    for (let i = 0; i < 5; i++) {
      w.clock.advance("30m")
      expect(await visitor.visit((s) => s.keys())).toEqual(["cart"])
    }
    w.clock.advance("30m")
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("setExpiry is kept in the record", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w)
    await visitor.visit((s) => s.setExpiry({ idle: "10h" }))
    expect(visitor.setCookie).toContain("Max-Age=36000")
    w.clock.advance("9h")
    await visitor.visit((s) => s.set("a", 1))
    expect(visitor.setCookie).toContain("Max-Age=36000")
    w.clock.advance("9h")
    await visitor.visit(async (s) => {
      expect(await s.expiry()).toEqual({ idle: 36_000_000 })
      expect(await s.keys()).toEqual(["cart", "a"])
      s.setExpiry(null)
      expect(await s.expiry()).toBeNull()
    })
    w.clock.advance("1h")
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })

  test("setExpiry at a date, and a browser-session cookie", async () => {
    const w = world({ ttl: "1h" })
    const visitor = await customer(w)
    const at = new Date(w.clock() + 7_200_000)
    await visitor.visit((s) => s.setExpiry({ at, cookie: "browser-session" }))
    expect(visitor.setCookie).not.toContain("Max-Age")
    w.clock.advance(7_199_999)
    await visitor.visit(async (s) => {
      expect(await s.expiry()).toEqual({ at, cookie: "browser-session" })
      expect(await s.expiresAt()).toEqual(at)
      expect(await s.expiresIn()).toBe(1)
      s.set("a", 1)
    })
    w.clock.advance(1)
    expect(await visitor.visit((s) => s.keys())).toEqual([])
  })
})

test("G12: a read asks caches to tell people apart, a cookie to store nothing", async () => {
  const w = world()
  const reader = w.sessions.open(undefined)
  await reader.get("cart")
  expect((await reader.finalize()).headers).toEqual([
    { name: "Vary", value: "Cookie", mode: "merge" },
    { name: "Cache-Control", value: "private, no-cache", mode: "merge" },
  ])
  const writer = w.sessions.open(undefined)
  writer.set("a", 1)
  expect((await writer.finalize()).headers.map(({ name, mode }) => [name, mode])).toEqual([
    ["Set-Cookie", "append"],
    ["Cache-Control", "set"],
    ["CDN-Cache-Control", "set"],
    ["Surrogate-Control", "set"],
  ])
})

test("a cross-site request without its cookie starts no session by mere writes, but signIn may", async () => {
  const w = world()
  const facts = { method: "POST", secFetchSite: "cross-site" }
  const visitor = w.visitor()
  await visitor.visit((s) => s.set("a", 1), {}, facts)
  expect(visitor.cookie).toBeUndefined()
  expect(w.events).toContainEqual({ type: "creation-denied" })
  await visitor.visit((s) => s.signIn("ann"), {}, facts)
  expect(visitor.cookie).toBeDefined()
})

test("keys rotate: an old key opens, and the cookie is sealed again under the newest", async () => {
  const w = world()
  const visitor = await customer(w)
  const rotated = createSessions({ keys: ["b".repeat(32), KEY], store: w.store, clock: w.clock })
  const later = new Visitor(rotated, visitor.cookie)
  await later.visit((s) => s.client.get("x"))
  expect(w.store.operations()).toEqual(["updateTtl"])
  const newest = createSessions({ keys: ["b".repeat(32)], store: w.store, clock: w.clock })
  expect(await new Visitor(newest, later.cookie).visit((s) => s.keys())).toEqual(["cart"])
})

describe("revokeOthers", () => {
  async function twoBrowsers(): Promise<{ w: World; one: Visitor; two: Visitor }> {
    const w = world()
    const [one, two] = [w.visitor(), w.visitor()]
    await one.visit((s) => s.signIn("ann"))
    await two.visit((s) => s.signIn("ann"))
    return { w, one, two }
  }

  test("G5: a session that was revoked since it was loaded signs nobody out", async () => {
    const { w, one, two } = await twoBrowsers()
    await new Visitor(w.sessions, one.cookie).visit(async (s) => {
      expect(await s.userId()).toBe("ann")
      await w.sessions.revoke(s.id as string)
      await expect(s.revokeOthers()).rejects.toBeInstanceOf(SessionEndedError)
    })
    expect(await two.visit((s) => s.userId())).toBe("ann")
  })

  test("a session that another request has rotated meanwhile is none of the others", async () => {
    const { w, one, two } = await twoBrowsers()
    const late = new Visitor(w.sessions, one.cookie)
    await late.visit(async (s) => {
      await s.userId()
      await one.visit((other) => other.cycleId({ grace: "30s" }))
      expect(await s.revokeOthers()).toBe(1)
    })
    expect(await one.visit((s) => s.userId())).toBe("ann")
    expect(await two.visit((s) => s.userId())).toBeNull()
  })

  test("even if it rotates between the check and the revocation", async () => {
    const { w, one, two } = await twoBrowsers()
    const hold = w.store.hold("deleteByUser")
    const late = new Visitor(w.sessions, one.cookie).arrive((s) => s.revokeOthers())
    await hold.reached
    await one.visit((other) => other.cycleId({ grace: "30s" }))
    hold.release()
    expect(await late.handled).toBe(1)
    expect(await one.visit((s) => s.userId())).toBe("ann")
    expect(await two.visit((s) => s.userId())).toBeNull()
  })
})

test("G3: finalize waits for a transaction that still queues behind another request's", async () => {
  const w = world()
  const visitor = await customer(w)
  const hold = w.store.hold("update")
  const first = new Visitor(w.sessions, visitor.cookie).visit((s) => s.transact((state) => state.set("a", 1)))
  await hold.reached
  const session = w.sessions.open(visitor.cookie)
  let isCommitted = false
  const queued = session.transact((state) => state.set("b", 1)).then(() => (isCommitted = true))
  const sent = session.finalize().then(() => isCommitted)
  hold.release()
  expect(await sent).toBe(true)
  await Promise.all([first, queued])
  expect(await visitor.visit((s) => s.keys())).toEqual(["cart", "a", "b"])
})

test("transactTimeout counts the time in the queue", async () => {
  const w = world({ transactTimeout: 30 })
  const visitor = await customer(w)
  const hold = w.store.hold("update")
  const first = new Visitor(w.sessions, visitor.cookie).visit((s) => s.transact((state) => state.set("a", 1)))
  await hold.reached
  const queued = w.sessions.open(visitor.cookie).transact((state) => state.set("b", 1))
  const refused = queued.catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 60))
  hold.release()
  await first
  expect(await refused).toMatchObject({ name: "VersionConflictError" })
})

test.each(["cart", 1, null])("signIn refuses %j as what to keep", (keep) => {
  const session = world().sessions.open(undefined)
  const options = { keep } as object
  if (keep === null) session.signIn("ann", options)
  else expect(() => session.signIn("ann", options)).toThrow(/keep/)
})

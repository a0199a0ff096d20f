import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Session } from "./api.ts"
import type { SessionsOptions } from "./config.ts"
import { KeyRing } from "./cookie/key-ring.ts"
import { CookieTooLargeError, SessionEndedError, StoreError } from "./errors.ts"
import type { FollowingStore, SessionStore } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"
import { type FakeClock, fakeClock } from "./testing/clock.ts"
import { KEY, type Visitor, type World, world } from "./visitor.test-helper.ts"

const NAME = "__Host-id"
const FRESH = { fresh: true }
const CAPABILITIES = { ...memoryStore().capabilities, promptRevocation: false }

/** A primary, and one replica that has come as far as `catchUp` was last called. Reads come from the replica. */
interface LaggingStore extends SessionStore {
  catchUp(): Promise<void>
  readonly primary: SessionStore
}

type Operations = Omit<SessionStore, "name" | "capabilities" | "follow" | "load">

function laggingStore(clock: FakeClock): LaggingStore {
  const primary = memoryStore({ clock })
  const replica = memoryStore({ clock })
  const writes: ((store: SessionStore) => Promise<unknown>)[] = []
  let applied = 0

  const operations = (answered: () => void): Operations => {
    const write = async <T>(operation: (store: SessionStore) => Promise<T>): Promise<T> => {
      writes.push(operation)
      answered()
      return operation(primary)
    }
    return {
      create: (...given) => write((store) => store.create(...given)),
      update: (...given) => write((store) => store.update(...given)),
      updateTtl: (...given) => write((store) => store.updateTtl(...given)),
      changeId: (...given) => write((store) => store.changeId(...given)),
      delete: (...given) => write((store) => store.delete(...given)),
      deleteExpired: (...given) => write((store) => store.deleteExpired(...given)),
      deleteByUser: (...given) => write((store) => store.deleteByUser(...given)),
      listByUser: (...given) => primary.listByUser(...given),
    }
  }

  return {
    name: "lagging",
    capabilities: CAPABILITIES,
    ...operations(() => undefined),
    load: (id, options) => (options?.fresh === true ? primary : replica).load(id),
    primary,
    async catchUp() {
      for (const operation of writes.slice(applied)) await operation(replica).catch(() => undefined)
      applied = writes.length
    },
    follow(bookmark): FollowingStore {
      let least = bookmark === undefined ? Infinity : Number(bookmark)
      let seen: number | undefined
      return {
        name: "following",
        capabilities: CAPABILITIES,
        ...operations(() => void (least = seen = writes.length)),
        async load(id, options) {
          const isEnough = options?.fresh !== true && applied >= least
          least = seen = isEnough ? applied : writes.length
          return (isEnough ? replica : primary).load(id)
        },
        get bookmark() {
          return seen === undefined ? undefined : String(seen)
        },
      }
    },
  }
}

interface LaggingWorld extends World {
  readonly lagging: LaggingStore
  readonly warnings: string[]
}

/** Sessions on a lagging store, with or without `follow`. */
function lagging(options: SessionsOptions & { follows?: boolean } = {}): LaggingWorld {
  const { follows = true, ...rest } = options
  const clock = fakeClock()
  const store = laggingStore(clock)
  const warnings: string[] = []
  const onWarning = (_message: string, code: string): void => void warnings.push(code)
  const { follow, ...plain } = store
  const w = world({
    onWarning,
    clock,
    ...rest,
    store: follows ? { ...plain, follow } : plain,
  } as SessionsOptions)
  return { ...w, clock, lagging: store, warnings }
}

/** A visitor whose session holds `{ cart: ["coat"] }`, which the replica knows, and a log that starts empty. */
async function customer(w: LaggingWorld, userId?: string): Promise<Visitor> {
  const visitor = w.visitor()
  await visitor.visit((s) => {
    s.set("cart", ["coat"])
    if (userId !== undefined) s.signIn(userId)
  })
  await w.lagging.catchUp()
  w.store.reset()
  w.events.length = 0
  return visitor
}

/** The loads of the log, with what they were asked. */
function loads(w: World): unknown[] {
  return w.store.log.filter(({ operation }) => operation === "load").map(({ args }) => args[1])
}

function bookmarkOf(cookie: string | undefined, w: World): string | undefined {
  const value = (cookie ?? "").split(";")[0]?.slice(NAME.length + 1) ?? ""
  const seal = KeyRing.create([KEY]).open(NAME, value, w.clock())
  expect(seal, "the cookie opens").toBeDefined()
  return seal?.bookmark
}

/** What another request has done that the replica does not know of. */
async function elsewhere(
  w: World,
  cookie: string | undefined,
  handler: (s: Session) => unknown,
): Promise<void> {
  await w.visitor(cookie).visit(handler)
  w.store.reset()
}

describe("a store that may read what is stale", () => {
  const stale = (): LaggingWorld => lagging({ follows: false })

  test("is asked for what it has at hand by a mere read", async () => {
    const w = stale()
    const visitor = await customer(w)
    await elsewhere(w, visitor.cookie, (s) => s.set("cart", ["hat"]))
    expect(await visitor.visit((s) => s.get("cart"))).toEqual(["coat"])
    expect(loads(w)).toEqual([undefined])
  })

  const privileged: [what: string, act: (s: Session) => unknown, writes: string[]][] = [
    ["transact", (s) => s.transact((state) => state.set("n", 1)), ["update"]],
    ["consume", (s) => s.consume("cart"), ["update"]],
    ["signIn", (s) => s.signIn("ann"), ["changeId"]],
    ["load with fresh", (s) => s.load(FRESH), []],
    ["revokeOthers", (s) => s.revokeOthers(), []],
  ]

  test.each(privileged)("is asked for what is true, once, by %s", async (_what, act, writes) => {
    const w = stale()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await act(s)
      await s.get("cart")
      await s.load(FRESH)
    })
    expect(w.store.operations()).toEqual(["load", ...writes])
    expect(loads(w)).toEqual([FRESH])
  })

  test.each(privileged)("is asked once more by %s after a mere read", async (_what, act, writes) => {
    const w = stale()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await s.get("cart")
      await act(s)
      await s.get("cart")
      await s.load(FRESH)
    })
    expect(w.store.operations()).toEqual(["load", "load", ...writes])
    expect(loads(w)).toEqual([undefined, FRESH])
  })

  test.each(privileged)("G2: and any other store is not, by %s", async (what, act, writes) => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("cart", ["coat"]))
    w.store.reset()
    await visitor.visit(async (s) => {
      await s.get("cart")
      await act(s)
      await s.load(FRESH)
    })
    // It acts on who is bound now, on any store.
    const again = what === "revokeOthers" ? ["load"] : []
    expect(w.store.operations()).toEqual(["load", ...again, ...writes])
  })

  test("load with fresh shows what is true, and pending changes stay", async () => {
    const w = stale()
    const visitor = await customer(w)
    await elsewhere(w, visitor.cookie, (s) => s.set("of another", 1))
    await visitor.visit(async (s) => {
      const state = await s.load()
      s.set("mine", 1)
      s.remove("cart")
      expect(state.keys()).toEqual(["mine"])
      const fresh = await s.load(FRESH)
      expect(fresh.keys()).toEqual(["of another", "mine"])
      expect(state.keys()).toEqual(["of another", "mine"])
    })
    await w.lagging.catchUp()
    expect(await visitor.visit((s) => s.keys())).toEqual(["of another", "mine"])
  })

  test("load with fresh that fails leaves what was read", async () => {
    const w = stale()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      const state = await s.load()
      w.store.failNext("load")
      await expect(s.load(FRESH)).rejects.toThrow(StoreError)
      expect(state.get("cart")).toEqual(["coat"])
      state.set("n", 1)
      await s.save()
      expect(state.keys()).toEqual(["cart", "n"])
    })
  })

  test("G5: load with fresh knows of an end that a mere read does not", async () => {
    const w = stale()
    const visitor = await customer(w, "ann")
    await w.sessions.revokeByUser("ann")
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBe("ann")
      await s.load(FRESH)
      expect(s.isInvalidated).toBe(true)
      expect(await s.userId()).toBeNull()
      await expect(s.transact((state) => state.set("n", 1))).rejects.toThrow(SessionEndedError)
    })
    expect(visitor.setCookie).toBeUndefined()
  })

  test("G4: transact runs once on what is true, and again after a conflict", async () => {
    const w = stale()
    const visitor = await customer(w)
    const add = (state: { get(key: string): unknown; set(key: string, value: number): void }): void =>
      state.set("n", Number(state.get("n") ?? 0) + 1)
    await elsewhere(w, visitor.cookie, (s) => s.transact(add))
    let runs = 0
    const other = w.visitor(visitor.cookie)
    await visitor.visit(async (s) => {
      expect(await s.get("n")).toBeUndefined()
      await s.transact((state) => (runs++, add(state)))
      expect(await s.get("n")).toBe(2)
    })
    expect(runs).toBe(1)

    w.store.reset()
    const hold = w.store.hold("update")
    const waiting = visitor.visit((s) => s.transact((state) => (runs++, add(state))))
    await hold.reached
    await w.lagging.update(w.store.log[0]?.ids[0] as string, {
      set: new Map([["n", "5"]]),
      remove: new Set(),
    })
    hold.release()
    await waiting
    expect(runs).toBe(3)
    expect(loads(w)).toEqual([FRESH, FRESH])
    await w.lagging.catchUp()
    expect(await other.visit((s) => s.get("n"))).toBe(6)
  })

  test("consume gives nothing that is gone, although a mere read showed it", async () => {
    const w = stale()
    const visitor = await customer(w)
    await elsewhere(w, visitor.cookie, (s) => s.consume("cart"))
    await visitor.visit(async (s) => {
      expect(await s.has("cart")).toBe(true)
      expect(await s.consume("cart")).toBeUndefined()
      expect(await s.has("cart")).toBe(false)
    })
  })

  test("transact trusts what it has just read from the authority", async () => {
    const w = stale()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      await s.get("cart")
      expect(await s.transact((state) => state.get("cart"))).toEqual(["coat"])
    })
    expect(loads(w)).toEqual([undefined, FRESH])
  })

  test("what this request has written is read from the authority", async () => {
    const w = stale()
    const visitor = await customer(w)
    await visitor.visit(async (s) => {
      s.set("n", 1)
      await s.save()
      expect(await s.keys()).toEqual(["cart", "n"])
    })
    expect(w.store.operations()).toEqual(["update", "load"])
    expect(loads(w)).toEqual([FRESH])
  })

  test("a session that another request has moved is found where it is", async () => {
    const w = stale()
    const visitor = await customer(w)
    const old = visitor.cookie
    await visitor.visit((s) => s.cycleId({ grace: "30s" }))
    w.store.reset()
    await w.visitor(old).visit(async (s) => {
      s.set("n", 1)
      await s.save()
      expect(await s.keys()).toEqual(["cart", "n"])
    })
    expect(w.store.operations()).toEqual(["update", "update", "load"])
    expect(loads(w)).toEqual([FRESH])
  })

  describe("a sign-in", () => {
    /** Binds the record to a user, or unbinds it, under the id it has. */
    async function bind(w: LaggingWorld, visitor: Visitor, userId: string | null): Promise<void> {
      const id = await visitor.visit((s) => s.id)
      const user = { userId, label: null, absoluteTtl: null }
      await w.lagging.update(id as string, { set: new Map(), remove: new Set(), user })
      w.store.reset()
    }

    test("keeps nothing of another user's, although a mere read showed nobody", async () => {
      const w = stale()
      const visitor = await customer(w)
      await bind(w, visitor, "bob")
      await visitor.visit(async (s) => {
        const state = await s.load()
        expect(await s.userId()).toBeNull()
        s.set("before", 1)
        s.client.set("before", 1)
        s.signIn("ann")
        state.set("after", 1)
        s.client.set("after", 1)
        // Without another load this is all that can be known.
        expect(state.keys()).toEqual(["cart", "before", "after"])
        expect(await s.keys()).toEqual(["after"])
        expect(s.client.keys()).toEqual(["after"])
        expect(state.keys()).toEqual(["after"])
      })
      expect(w.store.operations()).toEqual(["load", "load", "changeId"])
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe("ann")
        expect(await s.keys()).toEqual(["after"])
        expect(s.client.keys()).toEqual(["after"])
      })
    })

    test("is decided by what is true even if nothing is read after it", async () => {
      const w = stale()
      const visitor = await customer(w)
      await bind(w, visitor, "bob")
      await visitor.visit(async (s) => {
        await s.get("cart")
        s.set("before", 1)
        s.setExpiry({ idle: "1h" })
        s.signIn("ann")
        s.set("after", 1)
      })
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.keys()).toEqual(["after"])
        expect(await s.expiry()).toBeNull()
      })
    })

    test("keeps what is nobody's, although a mere read showed another user", async () => {
      const w = stale()
      const visitor = await customer(w, "bob")
      await bind(w, visitor, null)
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe("bob")
        s.set("before", 1)
        s.client.set("before", 1)
        s.setExpiry({ idle: "1h" })
        s.signIn("ann")
        s.set("after", 1)
      })
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe("ann")
        expect(await s.keys()).toEqual(["cart", "before", "after"])
        expect(s.client.keys()).toEqual(["before"])
        expect(await s.expiry()).toMatchObject({ idle: 3_600_000 })
      })
    })

    test.each([
      ["the same user", "ann", ["between", "after"]],
      ["another user", "cyd", ["after"]],
    ])("that is followed by one of %s keeps nothing of the stranger's", async (_what, second, kept) => {
      const w = stale()
      const visitor = await customer(w)
      await bind(w, visitor, "bob")
      await visitor.visit(async (s) => {
        await s.get("cart")
        s.set("before", 1)
        s.signIn("ann")
        s.set("between", 1)
        s.client.set("between", 1)
        s.signIn(second)
        s.set("after", 1)
        s.client.set("after", 1)
      })
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe(second)
        expect(await s.keys()).toEqual(kept)
        expect(s.client.keys()).toEqual(kept)
      })
    })

    test("twice as the same user keeps what came before the first, if it is nobody's", async () => {
      const w = stale()
      const visitor = await customer(w, "bob")
      await bind(w, visitor, null)
      await visitor.visit(async (s) => {
        const state = await s.load()
        s.set("before", 1)
        s.client.set("before", 1)
        s.signIn("ann")
        s.set("between", 1)
        s.client.set("between", 1)
        s.signIn("ann")
        // As far as is known, what came before is bob's.
        expect(state.keys()).toEqual(["between"])
        expect(s.client.keys()).toEqual(["between"])
      })
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.keys()).toEqual(["cart", "before", "between"])
        expect(s.client.keys()).toEqual(["before", "between"])
      })
    })

    test.each([
      ["narrows what is kept", ["cart"], ["cart", "after"]],
      ["keeps nothing", false, ["after"]],
    ])("that %s does so in what is read at once, and in what is stored", async (_what, keep, kept) => {
      const w = stale()
      const visitor = await customer(w)
      await visitor.visit(async (s) => {
        const state = await s.load()
        state.set("before", 1)
        s.signIn("ann", { keep })
        state.set("after", 1)
        expect(state.keys()).toEqual(kept)
      })
      await w.lagging.catchUp()
      expect(await visitor.visit((s) => s.keys())).toEqual(kept)
    })

    test("that finds the session ended gives a new one, with what was set since", async () => {
      const w = stale()
      const visitor = await customer(w, "ann")
      await w.sessions.revokeByUser("ann")
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe("ann")
        s.signIn("ann")
        s.set("after", 1)
      })
      await w.lagging.catchUp()
      await visitor.visit(async (s) => {
        expect(await s.userId()).toBe("ann")
        expect(await s.keys()).toEqual(["after"])
      })
    })

    test("while the session is being loaded is decided by another load", async () => {
      const w = stale()
      const visitor = await customer(w)
      await bind(w, visitor, "bob")
      await visitor.visit(async (s) => {
        const hold = w.store.hold("load")
        const reading = s.keys()
        await hold.reached
        s.set("before", 1)
        s.signIn("ann")
        s.set("after", 1)
        hold.release()
        expect(await reading).toEqual(["after"])
      })
      expect(w.store.operations()).toEqual(["load", "load", "changeId"])
      expect(loads(w)).toEqual([undefined, FRESH])
    })

    test("that is taken back is not decided at all", async () => {
      const w = stale()
      const visitor = await customer(w)
      await visitor.visit(async (s) => {
        const state = await s.load()
        s.signIn("ann")
        s.signOut()
        await s.save()
        expect(state.keys()).toEqual([])
      })
      expect(w.store.operations()).toEqual(["load", "changeId"])
    })
  })
})

describe.each([
  ["a stale store", false],
  ["a following store", true],
])("what is not found in %s", (_what, follows) => {
  test.each(["renew", "reject", "allow"] as const)(
    "is looked for once more before it counts as missing (%s)",
    async (missingServerState) => {
      const w = lagging({ follows, missingServerState })
      const early = w.visitor()
      await early.visit((s) => s.set("n", 1))
      await w.lagging.catchUp()
      const visitor = w.visitor(early.cookie)
      // The browser's other request has signed in, and the replica has not heard of it.
      await visitor.visit((s) => s.signIn("ann"))
      const cookie = old(visitor.cookie as string, w)
      w.store.reset()
      w.events.length = 0
      await w.visitor(cookie).visit(async (s) => {
        expect(await s.userId()).toBe("ann")
        expect(s.isNew).toBe(false)
      })
      expect(loads(w)).toEqual([undefined, FRESH])
      expect(w.events).toEqual([])
    },
  )

  test("twice is missing", async () => {
    const w = lagging({ follows })
    const visitor = await customer(w)
    w.clock.advance("23h")
    await w.lagging.delete((await visitor.visit((s) => s.id)) as string)
    await w.lagging.catchUp()
    w.store.reset()
    await visitor.visit(async (s) => {
      expect(await s.get("cart")).toBeUndefined()
      expect(s.isNew).toBe(true)
    })
    expect(loads(w)).toEqual([undefined, FRESH])
    expect(w.events).toMatchObject([{ type: "record-missing" }])
  })

  test("is not looked for once more where there is word of it", async () => {
    const w = lagging({ follows })
    const visitor = await customer(w, "ann")
    await w.sessions.revokeByUser("ann")
    await w.lagging.catchUp()
    w.store.reset()
    await visitor.visit(async (s) => {
      expect(await s.userId()).toBeNull()
      expect(s.isInvalidated).toBe(true)
    })
    expect(loads(w)).toEqual([undefined])
  })

  /** The same cookie as it would be if the browser had not heard of the last bookmark. */
  function old(cookie: string, w: World): string {
    const ring = KeyRing.create([KEY])
    const seal = ring.open(NAME, cookie.slice(NAME.length + 1), w.clock())
    return `${NAME}=${ring.seal(NAME, { ...(seal as NonNullable<typeof seal>), bookmark: follows ? "0" : undefined })}`
  }
})

describe("a store that follows a bookmark", () => {
  test("G1: is not asked to by a request that needs no store call", async () => {
    const w = lagging()
    const visitor = await customer(w)
    await visitor.visit(() => undefined)
    await visitor.visit((s) => [s.id, s.isNew, s.client.get("theme")])
    expect(w.store.operations()).toEqual([])
  })

  test("is asked to once for each request, with the bookmark of its cookie", async () => {
    const w = lagging()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("n", 1))
    expect(w.store.operations()).toEqual(["follow", "create"])
    expect(w.store.log[0]?.args).toEqual([undefined])
    expect(bookmarkOf(visitor.cookie, w)).toBe("1")
    w.store.reset()
    await visitor.visit(async (s) => {
      await Promise.all([s.get("n"), s.transact((state) => state.set("n", 2)), s.load(FRESH)])
      s.signIn("ann")
    })
    expect(w.store.operations()).toEqual(["follow", "load", "load", "update", "changeId"])
    expect(w.store.log[0]?.args).toEqual(["1"])
    expect(bookmarkOf(visitor.cookie, w)).toBe("3")
  })

  test("lets a user see what they have just written, however far behind the replica is", async () => {
    const w = lagging()
    const visitor = await customer(w)
    const before = visitor.cookie
    await visitor.visit((s) => s.set("cart", ["hat"]))
    expect(await visitor.visit((s) => s.get("cart"))).toEqual(["hat"])
    expect(await w.visitor(before).visit((s) => s.get("cart"))).toEqual(["coat"])
    expect(loads(w)).toEqual([undefined, undefined])
  })

  test("sends no cookie for a mere read", async () => {
    const w = lagging()
    const visitor = await customer(w)
    await elsewhere(w, visitor.cookie, (s) => s.set("n", 1))
    await w.lagging.catchUp()
    expect(await visitor.visit((s) => s.get("n"))).toBe(1)
    expect(visitor.setCookie).toBeUndefined()
  })

  test.each<[what: string, act: (s: Session) => unknown, writes: string[]]>([
    ["update", (s) => s.set("n", 1), ["update"]],
    ["updateTtl", (s) => s.client.set("n", 1), ["updateTtl"]],
    ["changeId", (s) => s.cycleId(), ["changeId"]],
    ["delete", (s) => s.delete(), ["delete"]],
    ["a save, confirmed", async (s) => (s.set("n", 1), s.save()), ["update", "updateTtl"]],
    [
      "a transact, confirmed",
      (s) => s.transact((state) => state.set("n", 1)),
      ["load", "update", "updateTtl"],
    ],
    [
      "a transact, confirmed by what is pending",
      async (s) => {
        await s.transact((state) => state.set("n", 1))
        s.set("m", 1)
      },
      ["load", "update", "update"],
    ],
    ["a save of a new ticket", async (s) => (s.cycleId(), s.save()), ["changeId"]],
    [
      "a transact and a save of nothing",
      async (s) => {
        await s.transact((state) => state.set("n", 1))
        await s.save()
      },
      ["load", "update", "updateTtl"],
    ],
    [
      "two saves",
      async (s) => {
        s.set("n", 1)
        await s.save()
        s.set("n", 2)
        await s.save()
      },
      ["update", "update", "updateTtl"],
    ],
  ])("tells the bookmark after %s", async (_what, act, writes) => {
    const w = lagging()
    const visitor = await customer(w)
    await visitor.visit(act)
    expect(w.store.operations()).toEqual(["follow", ...writes])
    const last = 1 + writes.filter((operation) => operation !== "load").length
    expect(bookmarkOf(visitor.setCookie, w)).toBe(String(last))
  })

  test("tells the bookmark when the session is extended", async () => {
    const w = lagging()
    const visitor = await customer(w)
    w.clock.advance("12h")
    await visitor.visit((s) => s.get("cart"))
    expect(w.store.operations()).toEqual(["follow", "load", "updateTtl"])
    expect(bookmarkOf(visitor.setCookie, w)).toBe("2")
  })

  test("tells what a failed response has saved, if its headers are sent", async () => {
    const w = lagging()
    const visitor = await customer(w)
    await visitor.visit((s) => s.transact((state) => state.set("n", 1)), { status: 500 })
    expect(bookmarkOf(visitor.setCookie, w)).toBe("3")
    w.store.reset()
    await visitor.visit((s) => s.transact((state) => state.set("n", 2)), { headersLost: true })
    expect(w.store.operations()).toEqual(["follow", "load", "update"])
    expect(visitor.setCookie).toBeUndefined()
  })

  test("G5: sends no cookie if the session has ended since the save", async () => {
    for (const end of ["signOut", "invalidate"] as const) {
      const w = lagging()
      const visitor = await customer(w)
      const late = visitor.arrive((s) => s.transact((state) => state.set("n", 1)))
      await late.handled
      await elsewhere(w, visitor.cookie, (s) => s[end]())
      expect(await late.leave()).toBeUndefined()
      expect(w.store.operations()).toEqual(["updateTtl"])
    }
  })

  test("G5: sends no cookie for a dead session, nor for what another request has moved", async () => {
    const w = lagging()
    const visitor = await customer(w, "ann")
    const [dead, moved] = [w.visitor(visitor.cookie), w.visitor(visitor.cookie)]
    await elsewhere(w, visitor.cookie, (s) => s.signIn("ann"))
    await moved.visit((s) => s.set("n", 1))
    expect(moved.setCookie).toBeUndefined()
    await w.sessions.revokeByUser("ann")
    await dead.visit((s) => s.set("n", 1))
    expect(dead.setCookie).toBeUndefined()
  })

  test("sends no cookie in grace", async () => {
    const w = lagging()
    const visitor = await customer(w)
    const late = w.visitor(visitor.cookie)
    await elsewhere(w, visitor.cookie, (s) => s.cycleId({ grace: "30s" }))
    await late.visit(async (s) => {
      await s.transact((state) => state.set("n", 1))
      s.set("m", 1)
    })
    expect(late.setCookie).toBeUndefined()
    w.store.reset()
    await late.visit((s) => s.transact((state) => state.set("n", 2)))
    expect(late.setCookie).toBeUndefined()
    expect(w.store.operations()).not.toContain("updateTtl")
  })

  test("is not followed by what happens outside of a request", async () => {
    const w = lagging()
    const visitor = await customer(w, "ann")
    const [device] = await w.sessions.listByUser("ann")
    await w.sessions.revoke(device?.id as string)
    await w.sessions.revokeByUser("ann")
    await w.sessions.deleteExpired()
    expect(w.store.operations()).toEqual(["listByUser", "delete", "deleteByUser", "deleteExpired"])
    expect(visitor.setCookie).toBeDefined()
  })

  test("is asked through what it hands out, whatever the request does", async () => {
    const w = lagging()
    const never = (): Promise<never> => Promise.reject(new Error("not through follow"))
    const operations = [
      "create",
      "load",
      "update",
      "updateTtl",
      "changeId",
      "delete",
      "deleteByUser",
    ] as const
    const store = { ...w.lagging, ...Object.fromEntries(operations.map((operation) => [operation, never])) }
    const through = world({ store, clock: w.clock })
    const visitor = through.visitor()
    await visitor.visit((s) => s.set("n", 1))
    await visitor.visit((s) => s.transact((state) => state.set("n", 2)))
    await visitor.visit((s) => s.client.set("n", 1))
    await visitor.visit((s) => s.signIn("ann"))
    await w.visitor().visit((s) => s.signIn("ann"))
    expect(await visitor.visit((s) => s.revokeOthers())).toBe(1)
    await visitor.visit((s) => s.delete())
    await visitor.visit((s) => s.signIn("ann"))
    await visitor.visit((s) => s.invalidate())
    expect(visitor.cookie).toBeUndefined()
    expect(new Set(through.store.operations())).toEqual(new Set(["follow", ...operations]))
  })

  test("has its bookmark carried on by a cookie that is sent without a store call", async () => {
    const w = lagging({ serverStateCreation: "skip-if-empty" })
    const visitor = await customer(w)
    await visitor.visit((s) => s.delete())
    expect(bookmarkOf(visitor.cookie, w)).toBe("2")
    w.store.reset()
    await visitor.visit((s) => s.client.set("theme", "dark"))
    expect(w.store.operations()).toEqual([])
    expect(bookmarkOf(visitor.setCookie, w)).toBe("2")
  })

  test("G11: that cannot be had is a StoreError, and the next call asks again", async () => {
    const w = lagging()
    const visitor = await customer(w)
    let isDown = true
    const { follow } = w.lagging
    const store: SessionStore = {
      ...w.lagging,
      follow(bookmark) {
        if (isDown) throw new Error("down")
        return (follow as NonNullable<typeof follow>)(bookmark)
      },
    }
    const other = world({ store, clock: w.clock }).visitor(visitor.cookie)
    await other.visit(async (s) => {
      await expect(s.get("cart")).rejects.toMatchObject({ name: "StoreError", operation: "follow" })
      isDown = false
      expect(await s.get("cart")).toEqual(["coat"])
    })
  })

  test("and gives no bookmark that a cookie can carry loses nothing: there is a warning, and none is sent", async () => {
    const w = lagging()
    const follow = (bookmark: string | undefined): FollowingStore => ({
      ...(w.lagging as Required<LaggingStore>).follow(bookmark),
      bookmark: "b".repeat(257),
    })
    const warnings: string[] = []
    const onWarning = (_message: string, code: string): void => void warnings.push(code)
    const spoilt = world({ store: { ...w.lagging, follow }, clock: w.clock, onWarning })
    const visitor = spoilt.visitor()
    await visitor.visit((s) => s.set("n", 1))
    await visitor.visit((s) => s.set("n", 2))
    expect(bookmarkOf(visitor.setCookie, spoilt)).toBeUndefined()
    // Nothing to follow, so the primary is asked.
    expect(await visitor.visit((s) => s.get("n"))).toBe(2)
    expect(warnings).toEqual(["COATCHECK_BOOKMARK"])
  })

  test.each([
    ["with a record", ["updateTtl"]],
    ["without a record", []],
  ])("is left behind by a store that does not (%s)", async (_what, operations) => {
    const w = lagging()
    const visitor = await customer(w)
    if (operations.length === 0) await visitor.visit((s) => s.delete())
    expect(bookmarkOf(visitor.cookie, w)).toBeDefined()
    const store = w.lagging.primary
    const plain = world({ store, clock: w.clock, serverStateCreation: "skip-if-empty" })
    const other = plain.visitor(visitor.cookie)
    await other.visit((s) => s.client.set("theme", "dark"))
    expect(plain.store.operations()).toEqual(operations)
    expect(bookmarkOf(other.setCookie, w)).toBeUndefined()
  })
})

describe("the size of a cookie with a bookmark", () => {
  const FULL = 2970
  const RESERVED = 257

  async function fill(w: World, length: number): Promise<Visitor> {
    const visitor = w.visitor()
    await visitor.visit((s) => s.client.set("a", "x".repeat(length - '{"a":""}'.length)))
    return visitor
  }

  test("is measured with the longest there can be, before anything is stored", async () => {
    const w = lagging()
    const { setCookie } = await fill(w, FULL - RESERVED)
    expect((setCookie as string).indexOf(";")).toBeLessThanOrEqual(4096)
    w.store.reset()
    const error: unknown = await fill(w, FULL - RESERVED + 1).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CookieTooLargeError)
    expect((error as Error).message).toBe(
      'The session cookie would be 4097 bytes with the room that the store\'s bookmark may take; browsers keep at most 4096. The largest key of its client state is "a".',
    )
    expect(w.store.operations()).toEqual([])
    // Other stores need no room for it.
    await fill(world(), FULL)
  })

  test("leaves the bookmark out where a cookie from before has no room for it", async () => {
    const clock = fakeClock()
    const store = laggingStore(clock)
    const { follow, ...plain } = store
    const before = world({ store: plain, clock })
    const full = await fill(before, FULL)
    await store.catchUp()
    const now = world({ store: { ...plain, follow } as SessionStore, clock })
    const visitor = now.visitor(full.cookie)
    await visitor.visit((s) => s.set("n", 1))
    expect((visitor.setCookie as string).indexOf(";")).toBe(4096)
    expect(bookmarkOf(visitor.setCookie, now)).toBeUndefined()
    expect(await visitor.visit((s) => s.get("n"))).toBe(1)
  })
})

test("a browser reads what it has written, whatever it does and whenever the replica catches up", async () => {
  type Step = (w: LaggingWorld, visitor: Visitor, model: Map<string, unknown>) => Promise<unknown>
  const reads: Step = async (_w, visitor, model) =>
    expect(new Map(await visitor.visit((s) => s.entries()))).toEqual(model)
  const steps: Record<string, Step> = {
    read: reads,
    "catch up": (w) => w.lagging.catchUp(),
    wait: async (w) => void w.clock.advance("6h"),
    set: (_w, visitor, model) =>
      visitor.visit((s) => {
        model.set("a", model.size)
        s.set("a", model.get("a") as number)
      }),
    transact: (_w, visitor, model) =>
      visitor.visit(async (s) => {
        model.set("n", Number(model.get("n") ?? 0) + 1)
        await s.transact((state) => state.set("n", Number(state.get("n") ?? 0) + 1))
      }),
    save: (_w, visitor, model) =>
      visitor.visit(async (s) => {
        model.set("b", model.size)
        s.set("b", model.get("b") as number)
        await s.save()
      }),
    take: (_w, visitor, model) =>
      visitor.visit(async (s) => {
        expect(await s.take("a")).toEqual(model.get("a"))
        model.delete("a")
      }),
    consume: (_w, visitor, model) =>
      visitor.visit(async (s) => {
        expect(await s.consume("b")).toEqual(model.get("b"))
        model.delete("b")
      }),
    client: (_w, visitor) => visitor.visit((s) => s.client.set("c", 1)),
    "cycle id": (_w, visitor) => visitor.visit((s) => s.cycleId()),
    "sign in": (_w, visitor) => visitor.visit((s) => s.signIn("ann")),
    "sign out": (_w, visitor, model) =>
      visitor.visit((s) => {
        model.clear()
        s.signOut()
      }),
    delete: (_w, visitor, model) =>
      visitor.visit((s) => {
        model.clear()
        s.delete()
      }),
    invalidate: (_w, visitor, model) =>
      visitor.visit((s) => {
        model.clear()
        s.invalidate()
      }),
  }
  const names = fc.array(fc.constantFrom(...Object.keys(steps)), { minLength: 1, maxLength: 25 })
  await fc.assert(
    fc.asyncProperty(names, async (program) => {
      const w = lagging()
      const visitor = w.visitor()
      const model = new Map<string, unknown>()
      for (const name of program) {
        await steps[name]?.(w, visitor, model)
        await reads(w, visitor, model)
      }
    }),
    { numRuns: 300 },
  )
})

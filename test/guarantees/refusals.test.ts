import { inspect } from "node:util"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Session } from "../../src/api.ts"
import type { CookieOptions } from "../../src/cookie/attributes.ts"
import { mutations, sealAt } from "../../src/cookie/mutations.test-helper.ts"
import { KeyRing } from "../../src/cookie/key-ring.ts"
import { RecordCorruptError, StoreError, ValueSerializationError } from "../../src/errors.ts"
import type { JsonValue } from "../../src/json.ts"
import { createSessions } from "../../src/sessions.ts"
import type { SessionStore } from "../../src/store.ts"
import { memoryStore } from "../../src/stores/memory.ts"
import { fakeClock } from "../../src/testing/clock.ts"
import type { StoreOperation } from "../../src/testing/spy-store.ts"
import { KEY, Visitor, type World, world } from "../../src/visitor.test-helper.ts"

const NAME = "__Host-id"

/** A store of which some members are other ones. */
function altered(inner: SessionStore, own: Partial<SessionStore>): SessionStore {
  return new Proxy(inner, {
    get(target, name) {
      const member: unknown = Reflect.get(name in own ? own : target, name)
      return typeof member === "function" ? member.bind(target) : member
    },
  })
}

describe("values", () => {
  class Coat {
    readonly size = 42
  }
  const cyclic: unknown[] = []
  cyclic.push(cyclic)
  const deep = (levels: number): JsonValue => (levels === 0 ? 1 : [deep(levels - 1)])
  const REFUSED: readonly (readonly [what: string, value: unknown, path: string])[] = [
    ["undefined", undefined, ""],
    ["a function", () => 1, ""],
    ["a symbol", Symbol("s"), ""],
    ["a bigint", { n: 1n }, ".n"],
    ["NaN", [Number.NaN], "[0]"],
    ["Infinity", Infinity, ""],
    ["-0", [[-0]], "[0][0]"],
    ["a cycle", cyclic, "[0]"],
    ["an instance of a class", new Coat(), ""],
    ["a Date", { at: new Date(0) }, ".at"],
    ["a Map", new Map(), ""],
    ["toJSON", { a: { toJSON: () => 1 } }, ".a"],
    ["a hole", [1, , 2], ""], // oxlint-disable-line no-sparse-arrays
    ["65 levels", deep(65), "[0]".repeat(64)],
    ["too many bytes", "x".repeat(256 * 1024 - 1), ""],
  ]

  /** Every way in which a value can be set. */
  const WAYS: readonly (readonly [name: string, set: (s: Session, key: string, value: never) => unknown])[] =
    [
      ["set", (s, key, value) => s.set(key, value)],
      ["client.set", (s, key, value) => s.client.set(key, value)],
      ["load, then set", async (s, key, value) => (await s.load()).set(key, value)],
      ["transact", (s, key, value) => s.transact((state) => state.set(key, value))],
      [
        "set after signIn",
        (s, key, value) => {
          s.signIn("ann")
          s.set(key, value)
        },
      ],
    ]

  describe.each(WAYS)("%s", (_name, set) => {
    test.each(REFUSED)(
      "G10: %s is refused at once, naming key and path, and nothing has changed",
      async (_what, value, path) => {
        const w = world()
        const visitor = w.visitor()
        await visitor.visit((s) => {
          s.set("coat", 1)
          s.client.set("coat", 1)
        })
        w.store.reset()
        await visitor.visit(async (s) => {
          const error: unknown = await (async () => set(s, "coat", value as never))().catch(
            (thrown: unknown) => thrown,
          )
          expect(error).toBeInstanceOf(ValueSerializationError)
          expect(error).toMatchObject({ key: "coat", path, code: "ERR_SESSION_VALUE_SERIALIZATION" })
          expect((error as Error).message).toContain('"coat"')
          expect(await s.get("coat")).toBe(1)
          expect(s.client.get("coat")).toBe(1)
        })
        expect(w.store.operations()).not.toContain("update")
        expect(await visitor.visit(async (s) => [await s.entries(), s.client.entries()])).toEqual([
          [["coat", 1]],
          [["coat", 1]],
        ])
      },
    )

    test.each([
      ["empty", ""],
      ["257 characters long", "k".repeat(257)],
      ["a number", 5],
      ["a symbol", Symbol("key")],
      ["undefined", undefined],
    ])("a key that is %s is refused, and nothing has changed", async (_what, key) => {
      const w = world()
      const session = w.sessions.open(undefined)
      await expect((async () => set(session, key as string, 1 as never))()).rejects.toBeInstanceOf(
        ValueSerializationError,
      )
      expect(await session.isEmpty()).toBe(true)
      expect(session.client.isEmpty()).toBe(true)
    })
  })

  test("no read or removal takes a key that cannot be", async () => {
    const session = world().sessions.open(undefined)
    for (const key of ["", "k".repeat(257), 5 as never]) {
      await expect(session.get(key)).rejects.toBeInstanceOf(ValueSerializationError)
      await expect(session.has(key)).rejects.toBeInstanceOf(ValueSerializationError)
      await expect(session.take(key)).rejects.toBeInstanceOf(ValueSerializationError)
      expect(() => session.remove(key)).toThrow(ValueSerializationError)
      expect(() => session.client.get(key)).toThrow(ValueSerializationError)
      expect(() => session.client.has(key)).toThrow(ValueSerializationError)
    }
  })

  test("what is just within the limits is kept: 64 levels, 256 KiB, keys of 256 characters", async () => {
    const w = world()
    const visitor = w.visitor()
    const large = "x".repeat(256 * 1024 - 2)
    await visitor.visit((s) => {
      s.set("deep", deep(64))
      s.set("large", large)
      s.set("k".repeat(256), 1)
    })
    expect(await visitor.visit((s) => s.entries())).toEqual([
      ["deep", deep(64)],
      ["large", large],
      ["k".repeat(256), 1],
    ])
  })

  test("maxValueBytes counts UTF-8 bytes of JSON, exactly, in server and client state", async () => {
    const session = world({ maxValueBytes: 10 }).sessions.open(undefined)
    for (const state of [session, session.client]) {
      for (const [fits, not] of [
        ["12345678", "123456789"],
        ["üüüü", "üüüüx"],
        ["🧥🧥", "🧥🧥x"],
        ["\n\n\n\n", "\n\n\n\nx"],
      ] as const) {
        expect(() => state.set("a", fits)).not.toThrow()
        expect(() => state.set("a", not)).toThrow(/is 11 bytes of JSON; at most 10 are allowed/)
        expect(await state.get("a")).toBe(fits)
      }
    }
  })

  const HOSTILE = [
    "__proto__",
    "constructor",
    "prototype",
    "hasOwnProperty",
    "toString",
    "toJSON",
    "then",
    "length",
    "0",
    "\0",
    "\ud800",
    '"',
    "\\",
    "a.b",
    "a b",
    "’; DROP TABLE sessions; --",
    "k".repeat(256),
  ]

  test("G10: hostile keys are keys like any other", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit(async (s) => {
      for (const key of HOSTILE) {
        expect(await s.has(key)).toBe(false)
        expect(await s.get(key)).toBeUndefined()
        expect(s.client.get(key)).toBeUndefined()
      }
      for (const key of HOSTILE) s.set(key, { [key]: [key] })
      for (const key of HOSTILE.slice(0, -1)) s.client.set(key, 1)
    })
    await visitor.visit(async (s) => {
      for (const key of HOSTILE) {
        expect(await s.has(key)).toBe(true)
        const value = (await s.get(key)) as Record<string, JsonValue>
        expect(Object.keys(value)).toEqual([key])
        expect(JSON.stringify(value)).toBe(JSON.stringify({ [key]: [key] }))
      }
      expect((await s.keys()).toSorted()).toEqual(HOSTILE.toSorted())
      expect((await s.entries()).map(([key]) => key).toSorted()).toEqual(HOSTILE.toSorted())
      expect(s.client.keys().toSorted()).toEqual(HOSTILE.slice(0, -1).toSorted())
      for (const key of HOSTILE) s.remove(key)
      expect(await s.isEmpty()).toBe(true)
    })
    expect(await visitor.visit((s) => s.keys())).toEqual([])
    expect(Object.hasOwn(Object.prototype, "__proto__")).toBe(true)
    expect(({} as Record<string, unknown>)["constructor"]).toBe(Object)
  })

  test("G10: any JSON comes back equal, from server and client state, and is yours", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 5 }), async (generated) => {
        const value = JSON.parse(JSON.stringify(generated)) as JsonValue
        const w = world()
        const visitor = w.visitor()
        await visitor.visit((s) => {
          s.set("value", value)
          if (JSON.stringify(value).length < 500) s.client.set("value", value)
        })
        await visitor.visit(async (s) => {
          expect(await s.get("value")).toEqual(value)
          if (s.client.has("value")) expect(s.client.get("value")).toEqual(value)
          s.set("value", value)
          expect(s.isModified).toBe(false)
        })
      }),
      { numRuns: 300 },
    )
  })

  test("G10: changing a value that was set, or one that was read, changes nothing that is stored", async () => {
    const w = world()
    const visitor = w.visitor()
    const mine = { list: [1] }
    await visitor.visit(async (s) => {
      s.set("a", mine)
      s.client.set("a", mine)
      mine.list.push(2)
      ;((await s.get("a")) as typeof mine).list.push(3)
      ;(s.client.get("a") as typeof mine).list.push(3)
    })
    await visitor.visit(async (s) => {
      ;((await s.get("a")) as typeof mine).list.push(4)
      expect(await s.get("a")).toEqual({ list: [1] })
      expect(s.client.get("a")).toEqual({ list: [1] })
      for (const [, value] of await s.entries()) (value as typeof mine).list.push(5)
      expect(s.isModified).toBe(false)
    })
    expect(await visitor.visit((s) => s.get("a"))).toEqual({ list: [1] })
  })
})

describe("cookies", () => {
  const anonymous = {
    headers: [
      { name: "Vary", value: "Cookie", mode: "merge" },
      { name: "Cache-Control", value: "private, no-cache", mode: "merge" },
    ],
  }

  /** What a request with this header finds and answers. */
  async function answer(w: World, header: string | readonly string[]): Promise<string> {
    const session = w.sessions.open(header)
    const found = [
      await session.get("secret"),
      session.client.get("secret"),
      await session.userId(),
      session.id,
    ]
    return JSON.stringify([found, session.isNew, await session.finalize({ status: 200 })])
  }

  test("G9: 100,000 mutated cookies are all anonymous, without a store call, a throw or a difference in the response", async () => {
    const w = world()
    const expected = await answer(w, "")
    expect(expected).toBe(JSON.stringify([[null, null, null, null], true, anonymous]))
    let count = 0
    const different: string[] = []
    for (const { kind, value } of mutations({ keys: [KEY], cookieName: NAME, now: w.clock(), rounds: 10 })) {
      count += 1
      const got = await answer(w, `a=b; ${NAME}=${value}`)
      if (got !== expected) different.push(`${kind}: ${value.slice(0, 200)} gave ${got}`)
    }
    expect(different).toEqual([])
    expect(count).toBeGreaterThanOrEqual(100_000)
    expect(w.store.operations()).toEqual([])
    expect(w.events.length).toBeGreaterThan(count * 0.99)
    expect(new Set(w.events.map((event) => JSON.stringify(event)))).toEqual(
      new Set(['{"type":"cookie-rejected","count":1}']),
    )
  })

  test("G9: the cookies that the mutations start from do open", async () => {
    const w = world()
    const ring = KeyRing.create([KEY])
    for (const client of [undefined, '{"secret":1}']) {
      const session = w.sessions.open(`${NAME}=${ring.seal(NAME, sealAt(w.clock(), { client }))}`)
      expect(session.isNew).toBe(false)
      expect(session.client.get("secret")).toBe(client && 1)
    }
  })

  test("G9: a cookie of one megabyte, and a header of many small ones, are anonymous", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("secret", 1))
    w.store.reset()
    const expected = await answer(w, "")
    for (const header of [
      `${visitor.cookie}${"A".repeat(1_048_576)}`,
      `${NAME}=${"A".repeat(1_048_576)}`,
      `${NAME}=${"; x=".repeat(262_144)}`,
      `${NAME}=;`.repeat(50_000),
      [`${NAME}=`, NAME, "", "; ;"],
    ]) {
      expect(await answer(w, header)).toBe(expected)
    }
    expect(w.store.operations()).toEqual([])
  })

  describe("several of our name", () => {
    async function two(): Promise<{ w: World; one: string; other: string }> {
      const w = world()
      const cookies: string[] = []
      for (const secret of ["one", "other"]) {
        const visitor = w.visitor()
        await visitor.visit((s) => s.set("secret", secret))
        cookies.push(visitor.cookie as string)
      }
      w.store.reset()
      w.events.length = 0
      return { w, one: cookies[0] as string, other: cookies[1] as string }
    }
    const bad = `${NAME}=forged`

    test("the first that opens wins", async () => {
      const { w, one } = await two()
      for (const header of [`${bad}; ${one}`, `${one}; ${bad}`, [bad, bad, bad, one], `${one}; ${one}`]) {
        const session = w.sessions.open(header)
        expect(await session.get("secret")).toBe("one")
        await session.finalize()
      }
      expect(w.events).toEqual([])
    })

    test("two that open with different ids are anonymous, with an event", async () => {
      const { w, one, other } = await two()
      for (const header of [`${one}; ${other}`, [other, one], `${bad}; ${one}; ${bad}; ${other}`]) {
        w.events.length = 0
        expect(JSON.parse(await answer(w, header))).toEqual([[null, null, null, null], true, anonymous])
        expect(w.events).toMatchObject([{ type: "cookies-ambiguous" }])
      }
      expect(w.store.operations()).toEqual([])
    })

    test("a fifth is not looked at", async () => {
      const { w, one } = await two()
      const session = w.sessions.open(`${bad}; ${bad}; ${bad}; ${bad}; ${one}`)
      expect(await session.get("secret")).toBeUndefined()
      expect(w.events).toEqual([{ type: "cookie-rejected", count: 4 }])
    })

    test("names are compared as they are", async () => {
      const { w, one } = await two()
      const value = one.slice(NAME.length + 1)
      for (const name of [
        "id",
        "__host-id",
        "__Secure-id",
        "__HOST-ID",
        "__Host-id2",
        "x__Host-id",
        `"${NAME}"`,
      ]) {
        expect(await w.sessions.open(`${name}=${value}`).get("secret")).toBeUndefined()
      }
      expect(w.events).toEqual([])
      expect(await w.sessions.open(`a=1;\t${NAME} = ${value}\t ;b=2`).get("secret")).toBe("one")
    })
  })

  test("G9: a visitor with a forged cookie starts a session like any other", async () => {
    const w = world()
    const visitor = w.visitor(`${NAME}=forged`)
    await visitor.visit((s) => s.set("a", 1), {}, { method: "POST", secFetchSite: "cross-site" })
    expect(w.store.operations()).toEqual(["create"])
    expect(await visitor.visit((s) => s.get("a"))).toBe(1)
  })

  test("G6: an id that a client made up is never adopted", async () => {
    const w = world()
    const visitor = w.visitor()
    const ring = KeyRing.create([KEY])
    const seal = sealAt(w.clock())
    visitor.cookie = `${NAME}=${ring.seal(NAME, seal)}`
    const presented = await new Visitor(w.sessions, visitor.cookie).visit((s) => s.id)
    await visitor.visit((s) => s.set("a", 1))
    const created = w.store.log.filter(({ operation }) => operation === "create").map(({ ids }) => ids[0])
    expect(created).toHaveLength(1)
    expect(created[0]).not.toBe(presented)
  })
})

describe("records that are corrupt", () => {
  function corruptWorld(): { w: World; corrupt: Set<string> } {
    const clock = fakeClock()
    const inner = memoryStore({ clock })
    const corrupt = new Set<string>()
    const store = altered(inner, {
      load: (id) =>
        corrupt.has(id)
          ? Promise.reject(new RecordCorruptError("The record is no JSON.", { id, store: "memory" }))
          : inner.load(id),
    })
    return { w: world({ store, clock }), corrupt }
  }

  async function victim(): Promise<{ w: World; visitor: Visitor; id: string; mend(): void }> {
    const { w, corrupt } = corruptWorld()
    const visitor = w.visitor()
    await visitor.visit((s) => {
      s.set("a", 1)
      s.client.set("theme", "dark")
      s.signIn("ann")
    })
    const id = (await visitor.visit((s) => s.id)) as string
    corrupt.add(id)
    w.store.reset()
    return { w, visitor, id, mend: () => corrupt.delete(id) }
  }

  test("G11: a read rejects with RecordCorruptError, and the request can be answered", async () => {
    const { w, visitor, id } = await victim()
    const session = w.sessions.open(visitor.cookie)
    for (const read of [
      () => session.get("a"),
      () => session.load(),
      () => session.userId(),
      () => session.transact(() => 1),
    ]) {
      const error: unknown = await read().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(RecordCorruptError)
      expect(error).toMatchObject({ id, store: "memory" })
      expect((error as Error).message).not.toContain(id)
    }
    expect(session.client.get("theme")).toBe("dark")
    const { setCookie } = await session.finalize({ status: 500 })
    expect(setCookie).toBeUndefined()
  })

  test("the next sign-in works, and the old ticket is dead", async () => {
    const { w, visitor, mend } = await victim()
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => {
      s.set("before", 1)
      s.signIn("ann", { label: "again" })
      s.set("after", 1)
    })
    expect(w.store.operations()).toEqual(["load", "delete", "create"])
    mend()
    expect(await visitor.visit(async (s) => [await s.userId(), await s.keys()])).toEqual(["ann", ["after"]])
    expect(await old.visit(async (s) => [await s.userId(), await s.keys()])).toEqual([null, []])
    expect(await w.sessions.listByUser("ann")).toMatchObject([{ label: "again" }])
  })

  test("a sign-in in the very request that found it corrupt works as well", async () => {
    const { visitor, mend } = await victim()
    await visitor.visit(async (s) => {
      await expect(s.get("a")).rejects.toBeInstanceOf(RecordCorruptError)
      s.signIn("ann")
    })
    mend()
    expect(await visitor.visit((s) => s.userId())).toBe("ann")
  })

  // "The next sign-in works": a handler that looks at the session after `signIn`, as many do, gets the error again and so fails to sign in.
  test("after signIn the session can be read", async () => {
    const { visitor } = await victim()
    await visitor.visit(async (s) => {
      s.signIn("ann")
      expect(await s.get("a")).toBeUndefined()
    })
  })

  test.each(["invalidate", "signOut"] as const)("%s works without reading it", async (end) => {
    const { w, visitor, mend } = await victim()
    const old = new Visitor(w.sessions, visitor.cookie)
    await visitor.visit((s) => s[end]())
    mend()
    expect(await old.visit((s) => s.userId())).toBeNull()
    expect(await w.sessions.listByUser("ann")).toEqual([])
  })
})

describe("G7: a ticket is nowhere but in the cookie", () => {
  /** A world whose store can be looked into, and everything that a request of it shows to anybody. */
  async function shown(): Promise<{ secrets: string[]; text: string }> {
    const said: unknown[] = []
    const clock = fakeClock()
    const w = world({ clock, onWarning: (...warning) => void said.push(warning), keys: [KEY] })
    const secrets: string[] = []
    const visitor = w.visitor()
    const learn = (): void => {
      if (visitor.cookie === undefined) return
      const value = visitor.cookie.slice(NAME.length + 1)
      const seal = KeyRing.create([KEY]).open(NAME, value, clock())
      if (seal === undefined) throw new Error("The cookie does not open.")
      const bytes = Buffer.from(seal.ticket, "base64url")
      secrets.push(
        value,
        seal.ticket,
        bytes.toString("hex"),
        bytes.toString("base64"),
        bytes.toString("latin1"),
      )
    }
    const look = (thing: unknown): void => {
      said.push(
        thing,
        inspect(thing, { showHidden: true, depth: null, getters: true }),
        JSON.stringify(thing, printable),
      )
    }
    const acts: ((s: Session) => unknown)[] = [
      (s) => s.set("a", 1),
      (s) => s.client.set("a", 1),
      (s) => s.signIn("ann", { label: "x" }),
      (s) => s.cycleId({ grace: "30s" }),
      async (s) => (await s.load()).set("b", 1),
      (s) => s.transact((state) => state.set("c", 1)),
      (s) => s.revokeOthers(),
      (s) => s.setExpiry({ idle: "50d" }),
    ]
    for (const act of acts) {
      const late = visitor.arrive(act)
      look(late.session)
      look(late.session.client)
      look(await late.handled)
      await late.leave()
      look(late.session)
      learn()
    }
    const old = new Visitor(w.sessions, visitor.cookie)
    for (const operation of ["load", "update", "changeId"] as const) {
      w.store.failNext(operation)
      const late = visitor.arrive(async (s) => {
        if (operation === "load") await s.load()
        s.set("d", 1)
        if (operation === "changeId") s.cycleId()
      })
      look(await late.handled.catch((error: unknown) => error))
      look(await late.leave().catch((error: unknown) => error))
      look(late.session)
    }
    const tooLarge = visitor.arrive((s) => s.client.set("large", "x".repeat(4000)))
    look(await tooLarge.leave().catch((error: unknown) => error))
    await visitor.visit((s) => s.invalidate())
    const dead = old.arrive((s) => s.save().then(() => s.transact((state) => state.set("e", 1))))
    look(await dead.handled.catch((error: unknown) => error))
    look(w.sessions)
    look(w.events)
    look(w.store.log)
    return {
      secrets,
      text: said
        .map((thing) => (typeof thing === "string" ? thing : inspect(thing, { depth: null })))
        .join("\n"),
    }
  }

  test("not in inspect output, JSON, errors, events, warnings or what the store is told", async () => {
    const { secrets, text } = await shown()
    expect(secrets.length).toBeGreaterThan(10)
    for (const secret of new Set(secrets)) expect(text.includes(secret)).toBe(false)
    expect(text).not.toContain(KEY)
    // What is looked at does tell something.
    expect(text).toMatch(/rotated/)
    expect(text).toMatch(/StoreError/)
    expect(text).toMatch(/CookieTooLargeError/)
    expect(text).toMatch(/SessionEndedError/)
  })

  test("an id is no ticket: what the store is keyed by opens nothing", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("secret", 1))
    const id = (await visitor.visit((s) => s.id)) as string
    for (const value of [id, Buffer.from(id).toString("base64url")]) {
      expect(await w.visitor(`${NAME}=${value}`).visit((s) => s.get("secret"))).toBeUndefined()
    }
  })
})

function printable(_name: string, value: unknown): unknown {
  if (value instanceof Map || value instanceof Set) return [...value]
  return typeof value === "bigint" ? String(value) : value
}

describe("G11: a store that is down", () => {
  /** For each operation, a request that needs it. */
  const NEEDS: readonly (readonly [StoreOperation, (s: Session) => unknown, isNew: boolean])[] = [
    ["create", (s) => s.set("b", 1), true],
    ["load", (s) => s.signIn("ann"), false],
    ["update", (s) => s.set("b", 1), false],
    ["updateTtl", (s) => s.client.set("b", 1), false],
    ["changeId", (s) => s.cycleId(), false],
    ["delete", (s) => s.invalidate(), false],
    ["delete", (s) => s.delete(), false],
  ]
  const FAILURES: readonly (readonly [what: string, fail: () => Promise<never>, cause: unknown])[] = [
    ["rejects", () => Promise.reject(new Error("down")), new Error("down")],
    [
      "throws at once",
      () => {
        throw new Error("down")
      },
      new Error("down"),
    ],
    ["rejects with text", () => Promise.reject("down"), "down"],
    ["rejects with nothing", () => Promise.reject(), undefined],
    ["never answers", () => new Promise<never>(() => undefined), undefined],
  ]

  describe.each(FAILURES)("that %s", (what, fail, cause) => {
    test.each(NEEDS)(
      "gives a StoreError from finalize where %s is needed, and the session is as before",
      async (operation, act, isNew) => {
        const clock = fakeClock()
        const inner = memoryStore({ clock })
        let down = false
        const store = altered(inner, {
          [operation]: (...given: unknown[]) =>
            down ? fail() : (inner[operation] as (...given: unknown[]) => Promise<unknown>)(...given),
        })
        const w = world({ store, clock, storeTimeout: 5 })
        const visitor = w.visitor()
        if (!isNew) await visitor.visit((s) => s.set("a", 1))
        const before = visitor.cookie
        w.events.length = 0
        down = true
        const late = visitor.arrive(act)
        const error: unknown = await late.leave().catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(StoreError)
        expect(error).toMatchObject({ operation, store: "memory", code: "ERR_SESSION_STORE" })
        expect((error as Error).cause).toEqual(cause)
        if (what === "never answers") expect((error as Error).message).toMatch(/within 5 ms \(storeTimeout\)/)
        expect(w.events).toContainEqual({ type: "store-failed", operation, error })
        await expect(late.session.finalize()).rejects.toBe(error)
        expect(visitor.cookie).toBe(before)
        down = false
        expect(await visitor.visit((s) => s.entries())).toEqual(isNew ? [] : [["a", 1]])
        await visitor.visit(act)
      },
    )
  })

  test("a read rejects at once, and later reads of the same request try again", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    w.store.failNext("load")
    await visitor.visit(async (s) => {
      await expect(s.get("a")).rejects.toBeInstanceOf(StoreError)
      expect(await s.get("a")).toBe(1)
    })
  })

  test("a response that was lost leaves the session as after, and the browser as before", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    w.store.loseNext("update")
    await expect(visitor.arrive((s) => s.set("b", 1)).leave()).rejects.toBeInstanceOf(StoreError)
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })

  test("one slow request does not hold up another", async () => {
    const w = world({ storeTimeout: 20 })
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    const never = Promise.withResolvers<void>()
    w.store.delay("load", never.promise)
    const slow = visitor.arrive((s) => s.get("a"))
    await new Visitor(w.sessions, visitor.cookie).visit((s) => s.set("b", 1))
    await expect(slow.handled).rejects.toMatchObject({ operation: "load" })
    never.resolve()
    w.store.reset()
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
  })
})

describe("cross-site requests", () => {
  test.each<
    [
      sameSite: "strict" | "lax" | "none",
      method: string | undefined,
      site: string | undefined,
      starts: boolean,
    ]
  >([
    ["lax", "POST", "cross-site", false],
    ["lax", "PUT", "cross-site", false],
    ["lax", "post", "cross-site", false],
    ["lax", "GET", "cross-site", true],
    ["lax", "HEAD", "cross-site", true],
    ["lax", "OPTIONS", "cross-site", true],
    ["lax", undefined, "cross-site", true],
    ["lax", "POST", "same-site", true],
    ["lax", "POST", "same-origin", true],
    ["lax", "POST", "none", true],
    ["lax", "POST", undefined, true],
    ["strict", "GET", "cross-site", false],
    ["strict", "POST", "cross-site", false],
    ["strict", "GET", "same-site", true],
    ["none", "POST", "cross-site", true],
  ])(
    "with sameSite %s, %s from %s: a session by mere writes: %s",
    async (sameSite, method, secFetchSite, starts) => {
      const w = world({ cookie: { sameSite } })
      const visitor = w.visitor()
      for (const act of [(s: Session) => s.set("a", 1), (s: Session) => s.client.set("a", 1)]) {
        visitor.cookie = undefined
        await visitor.visit(act, {}, { method, secFetchSite })
        expect(visitor.cookie !== undefined).toBe(starts)
      }
      expect(w.events.filter(({ type }) => type === "creation-denied")).toHaveLength(starts ? 0 : 2)
      await visitor.visit((s) => s.signIn("ann"), {}, { method, secFetchSite })
      expect(visitor.cookie).toBeDefined()
    },
  )

  test("that only read, or write nothing in the end, are not reported", async () => {
    const w = world()
    await w.visitor().visit((s) => s.get("a"), {}, { method: "POST", secFetchSite: "cross-site" })
    await w
      .visitor()
      .visit((s) => (s.set("a", 1), s.clear()), {}, { method: "POST", secFetchSite: "cross-site" })
    expect(w.events).toEqual([])
  })

  test("that carry our cookie write as ever, and crossSiteCreation: allow lets all start one", async () => {
    const w = world()
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1))
    await visitor.visit((s) => s.set("b", 1), {}, { method: "POST", secFetchSite: "cross-site" })
    expect(await visitor.visit((s) => s.keys())).toEqual(["a", "b"])
    const open = world({ crossSiteCreation: "allow" })
    const other = open.visitor()
    await other.visit((s) => s.set("a", 1), {}, { method: "POST", secFetchSite: "cross-site" })
    expect(other.cookie).toBeDefined()
  })
})

describe("the cookie's name and attributes", () => {
  async function setAndRemove(
    cookie: CookieOptions,
    request: { secure?: boolean; host?: string | null } = {},
  ): Promise<[set: string, removed: string]> {
    const w = world({ cookie })
    const visitor = w.visitor()
    await visitor.visit((s) => s.set("a", 1), {}, request)
    const set = (visitor.setCookie as string).replace(/=[\w-]+/, "=…")
    expect(await visitor.visit((s) => s.get("a"), {}, request)).toBe(1)
    await visitor.visit((s) => s.invalidate(), {}, request)
    return [set, visitor.setCookie as string]
  }
  const GONE = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"

  test.each<[object, name: string, attributes: string, age?: string]>([
    [{}, "__Host-id", "; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "sid" }, "__Host-sid", "; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ prefix: false }, "id", "; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ path: "/app" }, "__Secure-id", "; Path=/app; Secure; HttpOnly; SameSite=Lax"],
    [
      { domain: "shop.example" },
      "__Secure-id",
      "; Domain=shop.example; Path=/; Secure; HttpOnly; SameSite=Lax",
    ],
    [{ secure: false }, "id", "; Path=/; HttpOnly; SameSite=Lax"],
    [{ httpOnly: false, sameSite: "strict" }, "__Host-id", "; Path=/; Secure; SameSite=Strict"],
    [
      { sameSite: "none", partitioned: true, priority: "high" },
      "__Host-id",
      "; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Priority=High",
    ],
    [{ kind: "browser-session" }, "__Host-id", "; Path=/; Secure; HttpOnly; SameSite=Lax", ""],
  ])("%j", async (cookie, name, attributes, age = "; Max-Age=86400") => {
    expect(await setAndRemove(cookie)).toEqual([
      `${name}=…${age}${attributes}`,
      `${name}=; ${GONE}${attributes}`,
    ])
  })

  test.each<[secure: boolean | undefined, host: string | null | undefined, plain: boolean]>([
    [false, "localhost", true],
    [false, "localhost:3000", true],
    [false, "LOCALHOST", true],
    [false, "127.0.0.1:80", true],
    [false, "[::1]", true],
    [false, "shop.example", false],
    [false, "localhost.shop.example", false],
    [false, "127.0.0.1.shop.example", false],
    [false, undefined, false],
    [false, null, false],
    [true, "localhost", false],
    [undefined, "localhost", false],
    [undefined, undefined, false],
  ])('secure: "auto" over a connection that is secure: %s, to %s: plain: %s', async (secure, host, plain) => {
    const request = { ...(secure === undefined ? {} : { secure }), ...(host === undefined ? {} : { host }) }
    const [name, attributes] = plain
      ? ["id", "; Path=/; HttpOnly; SameSite=Lax"]
      : ["__Host-id", "; Path=/; Secure; HttpOnly; SameSite=Lax"]
    expect(await setAndRemove({ secure: "auto" }, request)).toEqual([
      `${name}=…; Max-Age=86400${attributes}`,
      `${name}=; ${GONE}${attributes}`,
    ])
  })

  test("the facts of a request are not asked for where they make no difference", async () => {
    const request = {
      get secure(): boolean {
        throw new Error("asked")
      },
    }
    const sessions = createSessions({ keys: [KEY], store: memoryStore() })
    expect(await sessions.open(undefined, request).get("a")).toBeUndefined()
  })
})

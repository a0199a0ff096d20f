import { describe, expect, test } from "vitest"
import { CapabilityError, UnknownIdError } from "../errors.ts"
import { define, type JsonValue } from "../json.ts"
import type { Change, SessionRecord, SessionStore } from "../store.ts"
import { memoryStore } from "../stores/memory.ts"
import { type FakeClock, fakeClock } from "./clock.ts"
import { type ConformanceOptions, storeConformance } from "./store-conformance.ts"

/** The names of the laws that a store breaks. */
async function brokenLaws(
  breakStore: (store: SessionStore, clock: FakeClock) => Partial<SessionStore>,
  options: ConformanceOptions = {},
): Promise<string[]> {
  const open = () => {
    const clock = fakeClock()
    const inner = memoryStore({ clock })
    const store = Object.assign(Object.create(inner) as SessionStore, bound(inner), breakStore(inner, clock))
    return { store, precise: true, advance: clock.advance, close: () => undefined }
  }
  const broken: string[] = []
  for (const { name, run } of storeConformance(open, { extras: [], ...options })) {
    await run().catch(() => broken.push(name))
  }
  return broken
}

/** The methods of a store, which are bound to it: a store with private members does not work through another object. */
function bound(store: SessionStore): SessionStore {
  return {
    name: store.name,
    capabilities: store.capabilities,
    create: (...input) => store.create(...input),
    load: (...input) => store.load(...input),
    update: (...input) => store.update(...input),
    updateTtl: (...input) => store.updateTtl(...input),
    changeId: (...input) => store.changeId(...input),
    delete: (...input) => store.delete(...input),
    deleteExpired: (...input) => store.deleteExpired(...input),
    listByUser: (...input) => store.listByUser(...input),
    deleteByUser: (...input) => store.deleteByUser(...input),
  }
}

const edit = (load: (record: SessionRecord) => SessionRecord) => (store: SessionStore) => ({
  load: async (id: string) => {
    const found = await store.load(id)
    return found !== undefined && "state" in found ? load(found) : found
  },
})
const withChange = (adapt: (change: Change) => Change) => (store: SessionStore) => ({
  update: (id: string, change: Change, options?: { ifVersion?: number | undefined }) =>
    store.update(id, adapt(change), options),
})

/** Stores that are wrong in one way each, as stores in the wild are. */
const mutants: Record<string, (store: SessionStore, clock: FakeClock) => Partial<SessionStore>> = {
  "overwrites on create": (store) => ({
    create: async (id, record) => {
      await store.delete(id).catch(() => undefined)
      await store.create(id, record)
    },
  }),
  "creates on update": (store) => ({
    update: async (id, change, options) => {
      const found = await store.load(id)
      if (found === undefined) {
        const expiry = { idleTtl: 1000, fixedTtl: null, cookieKind: null, absoluteTtl: 1000 }
        await store.create(id, { state: change.set, userId: null, label: null, ...expiry })
      }
      return store.update(id, change, options)
    },
  }),
  "ignores ifVersion on update": (store) => ({ update: (id, change) => store.update(id, change) }),
  "ignores ifVersion on changeId": (store) => ({
    changeId: (oldId, newId, { ifVersion: _ifVersion, ...options }) => store.changeId(oldId, newId, options),
  }),
  "compares and sets in two steps": (store) => ({
    update: async (id, change, options) => {
      if (options?.ifVersion !== undefined) {
        const found = await store.load(id)
        if (found !== undefined && "state" in found && found.version === options.ifVersion)
          return store.update(id, change)
      }
      return store.update(id, change, options)
    },
  }),
  "writes the whole record it has read": (store) => ({
    update: async (id, change, options) => {
      const found = await store.load(id)
      if (found === undefined || !("state" in found)) return store.update(id, change, options)
      const state = new Map(Object.entries(found.state).map(([key, value]) => [key, JSON.stringify(value)]))
      for (const [key, text] of change.set) state.set(key, text)
      return store.update(
        id,
        { ...change, clear: change.clear ?? true, set: change.clear === undefined ? state : change.set },
        options,
      )
    },
  }),
  "leaves no tombstone on delete": (store) => ({ delete: (id) => store.delete(id) }),
  "leaves no tombstone by user": (store) => ({
    deleteByUser: (userId, options) => store.deleteByUser(userId, { except: options?.except }),
  }),
  "ignores except": (store) => ({
    deleteByUser: (userId, options) => store.deleteByUser(userId, { tombstone: options?.tombstone }),
  }),
  "follows a privilege change": (store) => ({
    changeId: (oldId, newId, options) =>
      store.changeId(oldId, newId, {
        ...options,
        tombstone: { ...options.tombstone, privilegeChanged: false },
      }),
  }),
  "follows no move": (store) => ({
    delete: async (id, options) => {
      const found = await store.load(id)
      if (found !== undefined && "movedTo" in found) throw new UnknownIdError({ id, gone: found })
      return store.delete(id, options)
    },
  }),
  "follows one move only": (store) => ({
    delete: async (id, options) => {
      const found = await store.load(id)
      const isMoved = found !== undefined && "movedTo" in found && !found.privilegeChanged
      const target = isMoved ? await store.load(found.movedTo) : undefined
      if (target !== undefined && "movedTo" in target) throw new UnknownIdError({ id, gone: target })
      return store.delete(id, options)
    },
  }),
  "follows a move when it is to remove a record": (store) => ({
    delete: async (id, options) => {
      const found = await store.load(id)
      return store.delete(
        found !== undefined && "movedTo" in found && options === undefined ? found.movedTo : id,
        options,
      )
    },
  }),
  "gives no grace": (store) => ({
    changeId: (oldId, newId, options) =>
      store.changeId(oldId, newId, { ...options, tombstone: { ...options.tombstone, grace: 0 } }),
  }),
  "gives grace for ever": (store) => ({
    load: async (id) => {
      const found = await store.load(id)
      return found !== undefined && "movedTo" in found && found.graceExpiresIn === 0
        ? { ...found, graceExpiresIn: 1 }
        : found
    },
  }),
  "keeps the old id alive": (store) => ({
    changeId: async (oldId, newId, options) => {
      const before = await store.load(oldId)
      const written = await store.changeId(oldId, newId, {
        ...options,
        tombstone: { ...options.tombstone, ttl: 1 },
      })
      void before
      return written
    },
  }),
  "forgets the change of a rotation": (store) => ({
    changeId: (oldId, newId, { change: _change, ...options }) => store.changeId(oldId, newId, options),
  }),
  "forgets the user of a change": withChange(({ user: _user, ...change }) => change),
  "forgets the expiry of a change": withChange(({ expiry: _expiry, ...change }) => change),
  "resets the user at each update": withChange((change) => ({
    user: { userId: null, label: null, absoluteTtl: null },
    ...change,
  })),
  "resets the expiry at each update": withChange((change) => ({
    expiry: { idleTtl: 3_600_000, fixedTtl: null, cookieKind: null },
    ...change,
  })),
  "ignores clear": withChange(({ clear: _clear, ...change }) => change),
  "clears what is excepted": withChange((change) => ({
    ...change,
    clear: change.clear === undefined ? undefined : true,
  })),
  "ignores remove": withChange((change) => ({ ...change, remove: new Set() })),
  "touches on load": (store) => ({
    load: async (id) => {
      await store.updateTtl(id).catch(() => undefined)
      return store.load(id)
    },
  }),
  "does not extend on update": (store) => ({
    update: async (id, change, options) => {
      const found = await store.load(id)
      const left = found !== undefined && "state" in found ? found.expiresIn : 0
      return { ...(await store.update(id, change, options)), expiresIn: left }
    },
  }),
  "does not extend on a touch": (store) => ({
    updateTtl: async (id) => {
      const found = await store.load(id)
      if (found === undefined || !("state" in found)) return store.updateTtl(id)
      return { version: found.version, expiresIn: found.expiresIn }
    },
  }),
  "counts the version at a touch": (store) => ({
    updateTtl: (id) => store.update(id, { set: new Map(), remove: new Set() }),
  }),
  "lives a millisecond too long": (store, clock) => ({
    load: async (id) => {
      const found = await store.load(id)
      if (found !== undefined) return found
      clock.advance(-1)
      const expired = await store.load(id)
      clock.advance(1)
      return expired
    },
  }),
  "goes by the shape of a plain object": edit((record) => {
    const state: Record<string, JsonValue> = {}
    for (const key of Object.keys(record.state)) state[key] = record.state[key] as JsonValue
    return { ...record, state }
  }),
  "shares the state it hands out": (store) => {
    const kept = new Map<string, SessionRecord["state"]>()
    return {
      load: async (id) => {
        const found = await store.load(id)
        if (found === undefined || !("state" in found)) return found
        const old = kept.get(id)
        const state =
          old !== undefined && Object.keys(found.state).every((key) => key in old) ? old : found.state
        kept.set(id, state)
        return { ...found, state }
      },
    }
  },
  "loses NUL": edit((record) => replaceText(record, "\\u0000", "")),
  "loses lone surrogates": edit((record) => replaceText(record, /\\ud[89a-f][0-9a-f]{2}/g, "\\ufffd")),
  "rounds numbers to fifteen digits": edit((record) =>
    mapValues(record, (value) => (typeof value === "number" ? Number(value.toPrecision(15)) : value)),
  ),
  "cuts strings at 65535 characters": edit((record) =>
    mapValues(record, (value) => (typeof value === "string" ? value.slice(0, 65_535) : value)),
  ),
  "treats keys as paths": withChange((change) => ({
    ...change,
    set: new Map([...change.set].map(([key, text]) => [key.split(".")[0] as string, text])),
  })),
  "compares user names without case": (store) => ({
    listByUser: async (userId) => [
      ...(await store.listByUser(userId)),
      ...(userId === userId.toUpperCase() ? [] : await store.listByUser(userId.toUpperCase())),
    ],
  }),
  "lists in no order": (store) => ({
    listByUser: async (userId) => (await store.listByUser(userId)).toReversed(),
  }),
  "ignores the sweep's limit": (store) => ({ deleteExpired: () => store.deleteExpired() }),
  "sweeps nothing": (_store) => ({ deleteExpired: async () => 0 }),
  "sweeps nothing but says so": (_store) => ({ deleteExpired: async () => 3 }),
  "says undefined for what has ended": (store) => ({
    load: async (id) => {
      const found = await store.load(id)
      return found !== undefined && "ended" in found ? undefined : found
    },
  }),
  "deletes without complaint": (store) => ({
    delete: (id, options) => store.delete(id, options).catch(() => undefined),
  }),
  "reports no trace in its errors": (store) => ({
    update: (id, change, options) =>
      store.update(id, change, options).catch((error: unknown) => {
        throw error instanceof UnknownIdError ? new UnknownIdError({ id }) : error
      }),
  }),
  "deletes by a list it has read": (store) => ({
    deleteByUser: async (userId, options) => {
      const list = await store.listByUser(userId)
      await new Promise((resolve) => setTimeout(resolve, 1))
      let count = 0
      for (const { id } of list) {
        if (id === options?.except) continue
        const found = await store.load(id)
        if (found === undefined || !("state" in found)) continue
        await store.delete(id, options?.tombstone === undefined ? {} : { tombstone: options.tombstone })
        count += 1
      }
      return count
    },
  }),
  "rotates in two steps": (store) => ({
    changeId: async (oldId, newId, options) => {
      const found = await store.load(oldId)
      if (found === undefined || !("state" in found)) return store.changeId(oldId, newId, options)
      await Promise.resolve()
      await store.delete(oldId).catch(() => undefined)
      await store.create(newId, {
        state: new Map(Object.entries(found.state).map(([key, value]) => [key, JSON.stringify(value)])),
        userId: found.userId,
        label: found.label,
        idleTtl: found.idleTtl,
        fixedTtl: found.fixedExpiresIn,
        cookieKind: found.cookieKind,
        absoluteTtl: found.absoluteExpiresIn,
      })
      return { version: 2, expiresIn: found.expiresIn }
    },
  }),
}

/** What an operation does when it takes a deadline for the last millisecond of a record. */
function late(
  operation: "update" | "updateTtl" | "changeId" | "delete" | "create" | "listByUser" | "deleteByUser",
): (store: SessionStore, clock: FakeClock) => Partial<SessionStore> {
  return (store, clock) => ({
    [operation]: (...input: unknown[]) => {
      clock.advance(-1)
      try {
        return (store[operation] as (...values: unknown[]) => Promise<unknown>)(...input)
      } finally {
        clock.advance(1)
      }
    },
  })
}

/** Each is caught by the one law that was made for it. */
const narrowMutants: Record<string, readonly [law: string, ReturnType<typeof late>]> = {
  "updates a record at its deadline": ["update: a record can be had", late("update")],
  "touches a record at its deadline": ["updateTtl: a record can be had", late("updateTtl")],
  "rotates a record at its deadline": ["changeId: a record can be had", late("changeId")],
  "ends a record at its deadline": ["delete: a record can be had", late("delete")],
  "keeps an id taken at its deadline": ["create: an id is free", late("create")],
  "lists a session at its deadline": ["listByUser and deleteByUser: know", late("listByUser")],
  "ends a user's session at its deadline": ["listByUser and deleteByUser: know", late("deleteByUser")],
  "sweeps too early": [
    "deleteExpired: takes a record at its deadline",
    (store, clock) => ({
      deleteExpired: async (options) => {
        clock.advance(1)
        const removed = store.deleteExpired(options)
        clock.advance(-1)
        return removed
      },
    }),
  ],
  "touches what it does not rotate": [
    "changeId: refused for its version",
    (store) => ({
      changeId: async (oldId, newId, options) => {
        await store.updateTtl(oldId).catch(() => undefined)
        return store.changeId(oldId, newId, options)
      },
    }),
  ],
  "forgets the expiry of a rotation": [
    "changeId: a change of expiry",
    (store) => ({
      changeId: (oldId, newId, { change, ...options }) =>
        store.changeId(oldId, newId, { ...options, change: change && { ...change, expiry: undefined } }),
    }),
  ],
  "keeps a user's tombstones too long": [
    "deleteByUser: keeps its tombstones",
    (store) => ({
      deleteByUser: (userId, { tombstone, ...options } = {}) =>
        store.deleteByUser(userId, { ...options, tombstone: tombstone && { ttl: tombstone.ttl + 1 } }),
    }),
  ],
  "frees an old id when the session is gone": [
    "create: the id of a session that moved is refused, though",
    (store) => ({
      create: async (id, record) => {
        const found = await store.load(id)
        const isFree =
          found !== undefined && "movedTo" in found && (await store.load(found.movedTo)) === undefined
        if (!isFree) await store.create(id, record)
      },
    }),
  ],
  "remembers the first sign-in only": [
    "update: signing in again",
    (store) => {
      const first = new Map<string, Date>()
      return edit((record) => {
        if (record.signedInAt === null) return record
        const name = record.createdAt.toISOString()
        const signedInAt = first.get(name) ?? record.signedInAt
        first.set(name, signedInAt)
        return { ...record, signedInAt }
      })(store)
    },
  ],
}

function mapValues(record: SessionRecord, map: (value: JsonValue) => JsonValue): SessionRecord {
  const state: Record<string, JsonValue> = {}
  for (const key of Object.keys(record.state)) define(state, key, map(record.state[key] as JsonValue))
  return { ...record, state }
}

function replaceText(record: SessionRecord, pattern: string | RegExp, by: string): SessionRecord {
  return {
    ...record,
    state: JSON.parse(JSON.stringify(record.state).replaceAll(pattern, by)) as SessionRecord["state"],
  }
}

const WEAK = { compareAndSet: false, userIndex: false, merge: false, atomicRotation: false }

/** Refuses what it does not claim. */
function weak(store: SessionStore): Partial<SessionStore> {
  const refuse = (capability: string) => () => Promise.reject(new CapabilityError("no", { capability }))
  return {
    update: (id, change, options) =>
      options?.ifVersion === undefined ? store.update(id, change) : refuse("compareAndSet")(),
    changeId: (oldId, newId, options) => {
      if (options.ifVersion !== undefined) return refuse("compareAndSet")()
      return options.tombstone.grace > 0 ? refuse("atomicRotation")() : store.changeId(oldId, newId, options)
    },
    listByUser: refuse("userIndex"),
    deleteByUser: refuse("userIndex"),
  }
}

test("there are more than a hundred laws, each with a name of its own", () => {
  const names = storeConformance(() => Promise.reject(new Error("not opened"))).map(({ name }) => name)
  expect(names.length).toBeGreaterThan(150)
  expect(new Set(names).size).toBe(names.length)
})

test("the memory store breaks none", async () => {
  expect(await brokenLaws(() => ({}))).toEqual([])
})

describe("a store that is wrong in one way breaks a law", () => {
  test.each(Object.entries(mutants))("%s", async (_name, breakStore) => {
    expect(await brokenLaws(breakStore)).not.toEqual([])
  })
})

describe("a store that is wrong by little breaks the law that was made for it", () => {
  test.each(Object.entries(narrowMutants))("%s", async (_name, [law, breakStore]) => {
    const broken = await brokenLaws(breakStore)
    expect(broken).toEqual(expect.arrayContaining([expect.stringContaining(law)]))
  })
})

test("what a store does not claim is not asked of it, but the refusal is", async () => {
  expect(await brokenLaws(weak, { capabilities: WEAK })).toEqual([])
  expect(await brokenLaws(() => ({}), { capabilities: WEAK })).toEqual([
    "update and changeId: ifVersion is refused by a store that cannot compare and set",
    "listByUser and deleteByUser: are refused by a store without an index of users",
    "changeId: grace is refused by a store that cannot rotate in one step",
  ])
})

test("a store that refuses what it does not claim for another reason breaks the law of its refusal", async () => {
  const misled = (store: SessionStore): Partial<SessionStore> => {
    const refuse = () => Promise.reject(new CapabilityError("no", { capability: "merge" }))
    return {
      update: (id, change, options) =>
        options?.ifVersion === undefined ? store.update(id, change) : refuse(),
      changeId: (oldId, newId, options) =>
        options.tombstone.grace > 0 || options.ifVersion !== undefined
          ? refuse()
          : store.changeId(oldId, newId, options),
      listByUser: refuse,
      deleteByUser: refuse,
    }
  }
  expect(await brokenLaws(misled, { capabilities: WEAK })).toHaveLength(3)
})

test("a store that does not look whether an id is taken is spared what follows from it, and nothing else", async () => {
  const blind = (store: SessionStore): Partial<SessionStore> => ({
    ...weak(store),
    create: async (id, record) => {
      await store.delete(id).catch(() => undefined)
      await store.create(id, record)
    },
  })
  expect(await brokenLaws(blind, { capabilities: WEAK })).toContain(
    "create: a live id is refused, and its record stays",
  )
  expect(await brokenLaws(blind, { capabilities: WEAK, checksIds: false })).toEqual([])
})

test("a store that reads, changes and writes is raced on one connection, and others on two", async () => {
  const connections = async (capabilities: ConformanceOptions["capabilities"]): Promise<number> => {
    let count = 0
    const open = () => {
      const clock = fakeClock()
      const store = memoryStore({ clock })
      const connect = async () => {
        count += 1
        return store
      }
      return { store, precise: true, advance: clock.advance, connect, close: () => undefined }
    }
    const races = storeConformance(open, { capabilities }).filter(({ name }) =>
      name.startsWith("G5: delete racing"),
    )
    for (const { run } of races) await run()
    return count
  }
  expect(await connections({})).toBeGreaterThan(0)
  expect(await connections({ merge: false, compareAndSet: false })).toBe(0)
})

test("a store whose time does not stand still is spared the laws to the millisecond", () => {
  const open = () => Promise.reject(new Error("not opened"))
  const all = storeConformance(open)
  const loose = storeConformance(open, { precise: false, extras: [] })
  expect(loose.length).toBeLessThan(all.length)
  expect(loose.length).toBeGreaterThan(120)
})

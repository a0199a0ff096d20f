import { describe, expect, test } from "vitest"
import { UnknownIdError } from "../errors.ts"
import type { Change, NewRecord, SessionStore, Written } from "../store.ts"
import { spyStore } from "./spy-store.ts"

const record: NewRecord = {
  state: new Map(),
  userId: null,
  label: null,
  idleTtl: 1000,
  fixedTtl: null,
  cookieKind: null,
  absoluteTtl: 2000,
}
const change: Change = { set: new Map(), remove: new Set() }
const written: Written = { version: 2, expiresIn: 1000 }

/** A store that does nothing but write down what reaches it. */
function innerStore(): SessionStore & { calls: unknown[][] } {
  const calls: unknown[][] = []
  const answer =
    <T>(name: string, value: T) =>
    (...args: unknown[]): Promise<T> => {
      calls.push([name, ...args])
      return Promise.resolve(value)
    }
  return {
    calls,
    name: "inner",
    capabilities: {
      merge: true,
      compareAndSet: true,
      promptRevocation: true,
      userIndex: true,
      atomicRotation: true,
      clock: "app",
    },
    create: answer("create", undefined),
    load: answer("load", undefined),
    update: answer("update", written),
    updateTtl: answer("updateTtl", written),
    changeId: answer("changeId", written),
    delete: answer("delete", undefined),
    deleteExpired: answer("deleteExpired", 3),
    listByUser: answer("listByUser", []),
    deleteByUser: answer("deleteByUser", 4),
  }
}

describe("the log", () => {
  test("names each operation with its ids, its arguments and what became of it, in order", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    const tombstone = { ttl: 1, grace: 0, privilegeChanged: false }
    await store.create("a", record)
    await store.load("a")
    await store.update("a", change, { ifVersion: 1 })
    await store.updateTtl("a")
    await store.changeId("a", "b", { tombstone })
    await store.delete("b", { tombstone: { ttl: 1 } })
    await store.deleteExpired({ limit: 5 })
    await store.listByUser("u")
    await store.deleteByUser("u", { except: "b" })

    expect(store.log.map(({ operation, ids, outcome }) => [operation, ...ids, outcome])).toEqual([
      ["create", "a", "resolved"],
      ["load", "a", "resolved"],
      ["update", "a", "resolved"],
      ["updateTtl", "a", "resolved"],
      ["changeId", "a", "b", "resolved"],
      ["delete", "b", "resolved"],
      ["deleteExpired", "resolved"],
      ["listByUser", "u", "resolved"],
      ["deleteByUser", "u", "resolved"],
    ])
    expect(store.operations()).toEqual(inner.calls.map(([name]) => name))
    expect(store.log.map(({ operation, args }) => [operation, ...args])).toEqual(inner.calls)
    expect(store.log[2]?.value).toBe(written)
  })

  test("shows a call as pending until it settles, and what it rejected with", async () => {
    const failure = new UnknownIdError({ id: "a" })
    const store = spyStore({ ...innerStore(), load: () => Promise.reject(failure) })
    const loading = store.load("a")
    expect(store.log[0]?.outcome).toBe("pending")
    await expect(loading).rejects.toBe(failure)
    expect(store.log[0]).toMatchObject({ outcome: "rejected", error: failure })
  })

  test("passes optional arguments on as they were given", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    await store.load("a")
    await store.load("a", { fresh: true })
    await store.update("a", change)
    await store.delete("a")
    await store.deleteExpired()
    await store.deleteByUser("u")
    expect(inner.calls).toEqual([
      ["load", "a"],
      ["load", "a", { fresh: true }],
      ["update", "a", change],
      ["delete", "a"],
      ["deleteExpired"],
      ["deleteByUser", "u"],
    ])
  })

  test("reaches the store in the same turn, so that a spy changes no race", () => {
    const inner = innerStore()
    void spyStore(inner).load("a")
    expect(inner.calls).toHaveLength(1)
  })

  test("speaks for the store it spies on", () => {
    const inner = innerStore()
    const store = spyStore(inner)
    expect(store.name).toBe("inner")
    expect(store.capabilities).toBe(inner.capabilities)
  })
})

describe("a store that follows", () => {
  test("is spied on through what it hands out, in the same log and with the same faults", async () => {
    const inner = innerStore()
    const following = { ...innerStore(), name: "following", bookmark: "b2" }
    const store = spyStore({
      ...inner,
      follow(bookmark) {
        inner.calls.push(["follow", bookmark])
        return following
      },
    })
    const followed = store.follow?.("b1")
    expect(followed?.name).toBe("following")
    expect(followed?.capabilities).toBe(following.capabilities)
    expect(followed?.bookmark).toBe("b2")
    following.bookmark = "b3"
    expect(followed?.bookmark).toBe("b3")
    await followed?.load("a", { fresh: true })
    await store.load("b")
    store.failNext("update")
    await expect(followed?.update("a", change)).rejects.toThrow("update failed")
    expect(inner.calls).toEqual([
      ["follow", "b1"],
      ["load", "b"],
    ])
    expect(following.calls).toEqual([["load", "a", { fresh: true }]])
    expect(store.operations()).toEqual(["follow", "load", "load", "update"])
    expect(store.log[0]).toMatchObject({ ids: [], args: ["b1"], outcome: "resolved", value: following })
  })

  test("is one only if the store that is spied on is", () => {
    expect("follow" in spyStore(innerStore())).toBe(false)
  })
})

describe("faults", () => {
  test("failNext rejects one call, which changes nothing", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    const failure = new Error("down")
    store.failNext("update", failure)
    store.failNext("update")
    await expect(store.update("a", change)).rejects.toBe(failure)
    await expect(store.update("a", change)).rejects.toThrow("update failed")
    expect(inner.calls).toEqual([])
    expect(await store.update("a", change)).toBe(written)
  })

  test("loseNext carries a call out and rejects all the same", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    store.loseNext("create")
    await expect(store.create("a", record)).rejects.toThrow("response of create was lost")
    expect(inner.calls).toHaveLength(1)
    expect(store.log[0]?.outcome).toBe("rejected")
  })

  test("a fault of one operation leaves the others alone", async () => {
    const store = spyStore(innerStore())
    store.failNext("delete")
    await expect(store.load("a")).resolves.toBeUndefined()
    await expect(store.delete("a")).rejects.toThrow("delete failed")
  })

  test("delay makes every call of the operation wait for a time, until it is ended", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    store.delay("load", 30)
    const began = performance.now()
    await store.load("a")
    await store.load("b")
    expect(performance.now() - began).toBeGreaterThan(50)
    store.delay("load", 0)
    void store.load("c")
    expect(inner.calls).toHaveLength(3)
  })

  test("delay makes calls wait for a promise", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    const { promise, resolve } = Promise.withResolvers<void>()
    store.delay("load", promise)
    const loading = store.load("a")
    await Promise.resolve()
    expect(inner.calls).toEqual([])
    resolve()
    await loading
    expect(inner.calls).toHaveLength(1)
  })

  test("hold keeps one call before it is carried out until it is released", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    const hold = store.hold("update")
    const updating = store.update("a", change)
    await hold.reached
    expect(inner.calls).toEqual([])
    await store.update("b", change)
    expect(inner.calls).toEqual([["update", "b", change]])
    hold.release()
    await updating
    expect(inner.calls).toHaveLength(2)
  })

  test("hold after keeps the caller waiting for what has happened", async () => {
    const inner = innerStore()
    const store = spyStore(inner)
    const hold = store.hold("update", "after")
    const updating = store.update("a", change)
    await hold.reached
    expect(inner.calls).toHaveLength(1)
    expect(store.log[0]?.outcome).toBe("pending")
    hold.release()
    expect(await updating).toBe(written)
  })

  test("reset forgets the log and the faults, and releases what is held", async () => {
    const store = spyStore(innerStore())
    store.failNext("load")
    store.delay("load", 10_000)
    const held = store.hold("delete")
    store.hold("create")
    const deleting = store.delete("a")
    await held.reached
    store.reset()
    await deleting
    expect(store.log).toEqual([])
    await store.load("a")
    await store.create("a", record)
    expect(store.operations()).toEqual(["load", "create"])
  })
})

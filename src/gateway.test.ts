import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { createDiagnostics, type SessionEvent } from "./diagnostics.ts"
import { RecordCorruptError, StoreError, UnknownIdError } from "./errors.ts"
import { Gateway } from "./gateway.ts"
import type { Change, ChangeIdOptions, FollowingStore, NewRecord, SessionStore } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"
import { spyStore, type StoreOperation } from "./testing/spy-store.ts"

const record = {} as NewRecord
const change = {} as Change
const changeId = {} as ChangeIdOptions

/** Every operation, with the arguments it is to hand on. */
const CALLS: readonly (readonly [
  StoreOperation,
  (gateway: Gateway) => Promise<unknown>,
  readonly unknown[],
])[] = [
  ["create", (g) => g.create("a", record), ["a", record]],
  ["load", (g) => g.load("a", { fresh: true }), ["a", { fresh: true }]],
  ["update", (g) => g.update("a", change, { ifVersion: 1 }), ["a", change, { ifVersion: 1 }]],
  ["updateTtl", (g) => g.updateTtl("a"), ["a"]],
  ["changeId", (g) => g.changeId("a", "b", changeId), ["a", "b", changeId]],
  ["delete", (g) => g.delete("a", { tombstone: { ttl: 1 } }), ["a", { tombstone: { ttl: 1 } }]],
  ["deleteExpired", (g) => g.deleteExpired({ limit: 5 }), [{ limit: 5 }]],
  ["listByUser", (g) => g.listByUser("u"), ["u"]],
  ["deleteByUser", (g) => g.deleteByUser("u", { except: "a" }), ["u", { except: "a" }]],
]

/** A gateway to a store whose operations all do this. */
function gatewayTo(
  answer: (operation: string, args: readonly unknown[]) => unknown,
  timeout = 1000,
): { gateway: Gateway; events: SessionEvent[] } {
  const events: SessionEvent[] = []
  const inner = memoryStore()
  const store = new Proxy(inner, {
    get(target, name) {
      if (name === "name" || name === "capabilities") return Reflect.get(target, name)
      return (...args: unknown[]) => answer(String(name), args)
    },
  })
  const diagnostics = createDiagnostics({ onEvent: (event) => events.push(event) })
  return { gateway: new Gateway(store, timeout, diagnostics), events }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test("shows the name and the capabilities of its store", () => {
  const store: SessionStore = memoryStore()
  const { gateway } = gatewayTo(() => undefined)
  expect(gateway.name).toBe("memory")
  expect(gateway.capabilities).toEqual(store.capabilities)
})

describe.each(CALLS)("%s", (operation, call, args) => {
  test("is handed on, with its answer, and leaves no timer", async () => {
    const seen: unknown[] = []
    const { gateway, events } = gatewayTo(async (...given) => {
      seen.push(given)
      return "answer"
    })
    expect(await call(gateway)).toBe("answer")
    expect(seen).toEqual([[operation, args]])
    expect(events).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each<[what: string, fail: () => unknown, cause: unknown]>([
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
    ["rejects with null", () => Promise.reject(null), null],
  ])("G11: a store that %s gives a StoreError and an event", async (_what, fail, cause) => {
    const { gateway, events } = gatewayTo(fail)
    const error = await call(gateway).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ operation, store: "memory" })
    expect((error as Error).cause).toEqual(cause)
    expect((error as Error).message).toBe(`The session store memory: ${operation} failed; see cause.`)
    expect(events).toEqual([{ type: "store-failed", operation, error }])
    expect(vi.getTimerCount()).toBe(0)
  })

  test("G11: a store that does not answer in time gives a StoreError; what it says later is not heard", async () => {
    const late = Promise.withResolvers<unknown>()
    const { gateway, events } = gatewayTo(() => late.promise, 500)
    const answer = call(gateway).catch((thrown: unknown) => thrown)
    await vi.advanceTimersByTimeAsync(499)
    expect(events).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    const error = await answer
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ operation, store: "memory" })
    expect((error as Error).message).toBe(
      `The session store memory: ${operation} did not answer within 500 ms (storeTimeout): it cannot be reached, is overloaded, or its client has no free connection.`,
    )
    expect(events).toEqual([{ type: "store-failed", operation, error }])
    late.reject(new Error("too late"))
    await vi.advanceTimersByTimeAsync(1)
    expect(events).toHaveLength(1)
  })

  test("a store that answers or fails after a while leaves no timer", async () => {
    const answer = Promise.withResolvers<string>()
    const slow = call(gatewayTo(() => answer.promise).gateway)
    await vi.advanceTimersByTimeAsync(10)
    expect(vi.getTimerCount()).toBe(1)
    answer.resolve("answer")
    expect(await slow).toBe("answer")
    const failure = Promise.withResolvers<never>()
    const failing = call(gatewayTo(() => failure.promise).gateway).catch((thrown: unknown) => thrown)
    await vi.advanceTimersByTimeAsync(10)
    failure.reject(new Error("down"))
    expect(await failing).toMatchObject({ name: "StoreError", cause: { message: "down" } })
    expect(vi.getTimerCount()).toBe(0)
  })

  test("an error of the contract comes through as it is, and only a StoreError is an event", async () => {
    const unknown = new UnknownIdError({ id: "a" })
    const { gateway, events } = gatewayTo(() => Promise.reject(unknown))
    await expect(call(gateway)).rejects.toBe(unknown)
    const corrupt = new RecordCorruptError("m", { id: "a", store: "memory" })
    await expect(call(gatewayTo(() => Promise.reject(corrupt)).gateway)).rejects.toBe(corrupt)
    expect(events).toEqual([])
    const own = new StoreError("m", { operation: "of my own", store: "mine" })
    const failing = gatewayTo(() => Promise.reject(own))
    await expect(call(failing.gateway)).rejects.toBe(own)
    expect(failing.events).toEqual([{ type: "store-failed", operation, error: own }])
  })
})

describe("a store for one request", () => {
  const diagnostics = createDiagnostics({})

  test("is the store itself where it is the same for all", () => {
    const gateway = new Gateway(memoryStore(), 1000, diagnostics)
    expect(gateway.follow("b1")).toBe(gateway)
    expect(gateway.follows).toBe(false)
    expect(gateway.bookmark).toBeUndefined()
  })

  test("is asked with the bookmark, and gets the same care", async () => {
    const asked: unknown[] = []
    const load = (): Promise<never> => new Promise(() => undefined)
    const follow = (bookmark: string | undefined): FollowingStore => {
      asked.push(bookmark)
      return { ...memoryStore(), name: "replica", load, bookmark: "b2" }
    }
    const gateway = new Gateway({ ...memoryStore(), follow }, 500, diagnostics)
    expect(gateway.follows).toBe(true)
    const following = gateway.follow("b1")
    expect(asked).toEqual(["b1"])
    expect(following.bookmark).toBe("b2")
    const answer = following.load("a").catch((thrown: unknown) => thrown)
    await vi.advanceTimersByTimeAsync(500)
    expect(await answer).toMatchObject({ name: "StoreError", operation: "load", store: "replica" })
  })

  test("that cannot be had is a StoreError and an event", () => {
    const { gateway, events } = gatewayTo(() => {
      throw new Error("down")
    })
    expect(() => gateway.follow(undefined)).toThrow(StoreError)
    expect(events).toMatchObject([{ type: "store-failed", operation: "follow" }])
  })

  test.each([
    ["empty", ""],
    ["too long", "x".repeat(257)],
    ["not ASCII", "bücher"],
    ["of several lines", "a\nb"],
    ["no text", null],
  ])("has no bookmark if it is %s, which is warned of once", (_what, bookmark) => {
    const warnings: string[] = []
    const onWarning = (_message: string, code: string): void => void warnings.push(code)
    const follow = (): FollowingStore => ({ ...memoryStore(), bookmark: bookmark as string })
    const gateway = new Gateway({ ...memoryStore(), follow }, 1000, createDiagnostics({ onWarning }))
    for (let request = 0; request < 3; request++) expect(gateway.follow(undefined).bookmark).toBeUndefined()
    expect(warnings).toEqual(["COATCHECK_BOOKMARK"])
  })

  test.each([
    ["reads what is", {}, true, false],
    ["may show a revoked session", {}, false, true],
    ["follows", { follow: () => ({ ...memoryStore(), bookmark: undefined }) }, true, true],
  ])("whether a read may lag: a store that %s", (_what, more, promptRevocation, mayLag) => {
    const inner = memoryStore()
    const store = { ...inner, ...more, capabilities: { ...inner.capabilities, promptRevocation } }
    expect(new Gateway(store, 1000, diagnostics).mayLag).toBe(mayLag)
  })
})

test("a timeout beyond what a timer can hold does not end at once", async () => {
  const { gateway, events } = gatewayTo(() => new Promise(() => undefined), 100 * 365 * 86_400_000)
  const answer = gateway.load("a").catch((thrown: unknown) => thrown)
  await vi.advanceTimersByTimeAsync(1_000_000)
  expect(events).toEqual([])
  await vi.advanceTimersByTimeAsync(2 ** 31)
  expect(await answer).toBeInstanceOf(StoreError)
})

test("calls do not wait for each other", async () => {
  const spied = spyStore(memoryStore())
  const gateway = new Gateway(spied, 1000, createDiagnostics({}))
  const hold = spied.hold("load")
  const slow = gateway.load("a")
  await hold.reached
  expect(await gateway.listByUser("u")).toEqual([])
  hold.release()
  expect(await slow).toBeUndefined()
})

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { createDiagnostics, type SessionEvent } from "./diagnostics.ts"
import { Gateway } from "./gateway.ts"
import { memoryStore } from "./stores/memory.ts"
import { startSweeper } from "./sweeper.ts"

const MINUTE = 60_000

/** A sweeper over a store whose batches remove what `batches` says, one after the other, and then nothing. */
function sweeper(
  batches: (number | Error | Promise<number>)[],
  every = MINUTE,
): { stop: () => void; limits: unknown[]; events: SessionEvent[] } {
  const limits: unknown[] = []
  const events: SessionEvent[] = []
  const store = memoryStore()
  store.deleteExpired = async (options) => {
    limits.push(options?.limit)
    const batch = batches.shift() ?? 0
    if (batch instanceof Error) throw batch
    return batch
  }
  const diagnostics = createDiagnostics({ onEvent: (event) => events.push(event) })
  const gateway = new Gateway(store, 1000, diagnostics)
  return { stop: startSweeper({ every, limit: 10, gateway, diagnostics }), limits, events }
}

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, "random").mockReturnValue(0.5)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test("sweeps every so often, and tells what it removed", async () => {
  const { limits, events } = sweeper([3, 0, 2])
  await vi.advanceTimersByTimeAsync(MINUTE - 1)
  expect(limits).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(limits).toEqual([10])
  expect(events).toEqual([{ type: "swept", count: 3 }])
  await vi.advanceTimersByTimeAsync(2 * MINUTE)
  expect(limits).toEqual([10, 10, 10])
  expect(events).toEqual([
    { type: "swept", count: 3 },
    { type: "swept", count: 2 },
  ])
})

test("goes on with batches until one is not full", async () => {
  const { limits, events } = sweeper([10, 10, 4])
  await vi.advanceTimersByTimeAsync(MINUTE)
  expect(limits).toEqual([10, 10, 10])
  expect(events).toEqual([{ type: "swept", count: 24 }])
})

test("survives errors: what was removed before one is told, and the next sweep comes", async () => {
  const { limits, events } = sweeper([10, new Error("down"), 1])
  await vi.advanceTimersByTimeAsync(MINUTE)
  expect(events).toMatchObject([
    { type: "store-failed", operation: "deleteExpired" },
    { type: "swept", count: 10 },
  ])
  await vi.advanceTimersByTimeAsync(MINUTE)
  expect(limits).toHaveLength(3)
  expect(events.at(-1)).toEqual({ type: "swept", count: 1 })
})

test("survives a store that never answers", async () => {
  const { limits, events } = sweeper([new Promise<number>(() => undefined), 1])
  await vi.advanceTimersByTimeAsync(2 * MINUTE + 2000)
  expect(limits).toHaveLength(2)
  expect(events).toMatchObject([{ type: "store-failed" }, { type: "swept", count: 1 }])
})

describe("stopped", () => {
  test("it sweeps no more", async () => {
    const { stop, limits } = sweeper([])
    await vi.advanceTimersByTimeAsync(MINUTE)
    stop()
    stop()
    await vi.advanceTimersByTimeAsync(10 * MINUTE)
    expect(limits).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test("while it sweeps, it ends after the batch", async () => {
    const batch = Promise.withResolvers<number>()
    const { stop, limits, events } = sweeper([batch.promise, 10])
    await vi.advanceTimersByTimeAsync(MINUTE)
    stop()
    batch.resolve(10)
    await vi.advanceTimersByTimeAsync(10 * MINUTE)
    expect(limits).toHaveLength(1)
    expect(events).toEqual([{ type: "swept", count: 10 }])
    expect(vi.getTimerCount()).toBe(0)
  })
})

test.each([
  [0, 0.9],
  [1, 1.1],
])("the wait differs from process to process: with %d it is %d of the time given", async (random, share) => {
  vi.mocked(Math.random).mockReturnValue(random)
  const { limits } = sweeper([])
  await vi.advanceTimersByTimeAsync(Math.floor(share * MINUTE) - 1)
  expect(limits).toHaveLength(0)
  await vi.advanceTimersByTimeAsync(2)
  expect(limits).toHaveLength(1)
})

test("a wait beyond what a timer can hold does not end at once", async () => {
  const { limits, stop } = sweeper([], 365 * 86_400_000)
  await vi.advanceTimersByTimeAsync(86_400_000)
  expect(limits).toEqual([])
  stop()
})

test("does not keep the process alive, where timers can be told so", () => {
  const timers: { unref?: () => void }[] = [{ unref: vi.fn() }, {}]
  const [unreffed] = timers
  vi.spyOn(globalThis, "setTimeout").mockImplementation(() => timers.shift() as never)
  vi.spyOn(globalThis, "clearTimeout").mockImplementation(() => undefined)
  sweeper([]).stop()
  expect(unreffed?.unref).toHaveBeenCalledOnce()
  expect(() => sweeper([]).stop()).not.toThrow()
})

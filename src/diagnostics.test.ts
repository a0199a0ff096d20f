import { setImmediate } from "node:timers/promises"
import { afterEach, expect, test, vi } from "vitest"
import { createDiagnostics, type SessionEvent } from "./diagnostics.ts"

afterEach(() => vi.unstubAllGlobals())

const event: SessionEvent = { type: "creation-denied" }

test("events go to the listener", () => {
  const seen: SessionEvent[] = []
  const diagnostics = createDiagnostics({ onEvent: (given) => seen.push(given) })
  diagnostics.emit(event)
  diagnostics.emit({ type: "swept", count: 2 })
  expect(seen).toEqual([event, { type: "swept", count: 2 }])
  createDiagnostics({}).emit(event)
})

test("a warning is given once for each code", () => {
  const seen: string[][] = []
  const diagnostics = createDiagnostics({ onWarning: (message, code) => seen.push([code, message]) })
  diagnostics.warn("A", "first")
  diagnostics.warn("A", "second")
  diagnostics.warn("B", "other")
  expect(seen).toEqual([
    ["A", "first"],
    ["B", "other"],
  ])
})

test("by default a warning is one of the process", () => {
  const emitWarning = vi.fn<(message: string, options: object) => void>()
  vi.stubGlobal("process", { ...process, emitWarning })
  const diagnostics = createDiagnostics({})
  diagnostics.warn("A", "message")
  diagnostics.warn("A", "message")
  expect(emitWarning.mock.calls).toEqual([["message", { type: "CoatcheckWarning", code: "A" }]])
})

test.each([undefined, {}])("and where there is no such process, none (%j)", (process) => {
  vi.stubGlobal("process", process)
  expect(() => createDiagnostics({}).warn("A", "message")).not.toThrow()
})

test("a listener of events that throws breaks nothing, and is warned of once", () => {
  const warnings: string[] = []
  const diagnostics = createDiagnostics({
    onEvent: () => {
      throw new Error("event")
    },
    onWarning: (_message, code) => warnings.push(code),
  })
  expect(() => diagnostics.emit(event)).not.toThrow()
  diagnostics.emit(event)
  expect(warnings).toEqual(["COATCHECK_LISTENER_FAILED"])
})

// As listeners whose types say nothing of it.
const rejects = (): unknown => Promise.reject(new Error("later"))
const resolves = (): unknown => Promise.resolve()
// oxlint-disable-next-line unicorn/no-thenable -- promises of other kinds are what this is about
const thenable = (then: (_: unknown, no: () => void) => void) => (): unknown => ({ then })
const throws = (): never => {
  throw new Error("then")
}

test.each([
  ["an asynchronous one that rejects", rejects],
  ["a promise of another kind that rejects", thenable((_, no) => no())],
  ["a promise of another kind that throws", thenable(throws)],
])(
  "a listener of events that fails later leaves no rejection behind, and is warned of: %s",
  async (_kind, onEvent) => {
    const warnings: string[] = []
    const onWarning = (_message: string, code: string): void => void warnings.push(code)
    const diagnostics = createDiagnostics({ onEvent, onWarning })
    diagnostics.emit(event)
    diagnostics.emit(event)
    expect(warnings).toEqual([])
    await setImmediate()
    expect(warnings).toEqual(["COATCHECK_LISTENER_FAILED"])
  },
)

test("an asynchronous listener that does not fail is not warned of", async () => {
  const onWarning = vi.fn<() => void>()
  const diagnostics = createDiagnostics({ onEvent: resolves, onWarning })
  diagnostics.emit(event)
  await setImmediate()
  expect(onWarning).not.toHaveBeenCalled()
})

test("a listener of warnings that rejects leaves them to the process", async () => {
  const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined)
  createDiagnostics({ onWarning: rejects }).warn("A", "message")
  await setImmediate()
  expect(emitWarning).toHaveBeenCalledExactlyOnceWith("message", { type: "CoatcheckWarning", code: "A" })
  emitWarning.mockRestore()
})

test("a listener of warnings that throws leaves them to the process", () => {
  const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined)
  const diagnostics = createDiagnostics({
    onWarning: () => {
      throw new Error("warning")
    },
  })
  expect(() => diagnostics.warn("A", "message")).not.toThrow()
  expect(emitWarning).toHaveBeenCalledExactlyOnceWith("message", { type: "CoatcheckWarning", code: "A" })
  emitWarning.mockRestore()
})

import { afterEach, expect, test } from "vitest"
import { primitives, usePrimitives } from "./index.ts"
import { primitives as node } from "./node.ts"
import { primitives as noble } from "./noble.ts"

const atStart = primitives()
afterEach(() => usePrimitives(atStart))

test("Node.js uses its own cryptography unasked", () => {
  expect(primitives()).toBe(node)
})

test("importing the opt-in entry for its effect chooses node:crypto", async () => {
  usePrimitives(noble)
  expect(primitives().name).toBe("@noble")
  await import("./opt-in-node.ts")
  expect(primitives()).toBe(node)
})

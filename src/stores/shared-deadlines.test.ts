import fc from "fast-check"
import { expect, test } from "vitest"
import { DeadlineQueue } from "./shared-deadlines.ts"

test("the first is always one with the earliest deadline, whatever was added and removed", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ remove: fc.nat({ max: 99 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const queue = new DeadlineQueue<{ deadline: number; place: number }>()
      const held: { deadline: number; place: number }[] = []
      for (const each of steps) {
        if ("add" in each) {
          const entry = { deadline: each.add, place: 0 }
          held.push(entry)
          queue.add(entry)
        } else {
          const [entry] = held.length === 0 ? [] : held.splice(each.remove % held.length, 1)
          if (entry !== undefined) queue.remove(entry)
        }
        expect(queue.first()?.deadline).toBe(
          held.length === 0 ? undefined : Math.min(...held.map((x) => x.deadline)),
        )
      }
    }),
    { numRuns: 500 },
  )
})

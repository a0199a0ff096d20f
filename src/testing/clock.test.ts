import { expect, test } from "vitest"
import { fakeClock } from "./clock.ts"

test("a fake clock stands still at the start of 2030 unless told otherwise", () => {
  const clock = fakeClock()
  expect(new Date(clock()).toISOString()).toBe("2030-01-01T00:00:00.000Z")
  expect(clock()).toBe(clock.now())
})

test("a fake clock starts at a date or a number of milliseconds", () => {
  expect(fakeClock(new Date("2031-02-03"))()).toBe(Date.UTC(2031, 1, 3))
  expect(fakeClock(0)()).toBe(0)
})

test("a fake clock advances by durations and by milliseconds, and back", () => {
  const clock = fakeClock(1000)
  clock.advance("15m")
  expect(clock()).toBe(901_000)
  clock.advance(500)
  clock.advance(0)
  clock.advance(-1500)
  expect(clock()).toBe(900_000)
})

test("a fake clock is set to a time", () => {
  const clock = fakeClock()
  clock.set(new Date(7))
  expect(clock.now()).toBe(7)
  clock.set(8)
  expect(clock.now()).toBe(8)
})

test("what is no time is refused, and changes nothing", () => {
  const clock = fakeClock(1)
  expect(() => clock.advance("soon" as "1s")).toThrow(TypeError)
  expect(() => clock.advance(Number.NaN)).toThrow(TypeError)
  expect(() => clock.set(new Date("never"))).toThrow(TypeError)
  expect(() => fakeClock(Number.POSITIVE_INFINITY)).toThrow(TypeError)
  expect(clock()).toBe(1)
})

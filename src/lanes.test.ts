import { expect, test } from "vitest"
import { Lanes } from "./lanes.ts"

const PATIENCE = 10_000

test("tasks of one name run one after the other, in the order of the calls", async () => {
  const lanes = new Lanes()
  const log: string[] = []
  const first = Promise.withResolvers<void>()
  const task = (name: string, wait: Promise<void>) => async (): Promise<string> => {
    log.push(`${name} starts`)
    await wait
    log.push(`${name} ends`)
    return name
  }
  const results = ["a", "b", "c"].map((name, index) =>
    lanes.run("lane", task(name, index === 0 ? first.promise : Promise.resolve()), PATIENCE),
  )
  await Promise.resolve()
  expect(log).toEqual(["a starts"])
  first.resolve()
  expect(await Promise.all(results)).toEqual(["a", "b", "c"])
  expect(log).toEqual(["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"])
})

test("tasks of different names do not wait for each other", async () => {
  const lanes = new Lanes()
  const never = lanes.run("slow", () => new Promise<never>(() => undefined), PATIENCE)
  expect(await lanes.run("fast", async () => 1, PATIENCE)).toBe(1)
  expect(never).toBeInstanceOf(Promise)
})

test("a task that fails, or throws at once, does not hold up the next", async () => {
  const lanes = new Lanes()
  const failed = lanes.run("lane", () => Promise.reject(new Error("late")), PATIENCE)
  const thrown = lanes.run(
    "lane",
    () => {
      throw new Error("at once")
    },
    PATIENCE,
  )
  const next = lanes.run("lane", async () => "next", PATIENCE)
  await expect(failed).rejects.toThrow("late")
  await expect(thrown).rejects.toThrow("at once")
  expect(await next).toBe("next")
  expect(await lanes.run("lane", async () => "later", PATIENCE)).toBe("later")
})

test("a task that never ends holds up the next for as long as that has patience, and nobody after it", async () => {
  const lanes = new Lanes()
  const never = lanes.run("lane", () => new Promise<never>(() => undefined), PATIENCE)
  const next = lanes.run("lane", async () => "next", 5)
  const later = lanes.run("lane", async () => "later", PATIENCE)
  expect(await Promise.all([next, later])).toEqual(["next", "later"])
  expect(never).toBeInstanceOf(Promise)
})

import { expect, test } from "vitest"
import { Lanes } from "./lanes.ts"

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
    lanes.run("lane", task(name, index === 0 ? first.promise : Promise.resolve())),
  )
  await Promise.resolve()
  expect(log).toEqual(["a starts"])
  first.resolve()
  expect(await Promise.all(results)).toEqual(["a", "b", "c"])
  expect(log).toEqual(["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"])
})

test("tasks of different names do not wait for each other", async () => {
  const lanes = new Lanes()
  const never = lanes.run("slow", () => new Promise<never>(() => undefined))
  expect(await lanes.run("fast", async () => 1)).toBe(1)
  expect(never).toBeInstanceOf(Promise)
})

test("a task that fails, or throws at once, does not hold up the next", async () => {
  const lanes = new Lanes()
  const failed = lanes.run("lane", () => Promise.reject(new Error("late")))
  const thrown = lanes.run("lane", () => {
    throw new Error("at once")
  })
  const next = lanes.run("lane", async () => "next")
  await expect(failed).rejects.toThrow("late")
  await expect(thrown).rejects.toThrow("at once")
  expect(await next).toBe("next")
  expect(await lanes.run("lane", async () => "later")).toBe("later")
})

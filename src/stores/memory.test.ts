import { describe, expect, test } from "vitest"
import { ConfigError } from "../errors.ts"
import { fakeClock } from "../testing/clock.ts"
import { changing, ended, freshId, newRecord, texts } from "../testing/conformance/kit.ts"
import { storeConformance } from "../testing/store-conformance.ts"
import { memoryStore } from "./memory.ts"

describe("memoryStore keeps the store contract", () => {
  const open = () => {
    const clock = fakeClock()
    const store = memoryStore({ clock })
    return { store, precise: true, advance: clock.advance, close: () => undefined }
  }
  for (const { name, run } of storeConformance(open, { extras: [] })) test(name, run)
})

test("it keeps at most max entries, and forgets the ones unused for longest", async () => {
  const store = memoryStore({ max: 3 })
  const ids = [freshId(), freshId(), freshId()]
  for (const id of ids) await store.create(id, newRecord({ userId: "ann" }))
  await store.update(ids[0] as string, changing({ a: 1 }))
  const fourth = freshId()
  await store.create(fourth, newRecord({ userId: "ann" }))
  expect(await store.load(ids[1] as string)).toBeUndefined()
  expect((await store.listByUser("ann")).map(({ id }) => id).toSorted()).toEqual(
    [ids[0], ids[2], fourth].toSorted(),
  )
})

test("expired entries make room without being asked, and without a timer", async () => {
  const clock = fakeClock()
  const store = memoryStore({ clock })
  for (let index = 0; index < 100; index++) await store.create(freshId(), newRecord({ idleTtl: 1000 }))
  clock.advance(1001)
  for (let index = 0; index < 60; index++) await store.create(freshId(), newRecord())
  expect(await store.deleteExpired()).toBe(0)
})

test("a rotation at the bound keeps the record", async () => {
  const store = memoryStore({ max: 2 })
  const [id, next] = [freshId(), freshId()]
  await store.create(id, newRecord({ state: texts([["a", 1]]) }))
  await store.changeId(id, next, { tombstone: { ttl: 1000, grace: 0, privilegeChanged: false } })
  expect(await store.load(next)).toMatchObject({ state: { a: 1 } })
  await store.delete(next, ended)
  expect(await store.load(next)).toEqual({ ended: true })
})

test("expired entries behind long-lived ones are removed too, so that an abandoned store stays small", async () => {
  const clock = fakeClock()
  const store = memoryStore({ clock })
  for (let index = 0; index < 3; index++) await store.create(freshId(), newRecord({ idleTtl: null }))
  for (let index = 0; index < 1000; index++) {
    await store.create(freshId(), newRecord({ idleTtl: 1000 }))
    clock.advance(500)
  }
  expect(await store.deleteExpired()).toBeLessThan(3)
})

test("expired entries make room before live ones that were unused for longer", async () => {
  const clock = fakeClock()
  const store = memoryStore({ clock, max: 3 })
  const [live, fresh] = [freshId(), freshId()]
  await store.create(live, newRecord())
  await store.create(freshId(), newRecord({ idleTtl: 1000 }))
  await store.create(freshId(), newRecord({ idleTtl: 1000 }))
  clock.advance(1001)
  await store.create(fresh, newRecord())
  expect(await store.load(live)).toBeDefined()
  expect(await store.load(fresh)).toBeDefined()
})

test("a store of one entry keeps the record when it is rotated", async () => {
  const store = memoryStore({ max: 1 })
  const [id, next] = [freshId(), freshId()]
  await store.create(id, newRecord())
  await store.changeId(id, next, { tombstone: { ttl: 1000, grace: 0, privilegeChanged: false } })
  expect(await store.load(next)).toMatchObject({ version: 2 })
})

test("times are whole milliseconds, whatever the clock says", async () => {
  const store = memoryStore({ clock: () => 1000.75 })
  const id = freshId()
  await store.create(id, newRecord({ idleTtl: 500 }))
  expect(await store.load(id)).toMatchObject({ expiresIn: 500, createdAt: new Date(1000) })
})

test.each([
  [{ max: 0 }, "max"],
  [{ max: 1.5 }, "max"],
  [{ max: "1" }, "max"],
  [{ clock: 1 }, "clock"],
])("%j is refused", (options, option) => {
  expect(() => memoryStore(options as object)).toThrow(ConfigError)
  expect(() => memoryStore(options as object)).toThrow(option)
})

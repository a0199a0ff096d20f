import { CapabilityError } from "../errors.ts"
import type { StoreCapabilities } from "../store.ts"
import { edgeLaws } from "./conformance/edges.ts"
import {
  changing,
  contextOf,
  expectEqual,
  expectRejects,
  freshId,
  freshUser,
  type Law,
  move,
  type OpenStore,
  type StoreCase,
} from "./conformance/kit.ts"
import { lifetimeLaws } from "./conformance/lifetimes.ts"
import { raceLaws } from "./conformance/races.ts"
import { recordLaws } from "./conformance/records.ts"
import { rotationLaws } from "./conformance/rotation.ts"
import { endingLaws } from "./conformance/users.ts"
import { valueLaws } from "./conformance/values.ts"

export type { OpenStore, StoreCase, StoreHarness } from "./conformance/kit.ts"

const LAWS: readonly Law[] = [
  ...recordLaws,
  ...valueLaws,
  ...lifetimeLaws,
  ...edgeLaws,
  ...rotationLaws,
  ...endingLaws,
  ...raceLaws,
]

/** What the conformance suite needs to know of a store before it is opened. */
export interface ConformanceOptions {
  /**
   * What the store claims. Default: everything. Laws it does not claim are replaced by the refusal of the call. A store that claims
   * neither `merge` nor `compareAndSet` is raced on one connection only.
   */
  readonly capabilities?: Partial<StoreCapabilities> | undefined
  /** Whether `create` and `changeId` look whether a new id is taken. Default true. */
  readonly checksIds?: boolean | undefined
  /** Whether the harness is `precise`. Default true. */
  readonly precise?: boolean | undefined
  /** Which of the harness's extras there are. Default both. */
  readonly extras?: readonly ("connect" | "corrupt")[] | undefined
}

/**
 * The laws of the store contract, as cases for any test runner: `for (const c of storeConformance(open)) test(c.name, c.run)`.
 * `open` is called once for each case; what it gives is closed when the case is over.
 */
export function storeConformance(open: OpenStore, options: ConformanceOptions = {}): StoreCase[] {
  const { capabilities = {}, checksIds = true, precise = true, extras = ["connect", "corrupt"] } = options
  const claimed: Readonly<Record<string, unknown>> = { ...capabilities, checksIds }
  const applies = (law: Law): boolean =>
    (law.needs === undefined || claimed[law.needs] !== false) &&
    (precise || law.precise !== true) &&
    (law.uses === undefined || extras.includes(law.uses))
  const laws = LAWS.filter(applies)
  if (capabilities.compareAndSet === false) laws.push(refusesVersions)
  if (capabilities.userIndex === false) laws.push(refusesUsers)
  if (capabilities.atomicRotation === false) laws.push(refusesGrace)
  return laws.map(({ name, run }) => ({
    name,
    run: async () => {
      const harness = await open()
      try {
        await run(contextOf(harness, capabilities))
      } finally {
        await harness.close()
      }
    },
  }))
}

const refusesVersions: Law = {
  name: "update and changeId: ifVersion is refused by a store that cannot compare and set",
  run: async ({ store, put, read }) => {
    const [id, next] = [await put(), freshId()]
    const change = changing({ a: 1 })
    const update = store.update(id, change, { ifVersion: 1 })
    expectEqual((await expectRejects(update, CapabilityError)).capability, "compareAndSet")
    const rotation = store.changeId(id, next, { change, ifVersion: 1, ...move() })
    expectEqual((await expectRejects(rotation, CapabilityError)).capability, "compareAndSet")
    expectEqual([(await read(id)).state, await store.load(next)], [{}, undefined])
  },
}

const refusesUsers: Law = {
  name: "listByUser and deleteByUser: are refused by a store without an index of users",
  run: async ({ store }) => {
    for (const call of [() => store.listByUser(freshUser()), () => store.deleteByUser(freshUser())])
      expectEqual((await expectRejects(call(), CapabilityError)).capability, "userIndex")
  },
}

const refusesGrace: Law = {
  name: "changeId: grace is refused by a store that cannot rotate in one step",
  run: async ({ store, put, read }) => {
    const [id, next] = [await put(), freshId()]
    const rotation = store.changeId(id, next, { change: changing({ a: 1 }), ...move({ grace: 1000 }) })
    expectEqual((await expectRejects(rotation, CapabilityError)).capability, "atomicRotation")
    expectEqual([(await read(id)).state, await store.load(next)], [{}, undefined])
  },
}

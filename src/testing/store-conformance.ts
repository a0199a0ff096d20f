import { CapabilityError } from "../errors.ts"
import type { StoreCapabilities } from "../store.ts"
import { edgeLaws } from "./conformance/edges.ts"
import {
  changing,
  contextOf,
  expectRejects,
  freshUser,
  type Law,
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
  /** What the store claims. Default: everything. Laws it does not claim are replaced by the refusal of the call. */
  readonly capabilities?: Partial<StoreCapabilities> | undefined
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
  const { capabilities = {}, precise = true, extras = ["connect", "corrupt"] } = options
  const applies = (law: Law): boolean =>
    (law.needs === undefined || capabilities[law.needs] !== false) &&
    (precise || law.precise !== true) &&
    (law.uses === undefined || extras.includes(law.uses))
  const laws = LAWS.filter(applies)
  if (capabilities.compareAndSet === false) laws.push(refusesVersions)
  if (capabilities.userIndex === false) laws.push(refusesUsers)
  return laws.map(({ name, run }) => ({
    name,
    run: async () => {
      const harness = await open()
      try {
        await run(contextOf(harness))
      } finally {
        await harness.close()
      }
    },
  }))
}

const refusesVersions: Law = {
  name: "update: ifVersion is refused by a store that cannot compare and set",
  run: async ({ store, put }) => {
    const id = await put()
    await expectRejects(store.update(id, changing({ a: 1 }), { ifVersion: 1 }), CapabilityError)
  },
}

const refusesUsers: Law = {
  name: "listByUser and deleteByUser: are refused by a store without an index of users",
  run: async ({ store }) => {
    await expectRejects(store.listByUser(freshUser()), CapabilityError)
    await expectRejects(store.deleteByUser(freshUser()), CapabilityError)
  },
}

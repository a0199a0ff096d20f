import { afterAll, beforeAll, describe, test } from "vitest"
import { type AdapterApp, adapterConformance, type AdapterTraits } from "./conformance.ts"

/**
 * Has an application keep what holds for every adapter.
 * @param start undefined where this machine has nothing to run it with
 */
export function describeAdapter(
  name: string,
  start: (() => Promise<AdapterApp>) | undefined,
  traits: AdapterTraits = {},
): void {
  describe.skipIf(start === undefined)(name, () => {
    let app: AdapterApp
    beforeAll(async () => {
      app = await (start as () => Promise<AdapterApp>)()
    })
    afterAll(async () => {
      await app.close()
    })
    for (const each of adapterConformance(() => app, traits)) test(each.name, each.run)
  })
}

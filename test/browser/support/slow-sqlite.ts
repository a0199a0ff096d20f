import { setTimeout as sleep } from "node:timers/promises"
import { sqliteStore as quickStore, type SqliteStore } from "../../../src/stores/sqlite.ts"

const WRITES: readonly (string | symbol)[] = ["create", "update", "changeId", "delete"]

/** The store of `coatcheck/sqlite`, with writes that take 150 ms. */
export function sqliteStore(path: string): SqliteStore {
  return new Proxy(quickStore(path), {
    get(store, name) {
      const member: unknown = Reflect.get(store, name)
      if (typeof member !== "function") return member
      return async (...input: unknown[]) => {
        if (WRITES.includes(name)) await sleep(150)
        return Reflect.apply(member, store, input) as Promise<unknown>
      }
    },
  })
}

import type { D1Binding } from "coatcheck/d1"
import type { KvNamespace } from "coatcheck/kv"

/** What the Worker of the tests is given. */
export interface Bindings {
  readonly DB: D1Binding
  /** Another database, with the same tables. */
  readonly REPLICA: D1Binding
  readonly KV: TestedNamespace
}

/** A namespace, as the tests look into it. */
export interface TestedNamespace extends KvNamespace {
  put(key: string, value: string, options?: { expirationTtl: number }): Promise<void>
}

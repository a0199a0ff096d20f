import { ConfigError } from "../errors.ts"
import type { SessionStore } from "../store.ts"
import { type KeyValueEngine, KeyValueStore } from "./shared-keyvalue.ts"
import { assertKnownOptions } from "./shared-options.ts"

/** What `createStorage()` of unstorage returns, and `useStorage()` of Nitro. */
export interface UnstorageStorage {
  getItem(key: string): Promise<unknown>
  setItem(key: string, value: string, options: { ttl: number }): Promise<void>
  removeItem(key: string): Promise<void>
  getKeys(base: string): Promise<string[]>
}

export interface UnstorageStoreOptions {
  /** What the keys begin with: one or more names, each with a colon behind it. Default `"session:"`. */
  readonly prefix?: string | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

/** unstorage reads a number of other characters in keys as its own, and `.` and `..` as folders. */
const PREFIX = /^(?:[\w-]+:)+$/
const LONGEST_PREFIX = 128
const HEX_ID = /^[0-9a-f]{64}$/
/** In front of each text. unstorage, and some drivers, parse what looks like JSON, and not without loss. */
const MARK = "coatcheck "

/**
 * Keeps sessions in any storage that unstorage has a driver for. A write takes the place of the whole record, so changes of concurrent
 * requests in different processes can be lost. `transact`, `consume`, grace and the list of a user's sessions are refused with a
 * `CapabilityError`.
 */
export function unstorageStore(storage: UnstorageStorage, options: UnstorageStoreOptions = {}): SessionStore {
  return new KeyValueStore(new UnstorageEngine(storage, options))
}

class UnstorageEngine implements KeyValueEngine {
  readonly name = "unstorage"
  readonly checksIds = true
  readonly clock: () => number
  readonly #storage: UnstorageStorage
  readonly #prefix: string

  constructor(storage: UnstorageStorage, options: UnstorageStoreOptions) {
    assertKnownOptions("unstorageStore", options, ["prefix", "clock"])
    const { prefix = "session:", clock = Date.now } = options
    assertStorage(storage)
    if (typeof prefix !== "string" || prefix.length > LONGEST_PREFIX || !PREFIX.test(prefix)) {
      throw new ConfigError(
        'prefix: expected names of letters, digits, "_" and "-", each with a colon behind it, such as "session:" or "shop:session:".',
        { option: "prefix" },
      )
    }
    if (typeof clock !== "function") throw new ConfigError("clock: expected a function.", { option: "clock" })
    this.clock = clock
    this.#storage = storage
    this.#prefix = prefix
  }

  /** In hexadecimal: a file system may take names for the same that differ in the case of letters only. */
  keyOf(id: string): string {
    let hex = ""
    for (const byte of atob(id.replaceAll("-", "+").replaceAll("_", "/"))) {
      hex += byte.charCodeAt(0).toString(16).padStart(2, "0")
    }
    return this.#prefix + hex
  }

  async get(key: string): Promise<string | null> {
    const value = await this.#storage.getItem(key)
    if (value === null || value === undefined) return null
    return typeof value === "string" && value.startsWith(MARK) ? value.slice(MARK.length) : ""
  }

  put(key: string, text: string, ttl: number): Promise<void> {
    return this.#storage.setItem(key, MARK + text, { ttl: Math.ceil(ttl / 1000) })
  }

  remove(key: string): Promise<void> {
    return this.#storage.removeItem(key)
  }

  async keys(): Promise<readonly string[]> {
    const keys = await this.#storage.getKeys(this.#prefix)
    return keys.filter((key) => key.startsWith(this.#prefix) && HEX_ID.test(key.slice(this.#prefix.length)))
  }

  retryAfter(): undefined {
    return undefined
  }

  adviceFor(): undefined {
    return undefined
  }
}

function assertStorage(storage: unknown): void {
  const { getItem, setItem, removeItem, getKeys } = (storage ?? {}) as Partial<
    Record<keyof UnstorageStorage, unknown>
  >
  if ([getItem, setItem, removeItem, getKeys].every((method) => typeof method === "function")) return
  throw new ConfigError("unstorageStore: expected a storage, as createStorage() of unstorage returns it.", {
    option: "storage",
  })
}

import { ConfigError } from "../errors.ts"
import type { SessionId } from "../store.ts"
import { assertFunction } from "./shared-cache-options.ts"
import type { SessionCache } from "./shared-cache-tier.ts"
import { assertKnownOptions } from "./shared-options.ts"

export interface MemoryCacheOptions {
  /** How many sessions are kept; those unused for longest make room. Default 10000. */
  readonly max?: number | undefined
  /** How much memory the texts may take, two bytes a character. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Milliseconds on a clock that is never set back. Default `performance.now`. */
  readonly clock?: (() => number) | undefined
}

interface Kept {
  readonly text: string
  readonly until: number
  readonly bytes: number
}

/** What an entry takes besides its text and its id, roughly. */
const OVERHEAD = 200
/** How many that are over each new one removes: more than it adds. */
const SWEEP_STEP = 2

/** Keeps sessions in this process's memory for a cached store, which says for how long. It takes no timer and no more memory than it is given. */
export function memoryCache(options: MemoryCacheOptions = {}): SessionCache {
  return new MemoryCache(options)
}

export class MemoryCache implements SessionCache {
  readonly shared: boolean = false
  /** The one unused for longest stands first. */
  readonly #kept = new Map<SessionId, Kept>()
  readonly #max: number
  readonly #maxBytes: number
  readonly #clock: () => number
  #bytes = 0

  constructor(options: MemoryCacheOptions) {
    assertKnownOptions("memoryCache", options, ["max", "maxBytes", "clock"])
    const { max = 10_000, maxBytes = 67_108_864, clock = (): number => performance.now() } = options
    for (const [option, value] of Object.entries({ max, maxBytes })) {
      if (Number.isSafeInteger(value) && value > 0) continue
      throw new ConfigError(`${option}: expected a whole number above 0.`, { option })
    }
    assertFunction("clock", clock)
    this.#max = max
    this.#maxBytes = maxBytes
    this.#clock = clock
  }

  get(id: SessionId): string | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined) return undefined
    if (kept.until <= this.#clock()) {
      this.delete(id)
      return undefined
    }
    // Now it is the one used last.
    this.#kept.delete(id)
    this.#kept.set(id, kept)
    return kept.text
  }

  set(id: SessionId, text: string, ttl: number): void {
    const now = this.#clock()
    const bytes = 2 * (id.length + text.length) + OVERHEAD
    this.delete(id)
    this.#sweep(now)
    if (bytes > this.#maxBytes) return
    this.#kept.set(id, { text, until: now + ttl, bytes })
    this.#bytes += bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#max && this.#bytes <= this.#maxBytes) break
      this.delete(oldest)
    }
  }

  delete(id: SessionId): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    this.#kept.delete(id)
    this.#bytes -= kept.bytes
  }

  get size(): number {
    return this.#kept.size
  }

  #sweep(now: number): void {
    let left = SWEEP_STEP
    for (const [id, { until }] of this.#kept) {
      if (left-- === 0 || until > now) return
      this.delete(id)
    }
  }
}

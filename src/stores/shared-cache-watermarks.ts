interface Mark {
  readonly version: number
  readonly until: number
}

/** How many marks that are over each new one removes: more than it adds, so that they do not pile up without a timer. */
const SWEEP_STEP = 2

/**
 * The lowest version under each name that may still be read from a cache. A mark is kept until every entry that was made before it is too old
 * to be read, whatever has become of the entry itself.
 */
export class Watermarks {
  /** The one that is over first stands first: all are kept equally long. */
  readonly #marks = new Map<string, Mark>()
  readonly #lifetime: number
  readonly #clock: () => number

  constructor(lifetime: number, clock: () => number) {
    this.#lifetime = lifetime
    this.#clock = clock
  }

  /** @returns 0 if any version will do. */
  of(name: string): number {
    const mark = this.#marks.get(name)
    return mark === undefined || mark.until <= this.#clock() ? 0 : mark.version
  }

  /** A mark never falls. @param version Infinity: none may be read */
  raise(name: string, version: number): void {
    const now = this.#clock()
    const highest = Math.max(version, this.of(name))
    this.#marks.delete(name)
    this.#sweep(now)
    this.#marks.set(name, { version: highest, until: now + this.#lifetime })
  }

  get size(): number {
    return this.#marks.size
  }

  #sweep(now: number): void {
    let left = SWEEP_STEP
    for (const [name, { until }] of this.#marks) {
      if (left-- === 0 || until > now) return
      this.#marks.delete(name)
    }
  }
}

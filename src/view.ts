import type { AnyState, Entry, StateView } from "./api.ts"
import { assertKey, type JsonValue, serialize } from "./json.ts"
import type { Validator } from "./schema.ts"
import type { Overlay } from "./state.ts"

/** Where a view reads from and writes to. */
export interface ViewSource {
  /** The state to read. May refuse by throwing. */
  readable(): Overlay
  /** Carries a write out. May refuse by throwing, or do nothing. */
  write(change: (overlay: Overlay) => void): void
}

/** A synchronous view that validates, serializes and copies. */
export class View implements StateView<AnyState> {
  readonly #source: ViewSource
  readonly #validator: Validator
  readonly #maxValueBytes: number

  constructor(source: ViewSource, validator: Validator, maxValueBytes: number) {
    this.#source = source
    this.#validator = validator
    this.#maxValueBytes = maxValueBytes
  }

  get(key: string): JsonValue | undefined {
    const value = this.#source.readable().get(key)
    return value === undefined ? undefined : (this.#validator.read(key, value) as JsonValue | undefined)
  }

  has(key: string): boolean {
    return this.#source.readable().has(key) && this.#validator.knows(key)
  }

  keys(): string[] {
    return this.#source
      .readable()
      .keys()
      .filter((key) => this.#validator.knows(key))
  }

  entries(): Entry<AnyState>[] {
    const entries: Entry<AnyState>[] = []
    for (const key of this.keys()) {
      const value = this.get(key)
      if (value !== undefined) entries.push([key, value])
    }
    return entries
  }

  isEmpty(): boolean {
    return this.keys().length === 0
  }

  set(key: string, value: JsonValue): void {
    let text: string | undefined
    this.#source.write((overlay) => {
      text ??= this.#serialize(key, value)
      overlay.set(key, value, text)
    })
  }

  remove(key: string): void {
    this.#source.write((overlay) => overlay.remove(key))
  }

  clear(): void {
    this.#source.write((overlay) => overlay.clear())
  }

  take(key: string): JsonValue | undefined {
    const value = this.get(key)
    this.remove(key)
    return value
  }

  #serialize(key: string, value: JsonValue): string {
    assertKey(key)
    const text = serialize(key, value, this.#maxValueBytes)
    this.#validator.check(key, value)
    return text
  }
}

import { assertKey, clone, define, equal, type JsonObject, type JsonValue } from "./json.ts"
import type { Change } from "./store.ts"

/** The changes one request wants to make to a key-value state: what it would take to bring any state to where the request wants it. */
export class Changes {
  clear: Change["clear"] = undefined
  /** Key to JSON text. */
  readonly set: Map<string, string> = new Map()
  readonly remove: Set<string> = new Set()

  get isEmpty(): boolean {
    return this.clear === undefined && this.set.size === 0 && this.remove.size === 0
  }

  /** Whether the change says what the key will be, whatever it is now. */
  decides(key: string): boolean {
    return this.set.has(key) || this.remove.has(key) || this.clears(key)
  }

  clears(key: string): boolean {
    return this.clear === true || (this.clear !== undefined && !this.clear.except.includes(key))
  }

  write(key: string, text: string): void {
    this.remove.delete(key)
    this.set.set(key, text)
  }

  drop(key: string): void {
    this.set.delete(key)
    if (!this.clears(key)) this.remove.add(key)
  }

  /** Goes back to saying nothing about a key. Of no use for a key that is being cleared. */
  forget(key: string): void {
    this.set.delete(key)
    this.remove.delete(key)
  }

  /** Drops every key that has been or will be found, but for those in `except`. */
  dropAll(except?: readonly string[]): void {
    if (except === undefined) {
      this.clear = true
      this.set.clear()
      this.remove.clear()
      return
    }
    const kept = new Set(except)
    for (const key of this.set.keys()) if (!kept.has(key)) this.set.delete(key)
    for (const key of this.remove) if (!kept.has(key)) this.remove.delete(key)
    if (this.clear === undefined) this.clear = { except: [...kept] }
    else if (this.clear !== true) this.clear = { except: this.clear.except.filter((key) => kept.has(key)) }
  }

  /** Adds what was changed later. */
  append(later: Changes): void {
    if (later.clear === true) this.dropAll()
    else if (later.clear !== undefined) this.dropAll(later.clear.except)
    for (const key of later.remove) this.drop(key)
    for (const [key, text] of later.set) this.write(key, text)
  }

  /** What was changed after a copy was taken. */
  since(copy: Changes): Changes {
    if (!sameClear(this.clear, copy.clear)) return this.copy()
    const later = new Changes()
    for (const key of copy.set.keys()) if (!this.set.has(key)) later.drop(key)
    for (const key of this.remove) if (!copy.remove.has(key)) later.drop(key)
    for (const [key, text] of this.set) if (copy.set.get(key) !== text) later.write(key, text)
    return later
  }

  copy(): Changes {
    const copy = new Changes()
    copy.append(this)
    return copy
  }

  /** The state that comes of a state. Shares the values it does not change. */
  applyTo(base: JsonObject): JsonObject {
    const state: JsonObject = {}
    for (const key of Object.keys(base)) if (!this.decides(key)) define(state, key, base[key] as JsonValue)
    for (const [key, text] of this.set) define(state, key, JSON.parse(text) as JsonValue)
    return state
  }
}

/**
 * A state with changes on top: reads see both, writes that change nothing leave no change. Hands out copies only.
 * With an unknown base there are no reads, and every write is a change.
 */
export class Overlay {
  readonly base: JsonObject | undefined
  readonly changes: Changes

  constructor(base: JsonObject | undefined, changes: Changes) {
    this.base = base
    this.changes = changes
  }

  get(key: string): JsonValue | undefined {
    assertKey(key)
    const text = this.changes.set.get(key)
    if (text !== undefined) return JSON.parse(text) as JsonValue
    const base = this.#known()
    return this.#inherits(base, key) ? clone(base[key] as JsonValue) : undefined
  }

  has(key: string): boolean {
    assertKey(key)
    return this.changes.set.has(key) || this.#inherits(this.#known(), key)
  }

  keys(): string[] {
    const inherited = Object.keys(this.#known()).filter((key) => !this.changes.decides(key))
    return [...inherited, ...this.changes.set.keys()]
  }

  /** `text` is the JSON of `value`. */
  set(key: string, value: JsonValue, text: string): void {
    if (this.base !== undefined && this.#inheritsWithout(this.base, key, value)) this.changes.forget(key)
    else this.changes.write(key, text)
  }

  remove(key: string): void {
    assertKey(key)
    if (this.base === undefined || Object.hasOwn(this.base, key)) this.changes.drop(key)
    else this.changes.forget(key)
  }

  clear(): void {
    this.changes.dropAll()
    if (this.base !== undefined && Object.keys(this.base).length === 0) this.changes.clear = undefined
  }

  /** How many keys there are. */
  get size(): number {
    return this.keys().length
  }

  /** Each key with its JSON text. */
  texts(): [key: string, text: string][] {
    const base = this.#known()
    return this.keys().map((key) => [key, this.changes.set.get(key) ?? JSON.stringify(base[key])])
  }

  /** The state with the changes applied. */
  result(): JsonObject {
    return this.changes.applyTo(this.#known())
  }

  #known(): JsonObject {
    if (this.base === undefined) throw new Error("The state is read before it is known.")
    return this.base
  }

  #inherits(base: JsonObject, key: string): boolean {
    return Object.hasOwn(base, key) && !this.changes.decides(key)
  }

  /** Whether the base holds the same value, so that setting it is no change. */
  #inheritsWithout(base: JsonObject, key: string, value: JsonValue): boolean {
    return !this.changes.clears(key) && Object.hasOwn(base, key) && equal(base[key] as JsonValue, value)
  }
}

function sameClear(one: Change["clear"], two: Change["clear"]): boolean {
  if (typeof one !== "object" || typeof two !== "object") return one === two
  return one.except.length === two.except.length && one.except.every((key) => two.except.includes(key))
}

/** Writes onto a state that is not known: every one is a change. */
export function blind(changes: Changes): Overlay {
  return new Overlay(undefined, changes)
}

/** Lays changes that were made blindly over a base. Where the base is empty there is nothing to clear or remove. */
export function layOver(base: JsonObject | undefined, changes: Changes): Overlay {
  if (base !== undefined && Object.keys(base).length === 0) {
    changes.clear = undefined
    changes.remove.clear()
  }
  return new Overlay(base, changes)
}

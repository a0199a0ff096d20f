import { ValueSerializationError } from "./errors.ts"

/** What JSON can hold. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [member: string]: JsonValue }

/** A JSON object whose members are looked up with `Object.hasOwn`, never through its prototype. */
export type JsonObject = { [member: string]: JsonValue }

/** How deep a value may be nested: `[[1]]` is two levels. */
export const MAX_DEPTH = 64

/** How many UTF-16 code units a key may have. */
export const MAX_KEY_LENGTH = 256

/** Refuses a key that is empty, too long or not a string. */
export function assertKey(key: unknown): asserts key is string {
  if (typeof key !== "string") {
    throw new ValueSerializationError(`A key must be a string, got ${kindOf(key)}.`, { key: kindOf(key) })
  }
  if (key.length === 0) throw new ValueSerializationError("A key must not be empty.", { key })
  if (key.length > MAX_KEY_LENGTH) {
    throw new ValueSerializationError(
      `A key may have at most ${MAX_KEY_LENGTH} characters, got ${key.length}.`,
      { key },
    )
  }
}

/**
 * Writes a value as JSON text that reads back as the same value, or throws naming the key and the path.
 * Refused: whatever `JSON.stringify` would drop, change or fail on (undefined, functions, symbols, bigint, NaN, infinities, -0, cycles,
 * holes in arrays, instances of classes, accessors, `toJSON`), values deeper than 64 levels, and text above `maxBytes`.
 */
export function serialize(key: string, value: unknown, maxBytes: number): string {
  const ancestors: object[] = []
  check(key, value, "", ancestors)
  const text = JSON.stringify(value)
  const size = byteLength(text)
  if (size > maxBytes) {
    throw new ValueSerializationError(
      `The value of ${quote(key)} is ${size} bytes of JSON; at most ${maxBytes} are allowed.`,
      { key },
    )
  }
  return text
}

function check(key: string, value: unknown, path: string, ancestors: object[]): void {
  switch (typeof value) {
    case "string":
    case "boolean":
      return
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return
      throw refusal(key, path, `${Object.is(value, -0) ? "-0" : String(value)} has no JSON form`)
    case "object":
      if (value === null) return
      return checkObject(key, value, path, ancestors)
    default:
      throw refusal(key, path, `${kindOf(value)} has no JSON form`)
  }
}

function checkObject(key: string, value: object, path: string, ancestors: object[]): void {
  if (ancestors.includes(value)) throw refusal(key, path, "it contains itself")
  if (ancestors.length >= MAX_DEPTH)
    throw refusal(key, path, `it is nested more than ${MAX_DEPTH} levels deep`)
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") {
    throw refusal(key, path, `${kindOf(value)} would be stored as something else (it has toJSON)`)
  }
  ancestors.push(value)
  if (Array.isArray(value)) checkArray(key, value, path, ancestors)
  else checkMembers(key, value, path, ancestors)
  ancestors.pop()
}

function checkArray(key: string, value: readonly unknown[], path: string, ancestors: object[]): void {
  if (!isArrayPrototype(Object.getPrototypeOf(value))) {
    throw refusal(key, path, `${kindOf(value)} is not a plain array`)
  }
  // Its items and its length.
  if (Reflect.ownKeys(value).length !== value.length + 1) {
    throw refusal(key, path, "an array with holes or extra properties has no JSON form")
  }
  for (let index = 0; index < value.length; index++)
    checkMember(key, value, index, `${path}[${index}]`, ancestors)
}

function checkMembers(key: string, value: object, path: string, ancestors: object[]): void {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && !isObjectPrototype(prototype)) {
    throw refusal(key, path, `${kindOf(value)} is not a plain object`)
  }
  for (const name of Reflect.ownKeys(value)) {
    if (typeof name === "symbol") throw refusal(key, path, "a symbol as a member's name has no JSON form")
    checkMember(key, value, name, memberPath(path, name), ancestors)
  }
}

function checkMember(
  key: string,
  value: object,
  name: string | number,
  path: string,
  ancestors: object[],
): void {
  const member = Object.getOwnPropertyDescriptor(value, name)
  if (member === undefined) throw refusal(key, path, "undefined (a hole) has no JSON form")
  if (!member.enumerable || !("value" in member)) {
    throw refusal(key, path, "only plain, enumerable members are stored")
  }
  check(key, member.value, path, ancestors)
}

/** `Array.prototype` is an array itself, in every realm; the prototype of a subclass is not. */
function isArrayPrototype(prototype: unknown): boolean {
  return prototype === Array.prototype || Array.isArray(prototype)
}

/** Objects made in another realm (a vm context, a worker's test runner) have an `Object.prototype` of their own. */
function isObjectPrototype(prototype: unknown): boolean {
  return (
    prototype === Object.prototype ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "hasOwnProperty"))
  )
}

function refusal(key: string, path: string, reason: string): ValueSerializationError {
  const place = path === "" ? "" : ` at ${path}`
  return new ValueSerializationError(`The value of ${quote(key)} cannot be stored${place}: ${reason}.`, {
    key,
    path,
  })
}

function memberPath(path: string, name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `${path}.${name}` : `${path}[${quote(name)}]`
}

/** A key as it may stand in a message: escaped, and cut where it is long. */
export function quote(key: string): string {
  return JSON.stringify(key.length > 64 ? `${key.slice(0, 64)}…` : key)
}

/** What kind of thing a value is, for messages that must not show the value. */
export function kindOf(value: unknown): string {
  if (value === null) return "null"
  if (typeof value !== "object") return typeof value === "undefined" ? "undefined" : `a ${typeof value}`
  const constructor: unknown = Object.getPrototypeOf(value)?.constructor
  return typeof constructor === "function" && constructor.name !== ""
    ? `an instance of ${constructor.name}`
    : "an object"
}

/** A copy that shares nothing with the original. */
export function clone<T extends JsonValue>(value: T): T {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(clone) as T
  // A spread copies the members as they are, `__proto__` included, and much faster than one by one.
  const copy: JsonObject = { ...value }
  for (const name of Object.keys(copy)) {
    const member = copy[name] as JsonValue
    if (typeof member === "object" && member !== null) define(copy, name, clone(member))
  }
  return copy as T
}

/** Whether two values are the same JSON; the order of members does not matter. */
export function equal(a: JsonValue, b: JsonValue): boolean {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a)) {
    return (
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, index) => equal(item, b[index] as JsonValue))
    )
  }
  if (Array.isArray(b)) return false
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && equal(a[name] as JsonValue, b[name] as JsonValue))
  )
}

/** Sets an own property whatever its name is: plain assignment to `__proto__` would change the prototype. */
export function define(object: JsonObject, name: string, value: JsonValue): void {
  if (name === "__proto__") {
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
  } else {
    object[name] = value
  }
}

/** Writes key and JSON text pairs as the text of one JSON object. */
export function joinObject(entries: Iterable<readonly [key: string, text: string]>): string {
  let text = ""
  for (const [key, value] of entries) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${value}`
  return `{${text}}`
}

/** How many bytes a string takes in UTF-8; a lone surrogate counts as the three bytes it would be replaced by. */
export function byteLength(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (unit >= 0xd800 && unit < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      bytes += 2
      index += 1
    } else bytes += 2
  }
  return bytes
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000
}

/** A type with each property checked to be JSON, so that the compile error names the property that is not. */
export type JsonState<T> = { [K in keyof T]: JsonCheck<T[K]> }

/** The type itself if it is JSON all the way down. */
type JsonCheck<T> = [T] extends [JsonValue]
  ? T
  : unknown extends T
    ? JsonValue
    : T extends null | undefined | boolean | number | string
      ? T
      : T extends NotPlain
        ? NotJson
        : T extends object
          ? { [K in keyof T]: JsonCheck<T[K]> }
          : NotJson

/** Objects whose JSON is something else. */
type NotPlain =
  | ((...input: never[]) => unknown)
  | { toJSON(): unknown }
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBufferView
  | RegExp
  | Error
  | PromiseLike<unknown>

/** Stands in a compile error for a type that JSON cannot hold. */
export interface NotJson {
  readonly "this type cannot be stored as JSON": never
}

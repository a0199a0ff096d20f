import type { SessionError } from "../../errors.ts"
import { equal, type JsonValue } from "../../json.ts"
import type {
  Change,
  Gone,
  MoveTombstone,
  NewRecord,
  SessionId,
  SessionRecord,
  SessionStore,
  StoreCapabilities,
} from "../../store.ts"

/** One store to be tested, with what a test needs around it. */
export interface StoreHarness {
  readonly store: SessionStore
  /** Moves the store's clock on by so many milliseconds, or waits that long. */
  readonly advance: (milliseconds: number) => Promise<void> | void
  /** Whether `advance` is exact and time stands still otherwise, so that boundaries can be tested to the millisecond. */
  readonly precise: boolean
  /** Whether the engine removes what has expired by itself, so that `deleteExpired` finds nothing. Default false. */
  readonly expiresByItself?: boolean | undefined
  /** Another connection to the same data, as another process would have. */
  connect?: (() => Promise<SessionStore>) | undefined
  /** Overwrites the stored state of a record with what the store could not have written. */
  corrupt?: ((id: SessionId) => Promise<void> | void) | undefined
  readonly close: () => Promise<void> | void
}

export type OpenStore = () => Promise<StoreHarness> | StoreHarness

/** One law, ready to be run by any test runner: it rejects if the store breaks it. */
export interface StoreCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/** What a law is given. */
export interface LawContext extends StoreHarness {
  /** Creates a record, and gives its id. */
  readonly put: (record?: Partial<NewRecord>) => Promise<SessionId>
  /** The live record; an error if there is none. */
  readonly read: (id: SessionId) => Promise<SessionRecord>
  /** The grace to ask for where it does not matter for the law: none from a store that refuses it. */
  readonly grace: number
  /** Whether what races do to a record holds across processes: not in a store that reads, changes and writes it in steps. */
  readonly isExact: boolean
}

export interface Law {
  readonly name: string
  readonly run: (context: LawContext) => Promise<void>
  /** Left out for stores that do not claim it; `checksIds`: that do not look whether a new id is taken. */
  readonly needs?: keyof StoreCapabilities | "checksIds" | undefined
  /** Left out unless time stands still. */
  readonly precise?: boolean | undefined
  /** Left out unless the harness has it. */
  readonly uses?: "connect" | "corrupt" | undefined
}

export const HOUR = 3_600_000

/** A change with what is given, and nothing else. */
export function changing(
  set: Readonly<Record<string, JsonValue>> = {},
  rest: Partial<Omit<Change, "set">> = {},
): Change {
  return { set: texts(Object.entries(set)), remove: new Set(), ...rest }
}

export function removing(...keys: string[]): Change {
  return { set: new Map(), remove: new Set(keys) }
}

/** Key and JSON text of each pair. */
export function texts(entries: Iterable<readonly [string, JsonValue]>): Map<string, string> {
  return new Map([...entries].map(([key, value]) => [key, JSON.stringify(value)]))
}

export function newRecord(record: Partial<NewRecord> = {}): NewRecord {
  return {
    state: new Map(),
    userId: null,
    label: null,
    idleTtl: HOUR,
    fixedTtl: null,
    cookieKind: null,
    absoluteTtl: 24 * HOUR,
    ...record,
  }
}

/** A tombstone of a move, without grace and privilege change unless asked for. */
export function move(tombstone: Partial<MoveTombstone> = {}): { tombstone: MoveTombstone } {
  return { tombstone: { ttl: HOUR, grace: 0, privilegeChanged: false, ...tombstone } }
}

export const ended: { readonly tombstone: { readonly ttl: number } } = { tombstone: { ttl: HOUR } }

/** An id as the core mints them. */
export function freshId(): SessionId {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  const text = btoa(String.fromCharCode(...bytes))
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}

/** A name no other case uses, for stores whose data outlives one. */
export function freshUser(): string {
  return `user-${freshId().slice(0, 12)}`
}

/** @param claimed what the suite was told of the store; what it was not told of is claimed. */
export function contextOf(harness: StoreHarness, claimed: Partial<StoreCapabilities>): LawContext {
  return {
    ...harness,
    grace: claimed.atomicRotation === false ? 0 : 1000,
    isExact: claimed.compareAndSet !== false || claimed.merge !== false,
    async put(record) {
      const id = freshId()
      await harness.store.create(id, newRecord(record))
      return id
    },
    async read(id) {
      const found = await harness.store.load(id)
      if (found === undefined || !("state" in found))
        throw new Error(`expected a live record, found ${shown(found)}`)
      return found
    },
  }
}

export function expectEqual(actual: unknown, expected: unknown, what = "value"): void {
  const [a, b] = [normalize(actual), normalize(expected)]
  if (!equal(a, b)) throw new Error(`${what}: expected ${shown(b)}, got ${shown(a)}`)
}

export function expectTrue(condition: boolean, what: string): void {
  if (!condition) throw new Error(`expected ${what}`)
}

/** @returns the error, for a closer look. */
export async function expectRejects<E extends SessionError>(
  promise: Promise<unknown>,
  type: abstract new (...input: never[]) => E,
): Promise<E> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    if (error instanceof type) return error
    throw new Error(`expected a ${type.name}, got ${String(error)}`, { cause: error })
  }
  throw new Error(`expected a ${type.name}, but it resolved to ${shown(value)}`)
}

/** How many records `deleteExpired` is to remove, where so many have expired. */
export function swept({ expiresByItself }: StoreHarness, expired: number): number {
  return expiresByItself === true ? 0 : expired
}

/** How many settled in each way. */
export function outcomes(results: readonly PromiseSettledResult<unknown>[]): {
  resolved: number
  rejected: unknown[]
} {
  const rejected = results
    .filter((result) => result.status === "rejected")
    .map(({ reason }) => reason as unknown)
  return { resolved: results.length - rejected.length, rejected }
}

export function asGone(found: SessionRecord | Gone | undefined): Gone {
  if (found !== undefined && !("state" in found)) return found
  throw new Error(`expected a tombstone, found ${found === undefined ? "nothing" : "a live record"}`)
}

function normalize(value: unknown): JsonValue {
  if (value === undefined) return { undefined: true }
  return JSON.parse(JSON.stringify(value instanceof Map ? [...value] : value)) as JsonValue
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined"
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

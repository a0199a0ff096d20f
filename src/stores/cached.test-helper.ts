import type { SessionId, SessionRecord, SessionStore } from "../store.ts"
import { type FakeClock, fakeClock } from "../testing/clock.ts"
import { newRecord, texts } from "../testing/conformance/kit.ts"
import { type SpyStore, spyStore } from "../testing/spy-store.ts"
import {
  type CachedStore,
  cachedStore,
  type CachedStoreOptions,
  type Invalidation,
  type InvalidationMessage,
  memoryCache,
  type SessionCache,
} from "./cached.ts"
import { memoryStore } from "./memory.ts"

/** Two servers with a cache each before one authority, and a clock for all. */
export interface Servers {
  readonly clock: FakeClock
  readonly authority: SpyStore
  readonly here: CachedStore
  readonly there: CachedStore
}

export function twoServers(
  options: CachedStoreOptions & { readonly cache?: (clock: FakeClock) => SessionCache } = {},
): Servers {
  const clock = fakeClock()
  const authority = spyStore(memoryStore({ clock }))
  const { cache = (time: FakeClock): SessionCache => memoryCache({ clock: time }), ...rest } = options
  const server = (): CachedStore => cachedStore(cache(clock), authority, { staleness: 1000, clock, ...rest })
  return { clock, authority, here: server(), there: server() }
}

/** A cache that all servers see and that answers later, as one over a network does. */
export function sharedCache(clock: () => number): SessionCache & { readonly held: Map<SessionId, string> } {
  const held = new Map<SessionId, string>()
  const ends = new Map<SessionId, number>()
  return {
    held,
    shared: true,
    get: async (id) => ((ends.get(id) ?? 0) > clock() ? held.get(id) : null),
    async set(id, text, ttl) {
      held.set(id, text)
      ends.set(id, clock() + ttl)
    },
    async delete(id) {
      held.delete(id)
    },
  }
}

/** A bus in this process, in the place of one between servers. */
export function bus(): Invalidation & {
  readonly said: InvalidationMessage[]
  /** One for each subscription. */
  readonly listeners: ((message: InvalidationMessage) => void)[]
} {
  const listeners: ((message: InvalidationMessage) => void)[] = []
  const said: InvalidationMessage[] = []
  return {
    said,
    listeners,
    async publish(messages) {
      said.push(...messages)
      for (const message of messages) for (const listener of listeners) listener(message)
    },
    async subscribe(listener) {
      listeners.push(listener)
      return () => void listeners.splice(listeners.indexOf(listener), 1)
    },
  }
}

/** Creates a session whose `n` is 0. */
export async function putCounter(
  store: SessionStore,
  id: SessionId,
  userId: string | null = null,
): Promise<SessionId> {
  await store.create(id, newRecord({ state: texts([["n", 0]]), userId }))
  return id
}

/** What `n` is; undefined for a session that is no more. */
export async function counter(
  store: SessionStore,
  id: SessionId,
  options?: { fresh: boolean },
): Promise<unknown> {
  const found = await store.load(id, options)
  return found !== undefined && "state" in found ? found.state["n"] : undefined
}

export async function liveRecord(store: SessionStore, id: SessionId): Promise<SessionRecord> {
  const found = await store.load(id)
  if (found === undefined || !("state" in found)) throw new Error("There is no live session.")
  return found
}

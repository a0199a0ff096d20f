import { createSessions, type Entry, type JsonValue, type Session, type StateView } from "coatcheck"
import { expectType, type Same } from "./expect-type.ts"

// Interfaces, nested objects, optional members and literal types all make a state.

interface State {
  cart: string[]
  views: number
  nested: { deep: { value: 1 | 2 }[] }
  theme?: "light" | undefined
}

interface ClientState {
  language: "en" | "de"
}

const sessions = createSessions<State, ClientState>()
const session = sessions.open(null)
expectType<Same<typeof session, Session<State, ClientState, State, ClientState>>>()

const cart = await session.get("cart")
expectType<Same<typeof cart, string[] | undefined>>()
const theme = await session.take("theme")
expectType<Same<typeof theme, "light" | undefined>>()
const consumed = await session.consume("nested")
expectType<Same<typeof consumed, { deep: { value: 1 | 2 }[] } | undefined>>()
const keys = await session.keys()
expectType<Same<typeof keys, ("cart" | "views" | "nested" | "theme")[]>>()
const entries = await session.entries()
expectType<Same<typeof entries, Entry<State>[]>>()
const view = await session.load()
expectType<Same<typeof view, StateView<State, State>>>()

session.set("views", 1)
session.set("theme", "light")
session.set("nested", { deep: [{ value: 2 }] })
// @ts-expect-error a value of another type
session.set("views", "1")
// @ts-expect-error no such key
session.set("vews", 1)
// @ts-expect-error undefined is not JSON, even for an optional key
session.set("theme", undefined)
// @ts-expect-error no such key
await session.get("vews")
// @ts-expect-error one argument too many: `remove` drops a key
session.delete("cart")

// Client state is a state of its own.

const language = session.client.get("language")
expectType<Same<typeof language, "en" | "de" | undefined>>()
session.client.set("language", "de")
// @ts-expect-error server state is elsewhere
session.client.set("views", 1)
// @ts-expect-error another value
session.client.set("language", "fr")

// A transaction sees the same types and hands its result on; adapters and handlers do too.

const views = await session.transact((state) => {
  const next = (state.get("views") ?? 0) + 1
  state.set("views", next)
  // @ts-expect-error a value of another type
  state.set("views", "1")
  return next
})
expectType<Same<typeof views, number>>()

const handler = sessions.handle((_request, own, environment: { name: string }, count: number) => {
  expectType<Same<typeof own, Session<State, ClientState, State, ClientState>>>()
  return new Response(environment.name + count)
})
expectType<Same<Parameters<typeof handler>, [Request, { name: string }, number]>>()
expectType<Same<ReturnType<typeof handler>, Promise<Response>>>()

// `signIn` takes the ids that databases have, and the keys of both states.

session.signIn("user")
session.signIn(1, { keep: ["cart", "language"], label: "phone" })
session.signIn(1n, { keep: false })
// @ts-expect-error no such key
session.signIn("user", { keep: ["vews"] })
// @ts-expect-error null is nobody
session.signIn(null)

// What JSON cannot hold is no state, however deep.

interface WithDate {
  when: Date
}
// @ts-expect-error a date comes back as a string
createSessions<WithDate>()

interface WithMap {
  outer: { inner: Map<string, string> }
}
// @ts-expect-error a map becomes an empty object
createSessions<WithMap>()

interface WithFunction {
  act: () => void
}
// @ts-expect-error functions are dropped
createSessions<WithFunction>()

interface WithBigint {
  amount: bigint
}
// @ts-expect-error JSON has no bigint
createSessions<WithBigint>()

interface WithSymbol {
  token: symbol
}
// @ts-expect-error JSON has no symbol
createSessions<object, WithSymbol>()

// Without a type parameter any JSON goes.

const untyped = createSessions().open(null)
untyped.set("anything", { list: [1, "two", null, true] })
const anything = await untyped.get("anything")
expectType<Same<typeof anything, JsonValue | undefined>>()
// @ts-expect-error still JSON only
untyped.set("anything", new Date())
// @ts-expect-error still JSON only
untyped.set("anything", () => 1)

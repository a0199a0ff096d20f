import { createSessions, type JsonObject, type JsonValue } from "coatcheck"
import type { JsonState, NotJson } from "../../src/json.ts"
import { expectType, type Same } from "./expect-type.ts"

// What JSON can hold is a state, written as interface, type or class without methods, however it nests.

interface Tree {
  name: string
  children: Tree[]
  parent?: Tree | null
}
type Shape = { kind: "circle"; radius: number } | { kind: "square"; side: number }
interface Good {
  tree: Tree
  shape: Shape
  frozen: readonly string[]
  deepFrozen: Readonly<Record<string, readonly { readonly n: number }[]>>
  pair: [id: string, count?: number]
  literal: "a" | 1 | true | null
  any: JsonValue
  object: JsonObject
  dictionary: Record<string, number[]>
  absent?: { inner?: string }
  maybe: string | undefined
  template: `id-${number}`
}
const good = createSessions<Good, Good>().open(null)
expectType<Same<JsonState<Good>["frozen"], readonly string[]>>()

const frozen = await good.get("frozen")
expectType<Same<typeof frozen, readonly string[] | undefined>>()
const shape = await good.get("shape")
expectType<Same<typeof shape, Shape | undefined>>()
good.set("frozen", ["a"] as const)
good.set("shape", { kind: "square", side: 1 })
good.set("pair", ["a"])
good.set("tree", { name: "root", children: [{ name: "leaf", children: [], parent: null }] })
good.set("maybe", "text")
good.client.set("any", [1, { two: [null] }])
// @ts-expect-error a member of the other alternative
good.set("shape", { kind: "square", radius: 1 })
// @ts-expect-error undefined cannot be stored, even where the state says it may be read
good.set("maybe", undefined)
// @ts-expect-error what is frozen stays so
frozen?.push("b")

const pairs = await good.entries()
for (const [key, value] of pairs) {
  if (key === "absent") expectType<Same<typeof value, { inner?: string }>>()
}

// A state that JSON cannot hold is refused, and the error stands at the key: `NotJson` takes the place of its type alone.

interface Bad {
  fine: string
  when: Date
  nested: { deep: { map: Map<string, string>; fine: number }[] }
}
expectType<
  Same<JsonState<Bad>, { fine: string; when: NotJson; nested: { deep: { map: NotJson; fine: number }[] } }>
>()
// @ts-expect-error when, nested.deep[].map
createSessions<Bad>()
// @ts-expect-error client state as well
createSessions<Good, Bad>()

class Account {
  readonly name = "Ada"
  rename(): void {}
}
interface Refused {
  set: Set<string>
  bytes: Uint8Array
  pattern: RegExp
  error: Error
  promise: Promise<string>
  url: URL
  account: Account
  callback: (value: string) => void
  bigint: bigint
  symbol: symbol
  dates: readonly Date[]
  dictionary: Record<string, Date>
  optional?: Date
  either: string | Date
  serializable: { toJSON(): string }
}
type Checked = JsonState<Refused>
expectType<Same<Checked["set"], NotJson>>()
expectType<Same<Checked["bytes"], NotJson>>()
expectType<Same<Checked["pattern"], NotJson>>()
expectType<Same<Checked["error"], NotJson>>()
expectType<Same<Checked["promise"], NotJson>>()
expectType<Same<Checked["url"], NotJson>>()
expectType<Same<Checked["account"]["rename"], NotJson>>()
expectType<Same<Checked["account"]["name"], "Ada">>()
expectType<Same<Checked["callback"], NotJson>>()
expectType<Same<Checked["bigint"], NotJson>>()
expectType<Same<Checked["symbol"], NotJson>>()
expectType<Same<Checked["dates"], readonly NotJson[]>>()
expectType<Same<Checked["dictionary"], { [key: string]: NotJson }>>()
expectType<Same<Checked["optional"], NotJson | undefined>>()
expectType<Same<Checked["either"], string | NotJson>>()
expectType<Same<Checked["serializable"], NotJson>>()

// Each alone is refused, so that none hides behind another.

// @ts-expect-error set
createSessions<{ set: Set<string> }>()
// @ts-expect-error bytes
createSessions<{ bytes: Uint8Array }>()
// @ts-expect-error account.rename
createSessions<{ account: Account }>()
// @ts-expect-error callback
createSessions<{ callback: (value: string) => void }>()
// @ts-expect-error dates
createSessions<{ dates: readonly Date[] }>()
// @ts-expect-error dictionary
createSessions<{ dictionary: Record<string, Date> }>()
// @ts-expect-error optional
createSessions<{ optional?: Date }>()
// @ts-expect-error optional, further in
createSessions<{ outer: { optional?: Date } }>()
// @ts-expect-error either
createSessions<{ either: string | Date }>()
// @ts-expect-error serializable
createSessions<{ serializable: { toJSON(): string } }>()
// @ts-expect-error anything may be a function
createSessions<{ anything: unknown }>()

// A state is an object.

// @ts-expect-error text
createSessions<string>()
// @ts-expect-error nothing
createSessions<null>()

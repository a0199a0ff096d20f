import type { StandardSchemaV1 } from "@standard-schema/spec"
import { createSessions, type StandardSchema } from "coatcheck"
import * as valibot from "valibot"
import { expectType, type Same } from "./expect-type.ts"

// Every validator that follows the specification fits, and what we ask for is no more than it says.

declare const anyValidator: StandardSchemaV1<string, number>
const accepted: StandardSchema<string, number> = anyValidator
expectType<Same<typeof accepted, StandardSchema<string, number>>>()

// The types are inferred: `set` takes the input, `get` gives the output.

const session = createSessions({
  schema: {
    server: {
      name: valibot.string(),
      count: valibot.pipe(valibot.string(), valibot.transform(Number)),
      role: valibot.optional(valibot.picklist(["admin", "guest"]), "guest"),
    },
    client: { theme: valibot.picklist(["light", "dark"]) },
  },
}).open(null)

session.set("name", "Ada")
session.set("count", "12")
// @ts-expect-error the output's type is not what is stored
session.set("count", 12)
// @ts-expect-error no such key
session.set("nme", "Ada")

const count = await session.get("count")
expectType<Same<typeof count, number | undefined>>()
const role = await session.get("role")
expectType<Same<typeof role, "admin" | "guest" | undefined>>()

session.client.set("theme", "dark")
// @ts-expect-error another value
session.client.set("theme", "blue")
const theme = session.client.get("theme")
expectType<Same<typeof theme, "light" | "dark" | undefined>>()

// A schema for one state leaves the other open.

const half = createSessions({ schema: { server: { name: valibot.string() } } }).open(null)
half.client.set("anything", [1, 2])
// @ts-expect-error no such key
half.set("anything", [1, 2])

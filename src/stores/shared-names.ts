import { ConfigError } from "../errors.ts"

/** PostgreSQL cuts names at 63 bytes, and an index is named after its table. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,53}$/

export interface Table {
  /** The schema, which MySQL calls a database; undefined: the connection's. */
  readonly schema: string | undefined
  readonly name: string
  /** As it stands in SQL. */
  readonly quoted: string
}

/** The table an option names. @throws {ConfigError} for what would have to be escaped. */
export function tableOf(table: unknown, quote: '"' | "`"): Table {
  const parts = typeof table === "string" ? table.split(".") : []
  const [first = "", second] = parts
  if (parts.length > 2 || !parts.every((part) => NAME.test(part)) || first === "") {
    throw new ConfigError(
      'table: expected a name of at most 54 letters, digits and underscores, such as "sessions" or "auth.sessions".',
      { option: "table" },
    )
  }
  return {
    schema: second === undefined ? undefined : first,
    name: second ?? first,
    quoted: parts.map((part) => quote + part + quote).join("."),
  }
}

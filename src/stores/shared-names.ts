import { ConfigError } from "../errors.ts"

/** PostgreSQL cuts names at 63 bytes, and an index is named after its table. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,53}$/

/** A table's name, or its schema's and its own, each quoted. @throws {ConfigError} for what would have to be escaped. */
export function quotedTable(
  table: unknown,
  quote: '"' | "`",
): { schema: string | undefined; name: string; quoted: string } {
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

import { type OpenClient, postgresDrivers } from "./clients.ts"
import { describeLaws } from "./conformance.ts"
import { pooled } from "./pooler.ts"

/** What a database may be set to, or lie behind, without a session noticing. */

const { "node-postgres": nodePostgres, "postgres.js": postgresJs } = postgresDrivers as Record<
  "node-postgres" | "postgres.js",
  OpenClient
>

describeLaws(
  "postgres",
  "under REPEATABLE READ, in New York, with other ways to write values",
  nodePostgres,
  {
    session: [
      "SET default_transaction_isolation = 'repeatable read'",
      "SET timezone = 'America/New_York'",
      "SET datestyle = 'SQL, DMY'",
      "SET intervalstyle = 'sql_standard'",
      "SET standard_conforming_strings = 'off'",
      "SET extra_float_digits = '-15'",
    ],
  },
)

describeLaws("postgres", "under SERIALIZABLE, with postgres.js that renames and parses columns", postgresJs, {
  session: ["SET default_transaction_isolation = 'serializable'"],
  options: {
    transform: { undefined: null, column: { from: (name: string) => name.toUpperCase() } },
    types: { bigint: { to: 20, from: [20], serialize: String, parse: BigInt } },
  },
})

describeLaws("postgres", "behind PgBouncer with a connection for each transaction", nodePostgres, {
  prepare: false,
  through: pooled,
})

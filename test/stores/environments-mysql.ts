import type { Engine } from "../support/servers/server.ts"
import { mysqlDrivers, type OpenClient } from "./clients.ts"
import { describeLaws } from "./conformance.ts"

const { mysql2, mariadb } = mysqlDrivers as Record<"mysql2" | "mariadb", OpenClient>

/** What a database, or a connection to it, may be set to without a session noticing. */
export function describeEnvironments(engine: Engine): void {
  describeLaws(engine, "under READ COMMITTED, in Kolkata, lax, without CLIENT_FOUND_ROWS", mysql2, {
    session: [
      "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
      "SET time_zone = '+05:30'",
      "SET sql_mode = ''",
    ],
    options: { flags: ["-FOUND_ROWS"] },
  })

  const simultaneous = engine === "mariadb" ? ",SIMULTANEOUS_ASSIGNMENT,TIME_ROUND_FRACTIONAL" : ""
  describeLaws(
    engine,
    "under SERIALIZABLE, strict, with ANSI_QUOTES and what goes with it, other types",
    mariadb,
    {
      session: [
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        `SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,REAL_AS_FLOAT,IGNORE_SPACE,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION,STRICT_ALL_TABLES${simultaneous}'`,
      ],
      options: {
        foundRows: false,
        insertIdAsNumber: true,
        bigIntAsNumber: true,
        namedPlaceholders: true,
        dateStrings: true,
      },
    },
  )

  describeLaws(engine, "without prepared statements, with other types", mysql2, {
    prepare: false,
    options: {
      nestTables: "_",
      namedPlaceholders: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
      dateStrings: true,
      decimalNumbers: true,
      jsonStrings: true,
      charset: "utf8mb4_general_ci",
    },
  })
}

import mysql from "mysql2/promise"
import pg from "pg"
import { describe, inject } from "vitest"
import type { Address, Engine } from "./server.ts"

const engines: Readonly<Record<Engine, { name: string; program: string }>> = {
  postgres: { name: "PostgreSQL", program: "postgres" },
  mariadb: { name: "MariaDB", program: "mariadbd" },
  mysql: { name: "MySQL", program: "mysqld" },
}

/** `describe` for tests that need a server; they are skipped where its program is not installed, or was left out by `COATCHECK_SERVERS`. */
export function describeOn(
  engine: Engine,
  title: string,
  tests: () => void,
  options: { readonly concurrent?: boolean } = {},
): void {
  const { name, program } = engines[engine]
  const isMissing = serverOf(engine) === null
  describe.skipIf(isMissing)(`${name}: ${title}${isMissing ? ` (no ${program} here)` : ""}`, options, tests)
}

export interface FreshDatabase extends Address {
  drop(): Promise<void>
}

let count = 0

/** An empty database on the server of this test run. */
export async function freshDatabase(engine: Engine): Promise<FreshDatabase> {
  const server = serverOf(engine)
  if (server === null) throw new Error(`${engines[engine].name} does not run.`)
  const database = `test_${process.pid}_${Date.now().toString(36)}_${++count}`
  await execute(engine, server, `CREATE DATABASE ${database}`)
  return {
    ...server,
    database,
    drop: () =>
      execute(engine, server, `DROP DATABASE ${database}${engine === "postgres" ? " WITH (FORCE)" : ""}`),
  }
}

/** Runs a statement on a connection of its own. */
export async function execute(engine: Engine, address: Address, sql: string): Promise<void> {
  if (engine === "postgres") {
    const client = new pg.Client({ ...address })
    client.on("error", () => undefined)
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  } else {
    const connection = await mysql.createConnection({ ...address })
    try {
      await connection.query(sql)
    } finally {
      await connection.end()
    }
  }
}

function serverOf(engine: Engine): Address | null {
  return inject("servers")[engine]
}

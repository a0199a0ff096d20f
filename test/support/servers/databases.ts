import mysql from "mysql2/promise"
import pg from "pg"
import { describe, inject } from "vitest"
import type { Address, Engine } from "./server.ts"

const names: Readonly<Record<Engine, string>> = { postgres: "PostgreSQL", mariadb: "MariaDB", mysql: "MySQL" }

/** `describe` for tests that need a server; they are skipped where its program is not installed. */
export function describeOn(engine: Engine, name: string, tests: () => void): void {
  const title = `${names[engine]}: ${name}`
  if (serverOf(engine) === null) describe.skip(`${title} (the server is not installed)`, tests)
  else describe(title, tests)
}

export interface FreshDatabase extends Address {
  drop(): Promise<void>
}

let count = 0

/** An empty database on the server of this test run. */
export async function freshDatabase(engine: Engine): Promise<FreshDatabase> {
  const server = serverOf(engine)
  if (server === null) throw new Error(`${names[engine]} does not run.`)
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
    await client.connect()
    await client.query(sql).finally(() => client.end())
  } else {
    const connection = await mysql.createConnection({ ...address })
    await connection.query(sql).finally(() => connection.end())
  }
}

function serverOf(engine: Engine): Address | null {
  return inject("servers")[engine]
}

import { createConnection } from "mysql2/promise"
import { freePort } from "./ports.ts"
import type { Address } from "./server.ts"

/** What MariaDB and MySQL have in common. */

export async function mysqlAddress(): Promise<Address> {
  return { host: "127.0.0.1", port: await freePort(), user: "root", password: "", database: "test" }
}

export function mysqlArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
}

/**
 * The settings of both. At 2, a crash of the process loses no commit, for the log is written to the file with every
 * one and flushed once a second; at 0, it would lose up to a second.
 */
export function commonSettings(port: number, folder: string): Record<string, string> {
  return {
    datadir: `${folder}/data`,
    tmpdir: folder,
    socket: `${folder}/socket`,
    "pid-file": `${folder}/pid`,
    "bind-address": "127.0.0.1",
    port: String(port),
    "max-connections": "300",
    "innodb-buffer-pool-size": "64M",
    "innodb-flush-log-at-trx-commit": "2",
    "performance-schema": "OFF",
  }
}

export async function greet({ database, ...address }: Address): Promise<string> {
  const connection = await createConnection({ ...address, connectTimeout: 2_000 })
  try {
    await connection.query(`create database if not exists ${database}`)
    const [rows] = await connection.query("select version() as version")
    return (rows as { version: string }[])[0]!.version.split("-")[0]!
  } finally {
    await connection.end()
  }
}

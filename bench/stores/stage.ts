import type { Address, DatabaseServer, Engine } from "../../test/support/servers/server.ts"
import { startMariadb } from "../../test/support/servers/mariadb.ts"
import { startMysql } from "../../test/support/servers/mysql.ts"
import { startPostgres } from "../../test/support/servers/postgres.ts"
import type { Contender } from "./contender.ts"

/** The drivers' own default: all four make pools of ten. A pool is shared by all that use its driver. */
export const POOL_SIZE = 10

export const ENGINES: Readonly<
  Record<Engine, { readonly name: string; readonly start: () => Promise<DatabaseServer | undefined> }>
> = {
  postgres: { name: "PostgreSQL", start: startPostgres },
  mariadb: { name: "MariaDB", start: startMariadb },
  mysql: { name: "MySQL", start: startMysql },
}

export interface StageOptions {
  readonly address: Address
  /** Whether the bare table has an index by which the expired can be found. */
  readonly hasDeadlineIndex: boolean
}

/** The contenders on one engine, with empty tables. */
export interface Stage {
  readonly contenders: readonly Contender[]
  /** Our store with `prepare: false`. */
  readonly unprepared: readonly Contender[]
  /** Reads the bare row, merges here, and writes if the version is the same. @returns whether it was */
  compareAndSet(id: string, change: object): Promise<boolean>
  /** After the tables have been filled. */
  settle(): Promise<void>
  /** Removes what our moves have left behind. */
  clear(): Promise<void>
  close(): Promise<void>
}

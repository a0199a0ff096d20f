/**
 * What each operation of a store costs on a server, beside the bare statement or command through the same driver, and beside the stores that
 * `express-session` has there. `npm run bench:stores`, or with `-- --engine postgres|mariadb|mysql|redis|valkey`, `--rounds 15`, `--quick`, `--cpu` for the
 * time of the processors, client's and server's, in the place of what a clock shows (for a machine that is busy with other things), and `--floor` for a bare table without an index on the deadline, from which nothing expired could be removed.
 * Ratios are what counts: the machine's own speed cancels out. Servers are private ones with the settings of the tests, alike for all: SQL servers
 * write each commit to the log, and do not flush the log at each; Redis and Valkey keep nothing on the disk.
 */
import { startMariadb } from "../../test/support/servers/mariadb.ts"
import { startMysql } from "../../test/support/servers/mysql.ts"
import { startPostgres } from "../../test/support/servers/postgres.ts"
import { startRedis, startValkey } from "../../test/support/servers/redis.ts"
import { openMysql } from "./mysql.ts"
import { openPostgres } from "./postgres.ts"
import { benchmarkRedis } from "./redis.ts"
import { type AnyEngine, type AnyServer, print, settings } from "./settings.ts"
import { benchmarkSql } from "./sql.ts"
import type { SqlStage, SqlStageOptions } from "./stage.ts"

interface Engine {
  readonly name: string
  readonly start: () => Promise<AnyServer | undefined>
  readonly benchmark: (title: string, server: AnyServer) => Promise<void>
}

const ENGINES: Readonly<Record<AnyEngine, Engine>> = {
  postgres: { name: "PostgreSQL", start: startPostgres, benchmark: sql(openPostgres) },
  mariadb: { name: "MariaDB", start: startMariadb, benchmark: sql(openMysql) },
  mysql: { name: "MySQL", start: startMysql, benchmark: sql(openMysql) },
  redis: { name: "Redis", start: startRedis, benchmark: benchmarkRedis },
  valkey: { name: "Valkey", start: startValkey, benchmark: benchmarkRedis },
}

const known = Object.keys(ENGINES) as AnyEngine[]
const wanted = settings.engines ?? known
const engines = known.filter((engine) => wanted.includes(engine))
if (engines.length < wanted.length) throw new Error(`There are these engines: ${known.join(", ")}.`)

print(
  `Node ${process.version}, ${process.platform} ${process.arch}. Medians of ${settings.rounds} interleaved rounds${settings.cpu ? ", time of the processors" : ""}. `,
)
print(`${settings.sessions} sessions of 1 KB.\n`)

for (const engine of engines) {
  const { name, start, benchmark } = ENGINES[engine]
  const server = await start()
  if (server === undefined) {
    print(`\n${name}: not installed\n`)
    continue
  }
  try {
    await benchmark(`${name} ${server.version}`, server)
  } finally {
    await server.stop()
  }
}

function sql(open: (options: SqlStageOptions) => Promise<SqlStage>): Engine["benchmark"] {
  return (title, server) => benchmarkSql(title, server, open)
}

import { chownSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { requireProgram } from "../support/programs.ts"
import { serverAccount } from "../support/servers/accounts.ts"
import { dropFolder, makeFolder } from "../support/servers/belongings.ts"
import { launch } from "../support/servers/commands.ts"
import { execute, type FreshDatabase } from "../support/servers/databases.ts"
import { freePort } from "../support/servers/ports.ts"

export const pgbouncer: string | undefined = requireProgram("pgbouncer", ["/usr/sbin/pgbouncer"])

/** The same database behind a PgBouncer of its own, which gives each transaction whatever connection is free. */
export async function pooled(database: FreshDatabase): Promise<FreshDatabase> {
  const account = serverAccount("postgres")
  const port = await freePort()
  const folder = makeFolder("pgbouncer")
  writeFileSync(join(folder, "users"), `"${database.user}" ""\n`)
  writeFileSync(
    join(folder, "pgbouncer.ini"),
    `[databases]
* = host=${database.host} port=${database.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${join(folder, "users")}
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
server_reset_query = DISCARD ALL
server_reset_query_always = 1
logfile = ${join(folder, "pgbouncer.log")}
`,
  )
  if (account !== undefined) chownSync(folder, account.uid, account.gid)
  const child = launch({
    program: pgbouncer as string,
    args: [join(folder, "pgbouncer.ini")],
    account,
    folder,
    log: join(folder, "log"),
  })
  const behind = { ...database, port }
  for (let tries = 0; ; tries++) {
    try {
      await execute("postgres", behind, "SELECT 1")
      break
    } catch (error) {
      if (tries === 100) throw error
      await sleep(50)
    }
  }
  return {
    ...behind,
    drop: async () => {
      child.kill("SIGTERM")
      await database.drop()
      dropFolder(folder)
    },
  }
}

import { chownSync } from "node:fs"
import { join } from "node:path"
import { requireProgram } from "../programs.ts"
import { serverAccount } from "./accounts.ts"
import { makeFolder } from "./belongings.ts"
import { run } from "./commands.ts"
import { commonSettings, greet, mysqlAddress, mysqlArguments } from "./mysql-family.ts"
import { startServer } from "./private-server.ts"
import type { DatabaseServer, ServerOptions } from "./server.ts"

/** Starts a private MariaDB; undefined if this machine has none. */
export async function startMariadb(options: ServerOptions = {}): Promise<DatabaseServer | undefined> {
  const program = requireProgram("mariadbd", ["/usr/sbin/mariadbd"])
  const installer = requireProgram("mariadb-install-db", ["/usr/bin/mariadb-install-db"])
  if (program === undefined || installer === undefined) return undefined
  const account = serverAccount("mysql")
  const address = await mysqlAddress()
  const folder = makeFolder("mariadb")
  if (account !== undefined) chownSync(folder, account.uid, account.gid)
  const shared = { account, env: options.env, folder, log: join(folder, "log") }
  const settings = { ...commonSettings(address.port, folder), ...options.settings }
  return startServer({
    engine: "mariadb",
    address,
    folder,
    initialize: () =>
      run({
        ...shared,
        program: installer,
        args: [
          "--no-defaults",
          `--datadir=${settings["datadir"]}`,
          "--auth-root-authentication-method=normal",
          "--skip-test-db",
        ],
      }),
    command: {
      ...shared,
      program,
      args: ["--no-defaults", "--skip-log-bin", ...mysqlArguments(settings)],
    },
    stopSignal: "SIGTERM",
    greet: () => greet(address),
  })
}

import { chownSync } from "node:fs"
import { join } from "node:path"
import { requireProgram } from "../programs.ts"
import { type Account, accountOf, isRoot } from "./accounts.ts"
import { makeFolder } from "./belongings.ts"
import { type Command, run } from "./commands.ts"
import { commonSettings, greet, mysqlAddress, mysqlArguments } from "./mysql-family.ts"
import { startServer } from "./private-server.ts"
import type { DatabaseServer, ServerOptions } from "./server.ts"

/**
 * The folder from which MySQL runs. Debian's stable releases have MariaDB alone, so this is another Debian, with
 * mysql-server-core and little else, into which the server is locked with chroot. `.ci/run` makes it.
 */
const root = process.env["COATCHECK_MYSQL_ROOT"] ?? "/var/lib/coatcheck-test/mysql"

const program = "/usr/sbin/mysqld"

/** Starts a private MySQL of Oracle's; undefined if this machine has none, or if we may not call chroot. */
export async function startMysql(options: ServerOptions = {}): Promise<DatabaseServer | undefined> {
  const missing = "mysqld for a chroot, which only root can enter,"
  if (requireProgram(missing, isRoot() ? [join(root, program)] : []) === undefined) return undefined
  // Debian's mysql-server-core makes no user. This one, "nobody", is at home in every Debian.
  const account = accountOf("mysql", join(root, "etc/passwd")) ?? { uid: 65_534, gid: 65_534 }
  const address = await mysqlAddress()
  const folder = makeFolder("mysql", join(root, "tmp"))
  chownSync(folder, account.uid, account.gid)
  const inside = folder.slice(root.length)
  const settings = {
    ...commonSettings(address.port, inside),
    "innodb-redo-log-capacity": "32M",
    mysqlx: "OFF",
    "secure-file-priv": "",
    ...options.settings,
  }
  const command = (...flags: string[]): Command => ({
    program: "chroot",
    args: mysqldInside(account, [...flags, "--skip-log-bin", ...mysqlArguments(settings)]),
    env: options.env,
    folder,
    log: join(folder, "log"),
  })
  return startServer({
    engine: "mysql",
    address,
    folder,
    initialize: () => run(command("--initialize-insecure")),
    command: command(),
    stopSignal: "SIGTERM",
    greet: () => greet(address),
  })
}

/** The arguments of chroot, which turns into the server: both are the same process. */
function mysqldInside({ uid, gid }: Account, args: readonly string[]): string[] {
  return [`--userspec=${uid}:${gid}`, root, program, "--no-defaults", ...args]
}

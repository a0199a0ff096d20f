import { chownSync, globSync } from "node:fs"
import { dirname, join } from "node:path"
import { Client } from "pg"
import { requireProgram } from "../programs.ts"
import { serverAccount } from "./accounts.ts"
import { makeFolder } from "./belongings.ts"
import { run } from "./commands.ts"
import { freePort } from "./ports.ts"
import { startServer } from "./private-server.ts"
import type { Address, DatabaseServer, ServerOptions } from "./server.ts"

// With fsync off a crash of the process loses nothing, one of the machine everything. Without synchronous_commit, a
// crash of the process would lose what was committed just before.
const defaults = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  shared_buffers: "64MB",
  fsync: "off",
  full_page_writes: "off",
}

/** Starts a private PostgreSQL; undefined if this machine has none. */
export async function startPostgres(options: ServerOptions = {}): Promise<DatabaseServer | undefined> {
  const program = requireProgram("postgres", newestFirst(globSync("/usr/lib/postgresql/*/bin/postgres")))
  if (program === undefined) return undefined
  const account = serverAccount("postgres")
  const address = await postgresAddress()
  const folder = makeFolder("postgres")
  if (account !== undefined) chownSync(folder, account.uid, account.gid)
  const data = join(folder, "data")
  const shared = { account, env: options.env, folder, log: join(folder, "log") }
  const settings = { port: String(address.port), ...defaults, ...options.settings }
  return startServer({
    engine: "postgres",
    address,
    folder,
    initialize: () =>
      run({
        ...shared,
        program: join(dirname(program), "initdb"),
        args: ["-D", data, "-U", address.user, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
      }),
    command: {
      ...shared,
      program,
      args: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    },
    stopSignal: "SIGINT",
    greet: () => greet(address),
  })
}

async function postgresAddress(): Promise<Address> {
  return { host: "127.0.0.1", port: await freePort(), user: "postgres", password: "", database: "postgres" }
}

/** The folders are called after major versions, of which 9 is older than 15. */
function newestFirst(programs: string[]): string[] {
  return programs.sort((one, other) => other.localeCompare(one, "en", { numeric: true }))
}

async function greet(address: Address): Promise<string> {
  const client = new Client({ ...address, connectionTimeoutMillis: 2_000 })
  // An error of the idle connection; the query would tell of it.
  client.on("error", () => {})
  await client.connect()
  try {
    const { rows } = await client.query<{ server_version: string }>("show server_version")
    return rows[0]!.server_version.split(" ")[0]!
  } finally {
    await client.end()
  }
}

import { chownSync, globSync } from "node:fs"
import { dirname, join } from "node:path"
import { expect, test } from "vitest"
import type { SessionRecord } from "coatcheck"
import { requireProgram } from "../support/programs.ts"
import { serverAccount } from "../support/servers/accounts.ts"
import { makeFolder } from "../support/servers/belongings.ts"
import { run } from "../support/servers/commands.ts"
import { describeOn, execute } from "../support/servers/databases.ts"
import { freePort } from "../support/servers/ports.ts"
import { startPostgres } from "../support/servers/postgres.ts"
import { startServer } from "../support/servers/private-server.ts"
import type { DatabaseServer } from "../support/servers/server.ts"
import { driversOf, expectAllToFail, OPERATIONS, put } from "./faults.ts"

/** A real replica of PostgreSQL, which follows its primary and takes no writes. */

const backup = requireProgram(
  "pg_basebackup",
  globSync("/usr/lib/postgresql/*/bin/pg_basebackup").toSorted().toReversed(),
)
const READS = ["load", "listByUser"]

describeOn("postgres", "a replica", () => {
  test.skipIf(backup === undefined)(
    "tells that it is one at each write, and is good enough for reading",
    async () => {
      const primary = (await startPostgres())!
      const replica = await replicaOf(primary)
      const advice =
        /: the server is read-only, as a replica is; sessions are written, so connect to the primary\.$/
      for (const { open } of driversOf("postgres")) {
        const [writer, reader] = [
          await open(addressOf(primary), { size: 2 }),
          await open(addressOf(replica), { size: 2 }),
        ]
        await writer.store().migrate()
        const id = await put(writer.store())
        const store = reader.store()
        let found: SessionRecord | undefined
        do found = (await store.load(id).catch(() => undefined)) as SessionRecord | undefined
        while (found === undefined)
        await expectAllToFail(
          store,
          id,
          advice,
          OPERATIONS.filter((name) => !READS.includes(name)),
        )
        expect(await store.listByUser("nobody")).toEqual([])
        await Promise.all([writer.close(), reader.close()])
      }
      await replica.stop()
      await primary.stop()
    },
  )
})

function addressOf({
  host,
  port,
  user,
  password,
  database,
}: DatabaseServer): Pick<DatabaseServer, "host" | "port" | "user" | "password" | "database"> {
  return { host, port, user, password, database }
}

async function replicaOf(primary: DatabaseServer): Promise<DatabaseServer> {
  const account = serverAccount("postgres")
  const folder = makeFolder("replica")
  if (account !== undefined) chownSync(folder, account.uid, account.gid)
  const address = { ...addressOf(primary), port: await freePort() }
  const data = join(folder, "data")
  const shared = { account, folder, log: join(folder, "log") }
  const settings = {
    port: address.port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: 200,
    fsync: "off",
  }
  return startServer({
    engine: "postgres",
    address,
    folder,
    initialize: () =>
      run({
        ...shared,
        program: backup as string,
        args: [
          "-D",
          data,
          "-h",
          primary.host,
          "-p",
          String(primary.port),
          "-U",
          primary.user,
          "-R",
          "-X",
          "stream",
          "-c",
          "fast",
          "--no-sync",
        ],
      }),
    command: {
      ...shared,
      program: join(dirname(backup as string), "postgres"),
      args: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    },
    stopSignal: "SIGINT",
    greet: async () => {
      await execute("postgres", address, "SELECT 1")
      return primary.version
    },
  })
}

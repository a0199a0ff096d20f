import type { TestProject } from "vitest/node"
import { startMariadb } from "./mariadb.ts"
import { startMysql } from "./mysql.ts"
import { startPostgres } from "./postgres.ts"
import type { Address, DatabaseServer, Engine } from "./server.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The servers of this test run; null where a program is missing. */
    servers: Record<Engine, Address | null>
  }
}

const starters: Record<Engine, () => Promise<DatabaseServer | undefined>> = {
  postgres: startPostgres,
  mariadb: startMariadb,
  mysql: startMysql,
}

/** Starts one server of each engine for all test files, or those that `COATCHECK_SERVERS` names, such as `postgres,mysql`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const wanted = process.env["COATCHECK_SERVERS"]?.split(",")
  const servers: Record<Engine, Address | null> = { postgres: null, mariadb: null, mysql: null }
  const started: DatabaseServer[] = []
  const start = async (engine: Engine): Promise<void> => {
    if (wanted !== undefined && !wanted.includes(engine)) return
    const server = await startOf(engine)
    if (server === undefined) return
    started.push(server)
    const { host, port, user, password, database } = server
    servers[engine] = { host, port, user, password, database }
  }
  const results = await Promise.allSettled([start("postgres"), start("mariadb"), start("mysql")])
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.stop()))
  }
  const failure = results.find((result) => result.status === "rejected")
  if (failure !== undefined) {
    await stop()
    throw failure.reason
  }
  project.provide("servers", servers)
  return stop
}

/** Between its being found free and its use, another test run may take a port. */
async function startOf(engine: Engine, tries = 3): Promise<DatabaseServer | undefined> {
  try {
    return await starters[engine]()
  } catch (error) {
    if (tries === 1 || !/address already in use/i.test(String(error))) throw error
    return startOf(engine, tries - 1)
  }
}

import type { TestProject } from "vitest/node"
import { startMariadb } from "./mariadb.ts"
import { startMysql } from "./mysql.ts"
import { startPostgres } from "./postgres.ts"
import { startCluster, startRedis, startValkey } from "./redis.ts"
import type { Address, DatabaseServer, Engine, KeyValueEngine } from "./server.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The servers of this test run; null where a program is missing. */
    servers: Record<Engine | KeyValueEngine, Address | null>
    /** The ports of a Redis Cluster with three masters; null where the program is missing. */
    cluster: number[] | null
  }
}

type AnyServer = DatabaseServer<Engine | KeyValueEngine>

const starters: Record<Engine | KeyValueEngine, () => Promise<AnyServer | undefined>> = {
  redis: startRedis,
  valkey: startValkey,
  postgres: startPostgres,
  mariadb: startMariadb,
  mysql: startMysql,
}

/** Starts one server of each engine and a cluster for all test files, or those that `COATCHECK_SERVERS` names, such as `postgres,cluster`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const wanted = process.env["COATCHECK_SERVERS"]?.split(",")
  const isWanted = (name: string): boolean => wanted === undefined || wanted.includes(name)
  const servers: Record<Engine | KeyValueEngine, Address | null> = {
    postgres: null,
    mariadb: null,
    mysql: null,
    redis: null,
    valkey: null,
  }
  const started: { stop(): Promise<void> }[] = []
  let ports: number[] | null = null
  const start = async (engine: Engine | KeyValueEngine): Promise<void> => {
    if (!isWanted(engine)) return
    const server = await startOf(engine)
    if (server === undefined) return
    started.push(server)
    const { host, port, user, password, database } = server
    servers[engine] = { host, port, user, password, database }
  }
  const startNodes = async (): Promise<void> => {
    if (!isWanted("cluster")) return
    const cluster = await startCluster()
    if (cluster === undefined) return
    started.push(cluster)
    ports = cluster.nodes.map((node) => node.port)
  }
  const engines = Object.keys(servers) as (Engine | KeyValueEngine)[]
  const results = await Promise.allSettled([...engines.map((engine) => start(engine)), startNodes()])
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.stop()))
  }
  const failure = results.find((result) => result.status === "rejected")
  if (failure !== undefined) {
    await stop()
    throw failure.reason
  }
  project.provide("servers", servers)
  project.provide("cluster", ports)
  return stop
}

/** Between its being found free and its use, another test run may take a port. */
async function startOf(engine: Engine | KeyValueEngine, tries = 3): Promise<AnyServer | undefined> {
  try {
    return await starters[engine]()
  } catch (error) {
    if (tries === 1 || !/address already in use/i.test(String(error))) throw error
    return startOf(engine, tries - 1)
  }
}

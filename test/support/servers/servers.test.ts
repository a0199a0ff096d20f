import { existsSync } from "node:fs"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { createConnection as connectMariadb } from "mariadb"
import { createConnection as connectMysql2 } from "mysql2/promise"
import { Client } from "pg"
import connectPostgres from "postgres"
import { afterAll, beforeAll, expect, test } from "vitest"
import { describeOn, freshDatabase } from "./databases.ts"
import { startMariadb } from "./mariadb.ts"
import { startMysql } from "./mysql.ts"
import { startPostgres } from "./postgres.ts"
import { isRunning } from "./processes.ts"
import type { Address, DatabaseServer, Engine, ServerOptions } from "./server.ts"

type Row = Record<string, unknown>

/** One connection, one statement. */
type Query = (address: Address, statement: string) => Promise<Row[]>

interface Case {
  readonly engine: Engine
  readonly start: (options?: ServerOptions) => Promise<DatabaseServer | undefined>
  readonly drivers: Record<string, Query>
  /** A setting to choose, and how to ask for it. */
  readonly setting: { readonly name: string; readonly value: string; readonly question: string }
  /** Asks how many hours the server's time zone is ahead. */
  readonly zone: string
}

const mysqlDrivers = { mysql2: throughMysql2, mariadb: throughMariadb }

const cases: Case[] = [
  {
    engine: "postgres",
    start: startPostgres,
    drivers: { pg: throughPg, postgres: throughPostgres },
    setting: { name: "work_mem", value: "7MB", question: "select current_setting('work_mem') as value" },
    zone: "select (extract(timezone from now()) / 3600)::int::text as hours",
  },
  ...[
    { engine: "mariadb" as const, start: startMariadb },
    { engine: "mysql" as const, start: startMysql },
  ].map((each) => ({
    ...each,
    drivers: mysqlDrivers,
    setting: {
      name: "auto-increment-offset",
      value: "7",
      question: "select cast(@@global.auto_increment_offset as char) as value",
    },
    zone: "select cast(timestampdiff(hour, utc_timestamp(), now()) as char) as hours",
  })),
]

for (const { engine, start, drivers, setting, zone } of cases) {
  const [query] = Object.values(drivers) as [Query]

  describeOn(engine, `A private ${engine}`, () => {
    let server: DatabaseServer

    beforeAll(async () => {
      const settings = { [setting.name]: setting.value }
      server = (await start({ settings, env: { TZ: "XXX-9" } }))!
    })
    afterAll(() => server.stop())

    test.each(Object.keys(drivers))("answers a query of the driver %s", async (driver) => {
      // MySQL calls the type of a literal bigint, which the driver mariadb takes at its word.
      const [row] = await drivers[driver]!(server, "select 1 as one")
      expect(Number(row!["one"])).toBe(1)
      expect(server.version).toMatch(/^\d+(\.\d+)+$/)
    })

    test("runs with the settings and the environment that it is given", async () => {
      expect(await query(server, setting.question)).toEqual([{ value: setting.value }])
      expect(await query(server, zone)).toEqual([{ hours: "9" }])
    })

    test("keeps what was committed through a crash and an ordinary stop, and comes back on its port", async () => {
      const { port } = server
      await query(server, "create table kept (number integer)")
      for (const [number, end] of [server.kill, server.shutDown].entries()) {
        const { pid } = server
        await query(server, `insert into kept values (${number})`)
        await end.call(server)
        expect(isRunning(pid)).toBe(false)
        await expect(query(server, "select 1")).rejects.toThrow()
        await server.start()
        expect(server.port).toBe(port)
        expect(server.pid).not.toBe(pid)
      }
      expect(await query(server, "select number from kept order by number")).toEqual([
        { number: 0 },
        { number: 1 },
      ])
    })

    test("leaves neither its process nor its folder when it stops", async () => {
      const { pid, folder } = server
      expect(existsSync(folder)).toBe(true)
      await server.stop()
      expect(isRunning(pid)).toBe(false)
      expect(existsSync(folder)).toBe(false)
    })

    test("tells what it has logged if it cannot start", async () => {
      const impossible = start({ settings: { unheard_of: "1" } })
      await expect(impossible).rejects.toThrow(/unheard_of/)
    })

    test("is gone after the test process, even one that was ended with SIGKILL", async () => {
      const { pid, folder } = await serverOfKilledProcess(engine)
      while (isRunning(pid) || existsSync(folder)) await sleep(20)
    })
  })

  describeOn(engine, `The shared ${engine}`, () => {
    test("gives fresh databases that are empty and apart", async () => {
      const [one, other] = await Promise.all([freshDatabase(engine), freshDatabase(engine)])
      expect(one.database).not.toBe(other.database)
      await query(one, "create table mine (number integer)")
      await query(other, "create table mine (number integer)")
      await query(one, "insert into mine values (1)")
      expect(await query(other, "select * from mine")).toEqual([])
      await Promise.all([one.drop(), other.drop()])
      await expect(query(one, "select 1")).rejects.toThrow()
    })
  })
}

interface Traces {
  readonly pid: number
  readonly folder: string
}

/** Starts a server in another process and ends that process, without a chance to clean up, once the server answers. */
async function serverOfKilledProcess(engine: Engine): Promise<Traces> {
  const starter = `start${engine[0]!.toUpperCase()}${engine.slice(1)}`
  const script = `
    import { ${starter} } from ${JSON.stringify(new URL(`${engine}.ts`, import.meta.url).href)}
    const { pid, folder } = await ${starter}()
    process.stdout.write(JSON.stringify({ pid, folder }), () => process.kill(process.pid, "SIGKILL"))
  `
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, "exit")])
  return JSON.parse(output) as Traces
}

function addressOf({ host, port, user, password, database }: Address): Address {
  return { host, port, user, password, database }
}

async function throughPg(address: Address, statement: string): Promise<Row[]> {
  const client = new Client(addressOf(address))
  client.on("error", () => undefined)
  await client.connect()
  try {
    return (await client.query<Row>(statement)).rows
  } finally {
    await client.end()
  }
}

async function throughPostgres(address: Address, statement: string): Promise<Row[]> {
  const { host, port, user, password, database } = address
  const sql = connectPostgres({ host, port, user, password, database, max: 1 })
  try {
    return [...(await sql.unsafe<Row[]>(statement))]
  } finally {
    await sql.end()
  }
}

async function throughMysql2(address: Address, statement: string): Promise<Row[]> {
  const connection = await connectMysql2(addressOf(address))
  try {
    const [rows] = await connection.query(statement)
    return rows as Row[]
  } finally {
    await connection.end()
  }
}

async function throughMariadb(address: Address, statement: string): Promise<Row[]> {
  const connection = await connectMariadb(addressOf(address))
  try {
    return [...(await connection.query<Row[]>(statement))]
  } finally {
    await connection.end()
  }
}

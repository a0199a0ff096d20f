import { parseArgs } from "node:util"
import { setTimeout as sleep } from "node:timers/promises"
import mysql from "mysql2/promise"
import pg from "pg"
import type { NewRecord, SessionStore } from "coatcheck"
import { mysqlStore } from "coatcheck/mysql"
import { postgresStore } from "coatcheck/postgres"
import { startMariadb } from "../../test/support/servers/mariadb.ts"
import { startMysql } from "../../test/support/servers/mysql.ts"
import { startPostgres } from "../../test/support/servers/postgres.ts"
import type { Address, DatabaseServer, Engine } from "../../test/support/servers/server.ts"

/**
 * How long a session's read waits, at worst, while a million expired rows are swept: `npm run bench:sweep`. Four readers ask for live
 * sessions all the time, first alone and then beside two sweepers.
 */

const { values: options } = parseArgs({
  options: { rows: { type: "string", default: "1000000" }, limit: { type: "string", default: "1000" } },
})
const ROWS = Number(options.rows)
const LIMIT = Number(options.limit)
const LIVE = 1000
const READERS = 4
const SWEEPERS = 2
const ALONE = 5000

interface Opened {
  readonly store: SessionStore & { migrate(): Promise<void> }
  readonly run: (sql: string) => Promise<unknown>
  readonly close: () => Promise<void>
}

const columns = "id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at"
const state = `{"text": "${"x".repeat(200)}"}`

const engines: Readonly<
  Record<
    Engine,
    { start: () => Promise<DatabaseServer | undefined>; open: (address: Address) => Opened; fill: string }
  >
> = {
  postgres: {
    start: startPostgres,
    open: ({ host, port, user, password, database }) => {
      const pool = new pg.Pool({ host, port, user, password, database, max: 10 })
      pool.on("error", () => undefined)
      return { store: postgresStore(pool), run: (sql) => pool.query(sql), close: () => pool.end() }
    },
    fill: `INSERT INTO sessions (${columns}) SELECT md5(n::text), '${state}', 1, 0, 0, n, n, n FROM generate_series(1, ${ROWS}) AS n`,
  },
  mariadb: {
    start: startMariadb,
    open: openMysql,
    fill: `INSERT INTO sessions (row_id, ${columns}) SELECT seq, MD5(seq), '${state}', 1, 0, 0, seq, seq, seq FROM seq_1_to_${ROWS}`,
  },
  mysql: {
    start: startMysql,
    open: openMysql,
    fill: `INSERT INTO sessions (row_id, ${columns})
      WITH RECURSIVE ones (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM ones WHERE n < 999), numbers (n) AS (SELECT a.n * 1000 + b.n FROM ones AS a JOIN ones AS b WHERE a.n < ${ROWS / 1000})
      SELECT n + 1, SHA2(n, 256), '${state}', 1, 0, 0, n, n, n FROM numbers`,
  },
}

function openMysql({ host, port, user, password, database }: Address): Opened {
  const pool = mysql.createPool({ host, port, user, password, database, connectionLimit: 10 })
  return { store: mysqlStore(pool), run: (sql) => pool.query(sql), close: () => pool.end() }
}

const record: NewRecord = {
  state: new Map([["text", `"${"x".repeat(200)}"`]]),
  userId: null,
  label: null,
  idleTtl: 1e8,
  fixedTtl: null,
  cookieKind: null,
  absoluteTtl: 1e8,
}

for (const [engine, { start, open, fill }] of Object.entries(engines)) {
  const server = await start()
  if (server === undefined) {
    console.log(`${engine}: not installed`)
    continue
  }
  const { store, run, close } = open(server)
  await store.migrate()
  await run(fill)
  const ids = Array.from({ length: LIVE }, (_, index) => `live-${index}`)
  for (const id of ids) await store.create(id, record)
  const alone = await reading(store, ids, () => sleep(ALONE))
  let removed = 0
  const began = performance.now()
  const beside = await reading(store, ids, async () => {
    const counts = await Promise.all(Array.from({ length: SWEEPERS }, () => sweep(store)))
    removed = counts.reduce((sum, count) => sum + count)
  })
  const seconds = (performance.now() - began) / 1000
  console.log(
    `${engine} ${server.version}: ${removed} rows in ${seconds.toFixed(1)} s by ${SWEEPERS} sweepers, ${LIMIT} at a time\n` +
      `  a read alone:         ${told(alone)}\n  beside the sweepers:  ${told(beside)}`,
  )
  await close()
  await server.stop()
}

/** Milliseconds of each read while something is done. */
async function reading(
  store: SessionStore,
  ids: readonly string[],
  work: () => Promise<unknown>,
): Promise<number[]> {
  const turn = { isOver: false }
  const times: number[] = []
  const readers = Array.from({ length: READERS }, async () => {
    while (!turn.isOver) {
      const began = performance.now()
      await store.load(ids[Math.floor(Math.random() * ids.length)] as string)
      times.push(performance.now() - began)
      await sleep(1)
    }
  })
  await work()
  turn.isOver = true
  await Promise.all(readers)
  return times.toSorted((a, b) => a - b)
}

async function sweep(store: SessionStore): Promise<number> {
  let [total, count] = [0, 0]
  do {
    count = await store.deleteExpired({ limit: LIMIT })
    total += count
  } while (count > 0)
  return total
}

function told(times: readonly number[]): string {
  const at = (share: number): string => (times[Math.floor((times.length - 1) * share)] as number).toFixed(1)
  return `median ${at(0.5)} ms, 99th percentile ${at(0.99)} ms, longest ${at(1)} ms (${times.length} reads)`
}

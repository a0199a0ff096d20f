import connectPgSimple from "connect-pg-simple"
import { postgresStore } from "coatcheck/postgres"
import expressSession from "express-session"
import pg from "pg"
import postgres from "postgres"
import { type Contender, found, ours, peer } from "./contender.ts"
import { POOL_SIZE, type SqlStage, type SqlStageOptions } from "./stage.ts"
import { STATE } from "./sample.ts"

/**
 * What the statements below are prepared under, and do: the least that keeps the promise of the operation with the engine's clock. They know one
 * idle timeout, which is written in them, and neither versions nor the times of creation and last use; a move leaves no word of itself.
 * Each is found by the primary key; that the session lives is part of the condition.
 */
const TEXTS = {
  create:
    "INSERT INTO bare (id, user_id, state, deadline) VALUES ($1, $2, $3::jsonb, now() + interval '30 minutes')",
  load: "SELECT state FROM bare WHERE id = $1 AND deadline > now()",
  update:
    "UPDATE bare SET state = state || $2::jsonb, deadline = now() + interval '30 minutes' WHERE id = $1 AND deadline > now()",
  updateTtl: "UPDATE bare SET deadline = now() + interval '30 minutes' WHERE id = $1 AND deadline > now()",
  changeId:
    "UPDATE bare SET id = $2, deadline = now() + interval '30 minutes' WHERE id = $1 AND deadline > now()",
  delete: "DELETE FROM bare WHERE id = $1 AND deadline > now()",
  listByUser: "SELECT id, deadline FROM bare WHERE user_id = $1 AND deadline > now()",
  read: "SELECT version, state FROM bare WHERE id = $1 AND deadline > now()",
  compareAndSet:
    "UPDATE bare SET state = $2::jsonb, version = version + 1, deadline = now() + interval '30 minutes' WHERE id = $1 AND version = $3::bigint",
}

type Name = keyof typeof TEXTS

/** One statement, prepared. */
type Run = (name: Name, values: unknown[]) => Promise<{ rows: readonly Row[]; count: number }>

interface Row {
  readonly state: unknown
  readonly version: string
}

export async function openPostgres({ address, hasDeadlineIndex }: SqlStageOptions): Promise<SqlStage> {
  const pool = new pg.Pool({ ...address, max: POOL_SIZE })
  const sql = postgres({ ...address, max: POOL_SIZE, onnotice: () => undefined })

  await pool.query(`CREATE TABLE bare (
    id text COLLATE "C" PRIMARY KEY, user_id text COLLATE "C", state jsonb NOT NULL, version bigint NOT NULL DEFAULT 1, deadline timestamptz NOT NULL
  )`)
  await pool.query("CREATE INDEX ON bare (user_id)")
  if (hasDeadlineIndex) await pool.query("CREATE INDEX ON bare (deadline)")
  await postgresStore(pool).migrate()
  const PeerStore = connectPgSimple(expressSession)
  const peerStore = new PeerStore({
    pool,
    tableName: "peer",
    createTableIfMissing: true,
    pruneSessionInterval: false,
  })

  const runPg: Run = async (name, values) => {
    const { rows, rowCount } = await pool.query<Row>({ name, text: TEXTS[name], values })
    return { rows, count: rowCount ?? 0 }
  }
  const runPostgres: Run = async (name, values) => {
    const rows = await sql.unsafe<Row[]>(TEXTS[name], values as never[], { prepare: true })
    return { rows, count: rows.count }
  }

  return {
    contenders: [
      ours("pg", postgresStore(pool)),
      bare("pg", runPg),
      ours("postgres", postgresStore(sql)),
      bare("postgres", runPostgres),
      peer("pg", peerStore),
    ],
    unprepared: [
      ours("pg", postgresStore(pool, { prepare: false })),
      ours("postgres", postgresStore(sql, { prepare: false })),
    ],
    compareAndSet: (id, change) => compareAndSet(runPg, id, change),
    settle: async () => void (await pool.query("VACUUM ANALYZE")),
    clear: async () => void (await pool.query("DELETE FROM sessions WHERE state IS NULL")),
    close: async () => {
      await Promise.all([pool.end(), sql.end()])
    },
  }
}

/** The drivers write objects as JSON, and read JSON as objects. */
function bare(driver: string, run: Run): Contender {
  const write = async (name: Name, values: unknown[]): Promise<void> => {
    if ((await run(name, values)).count !== 1) throw new Error(`${name} has found no session.`)
  }
  return {
    who: "bare",
    driver,
    create: (id, userId) => write("create", [id, userId, STATE]),
    load: async (id) => found((await run("load", [id])).rows[0]).state,
    update: (id, visits) => write("update", [id, { visits }]),
    updateTtl: (id) => write("updateTtl", [id]),
    changeId: (oldId, newId) => write("changeId", [oldId, newId]),
    delete: (id) => write("delete", [id]),
    listByUser: async (userId) => (await run("listByUser", [userId])).rows,
  }
}

async function compareAndSet(run: Run, id: string, change: object): Promise<boolean> {
  const { state, version } = found((await run("read", [id])).rows[0])
  const { count } = await run("compareAndSet", [id, { ...(state as object), ...change }, version])
  return count === 1
}

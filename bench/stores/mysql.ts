import { mysqlStore } from "coatcheck/mysql"
import connectMysql from "express-mysql-session"
import expressSession from "express-session"
import mariadb from "mariadb"
import mysql from "mysql2/promise"
import { type Contender, found, ours, peer } from "./contender.ts"
import { STATE } from "./sample.ts"
import { POOL_SIZE, type SqlStage, type SqlStageOptions } from "./stage.ts"

const NOW = "UTC_TIMESTAMP(3)"
const END = `${NOW} + INTERVAL 30 MINUTE`

/**
 * The least that keeps the promise of the operation with the engine's clock, through `execute`. They know one idle timeout, which is written in
 * them, and neither versions nor the times of creation and last use; no write tells of what it has written, and a move leaves no word of itself.
 * Each is found by the primary key; that the session lives is part of the condition.
 */
const TEXTS = {
  create: `INSERT INTO bare (id, user_id, state, deadline) VALUES (?, ?, ?, ${END})`,
  load: `SELECT state FROM bare WHERE id = ? AND deadline > ${NOW}`,
  update: `UPDATE bare SET state = JSON_SET(state, '$.visits', JSON_EXTRACT(?, '$')), deadline = ${END} WHERE id = ? AND deadline > ${NOW}`,
  updateTtl: `UPDATE bare SET deadline = ${END} WHERE id = ? AND deadline > ${NOW}`,
  changeId: `UPDATE bare SET id = ?, deadline = ${END} WHERE id = ? AND deadline > ${NOW}`,
  delete: `DELETE FROM bare WHERE id = ? AND deadline > ${NOW}`,
  listByUser: `SELECT id, deadline FROM bare WHERE user_id = ? AND deadline > ${NOW}`,
  read: `SELECT version, state FROM bare WHERE id = ? AND deadline > ${NOW}`,
  compareAndSet: `UPDATE bare SET state = ?, version = version + 1, deadline = ${END} WHERE id = ? AND version = ?`,
}

type Name = keyof typeof TEXTS

/** One statement, prepared; rows or a count. */
type Run = (name: Name, values: (string | number)[]) => Promise<readonly Row[] | { affectedRows: number }>

interface Row {
  readonly state: unknown
  readonly version: number
}

export async function openMysql({ address, hasDeadlineIndex }: SqlStageOptions): Promise<SqlStage> {
  const pool = mysql.createPool({ ...address, connectionLimit: POOL_SIZE })
  const mariadbPool = mariadb.createPool({
    ...address,
    connectionLimit: POOL_SIZE,
    allowPublicKeyRetrieval: true,
  })

  await pool.query(`CREATE TABLE bare (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, user_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, state JSON NOT NULL,
    version INT NOT NULL DEFAULT 1, deadline DATETIME(3) NOT NULL,
    KEY (user_id)${hasDeadlineIndex ? ", KEY (deadline)" : ""}
  ) ENGINE = InnoDB`)
  await mysqlStore(pool).migrate()
  const PeerStore = connectMysql(expressSession)
  const peerStore = new PeerStore({ clearExpired: false, schema: { tableName: "peer" } }, pool)
  await peerStore.onReady()

  const runMysql2: Run = async (name, values) =>
    (await pool.execute(TEXTS[name], values))[0] as unknown as Row[]
  const runMariadb: Run = (name, values) => mariadbPool.execute<Row[]>(TEXTS[name], values)

  return {
    contenders: [
      ours("mysql2", mysqlStore(pool)),
      bare("mysql2", runMysql2),
      ours("mariadb", mysqlStore(mariadbPool)),
      bare("mariadb", runMariadb),
      peer("mysql2", peerStore),
    ],
    unprepared: [
      ours("mysql2", mysqlStore(pool, { prepare: false })),
      ours("mariadb", mysqlStore(mariadbPool, { prepare: false })),
    ],
    compareAndSet: (id, change) => compareAndSet(runMysql2, id, change),
    settle: async () => void (await pool.query("ANALYZE TABLE bare, sessions, peer")),
    clear: async () => void (await pool.query("DELETE FROM sessions WHERE state IS NULL")),
    close: async () => {
      await Promise.all([pool.end(), mariadbPool.end()])
    },
  }
}

function bare(driver: string, run: Run): Contender {
  const write = async (name: Name, values: (string | number)[]): Promise<void> => {
    if (countOf(await run(name, values)) !== 1) throw new Error(`${name} has found no session.`)
  }
  return {
    who: "bare",
    driver,
    create: (id, userId) => write("create", [id, userId, JSON.stringify(STATE)]),
    load: async (id) => valueOf(rowsOf(await run("load", [id]))[0]),
    update: (id, visits) => write("update", [JSON.stringify(visits), id]),
    updateTtl: (id) => write("updateTtl", [id]),
    changeId: (oldId, newId) => write("changeId", [newId, oldId]),
    delete: (id) => write("delete", [id]),
    listByUser: async (userId) => rowsOf(await run("listByUser", [userId])),
  }
}

async function compareAndSet(run: Run, id: string, change: object): Promise<boolean> {
  const [row] = rowsOf(await run("read", [id]))
  const state = JSON.stringify({ ...valueOf(row), ...change })
  return countOf(await run("compareAndSet", [state, id, found(row).version])) === 1
}

/** MariaDB's JSON is text; only the driver of its own makers knows which text is JSON. */
function valueOf(row: Row | undefined): object {
  const { state } = found(row)
  return typeof state === "string" ? (JSON.parse(state) as object) : (state as object)
}

function rowsOf(answer: Awaited<ReturnType<Run>>): readonly Row[] {
  return answer as readonly Row[]
}

function countOf(answer: Awaited<ReturnType<Run>>): number {
  return (answer as { affectedRows: number }).affectedRows
}

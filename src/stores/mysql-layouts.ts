import type { Connection } from "./mysql-clients.ts"
import { MIGRATED_BY_ANOTHER, numberOf, TABLE_EXISTS } from "./mysql-failures.ts"
import type { Table } from "./shared-names.ts"

/**
 * What leads from each layout of the table to the next; the first from nothing. A layout that has been released is never edited: what is
 * to change is a new one at the end, as one statement that also sets the table's comment, so that no server ever sees half of it.
 *
 * The key is a number of the row's own, for InnoDB stores rows in the order of their key: were it the id, a rotation would delete the row
 * and insert it elsewhere, and a deletion by user that had just passed that place would miss the session. It is minted here, not counted
 * up by the engine, whose counter would hide what `LAST_INSERT_ID` is to carry (see `mysql-statements.ts`).
 *
 * MySQL compares `utf8mb4_0900_bin` and MariaDB `utf8mb4_nopad_bin` to the last byte, blanks at the end included; each runs the comment that is
 * meant for it. MariaDB's JSON is text anyway, with a check that refuses nesting it cannot follow.
 *
 * `sweep_at` is when to look whether the row has expired, which may be before its deadline: a write that extends the deadline leaves it,
 * so that no index is written at each request, and the sweep moves it on.
 */
export const LAYOUTS: readonly Layout[] = [
  (table, comment) => `CREATE TABLE IF NOT EXISTS ${table} (
  row_id BIGINT NOT NULL PRIMARY KEY,
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state /*!80017 JSON */ /*M! LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */,
  version BIGINT NOT NULL,
  user_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M! utf8mb4_nopad_bin */,
  label VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  created_at BIGINT NOT NULL,
  signed_in_at BIGINT,
  last_seen_at BIGINT NOT NULL,
  idle_ttl BIGINT,
  fixed_end BIGINT,
  cookie_kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
  absolute_end BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  sweep_at BIGINT NOT NULL,
  moved_to VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
  grace_end BIGINT,
  privilege_changed TINYINT NOT NULL DEFAULT 0,
  UNIQUE KEY id (id),
  KEY sweep_at (sweep_at),
  KEY user_id (user_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = '${comment}'`,
]

/** @param table quoted, with its schema if it has one */
export type Layout = (table: string, comment: string) => string

function commentOf(layout: number): string {
  return `coatcheck layout ${layout}`
}

/** The layout that a table's comment tells; undefined if the table is not coatcheck's. */
function layoutIn(comment: string): number | undefined {
  const found = /^coatcheck layout ([0-9]+)/.exec(comment)
  return found === null ? undefined : Number(found[1])
}

function stepTo(layout: number, table: Table, layouts: readonly Layout[]): string {
  return (layouts[layout - 1] as Layout)(table.quoted, commentOf(layout))
}

/** Which layout the table has. */
function inspectionSql({ schema, name }: Table): string {
  return `SELECT table_comment FROM information_schema.tables WHERE table_schema = ${schema === undefined ? "DATABASE()" : `'${schema}'`} AND table_name = '${name}'`
}

/** Goes on from the layout it finds, one statement after the other; where another server has been faster, it looks again. */
export async function migrate(
  connection: Connection,
  table: Table,
  layouts: readonly Layout[] = LAYOUTS,
): Promise<void> {
  for (let before = -1; ;) {
    const { rows } = await connection.runOnce(inspectionSql(table))
    const layout = rows[0] === undefined ? 0 : layoutIn(String(rows[0][0]))
    if (layout === undefined) throw new ForeignTable()
    if (layout >= layouts.length) return
    if (layout === before) throw new Error("The table's layout has not changed.")
    before = layout
    try {
      await connection.runOnce(stepTo(layout + 1, table, layouts))
    } catch (error) {
      if (!MIGRATED_BY_ANOTHER.includes(numberOf(error))) throw error
    }
  }
}

class ForeignTable extends Error {
  readonly errno: number = TABLE_EXISTS

  constructor() {
    super("There is a table of this name that is not of coatcheck.")
  }
}

/** For a tool or a person: each step looks whether it is its turn, for MySQL knows no `ADD COLUMN IF NOT EXISTS`. */
export function migrationSql(table: Table, layouts: readonly Layout[] = LAYOUTS): string {
  const [first, ...later] = layouts.map((_step, index) => stepTo(index + 1, table, layouts))
  const guarded = later.map(
    (
      step,
      index,
    ) => `SET @coatcheck = IF((${inspectionSql(table)}) = '${commentOf(index + 1)}', '${step.replaceAll("'", "''")}', 'DO 0');
PREPARE coatcheck FROM @coatcheck;
EXECUTE coatcheck;
DEALLOCATE PREPARE coatcheck;
`,
  )
  return `${first};\n${guarded.join("")}`
}

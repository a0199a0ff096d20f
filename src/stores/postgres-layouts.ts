import type { Connection } from "./postgres-clients.ts"

/**
 * What leads from each layout of the table to the next; the first from nothing. A layout that has been released is never edited: what is
 * to change is a new one at the end.
 *
 * `sweep_at` is when to look whether the row has expired, which may be before its deadline: a write that extends the deadline leaves it,
 * so that PostgreSQL can update the row on its page without touching an index (HOT), and the sweep moves it on. For the same reason
 * pages are not filled to the brim.
 */
export const LAYOUTS: readonly Layout[] = [
  (table) => `CREATE TABLE ${table} (
      id text COLLATE "C" NOT NULL PRIMARY KEY,
      state jsonb,
      version bigint NOT NULL,
      user_id text COLLATE "C",
      label text,
      created_at bigint NOT NULL,
      signed_in_at bigint,
      last_seen_at bigint NOT NULL,
      idle_ttl bigint,
      fixed_end bigint,
      cookie_kind text,
      absolute_end bigint NOT NULL,
      deadline bigint NOT NULL,
      sweep_at bigint NOT NULL,
      moved_to text COLLATE "C",
      grace_end bigint,
      privilege_changed boolean NOT NULL DEFAULT false
    ) WITH (fillfactor = 80);
    CREATE INDEX ON ${table} (sweep_at);
    CREATE INDEX ON ${table} (user_id) WHERE user_id IS NOT NULL;`,
]

/** @param table quoted, with its schema if it has one */
export type Layout = (table: string) => string

/** Whatever the isolation is set to: who has waited for another server must see what that one has made. */
export function migrate(connection: Connection, table: string, layouts?: readonly Layout[]): Promise<void> {
  return connection.script(`SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\n${migrationSql(table, layouts)}`)
}

/**
 * One statement, and so one transaction, that goes on from the layout it finds. The table's comment tells which one that is, and that the
 * table is coatcheck's. One server at a time; the others find nothing to do.
 */
export function migrationSql(table: string, layouts: readonly Layout[] = LAYOUTS): string {
  const steps = layouts.map(
    (step, index) => `  IF layout < ${index + 1} THEN
    ${step(table)}
    COMMENT ON TABLE ${table} IS 'coatcheck layout ${index + 1}';
  END IF;`,
  )
  return `DO $coatcheck$
DECLARE
  layout integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('coatcheck'), hashtext('migrate'));
  IF to_regclass('${table}') IS NOT NULL THEN
    layout := substring(obj_description(to_regclass('${table}'), 'pg_class') FROM '^coatcheck layout ([0-9]+)');
    IF layout IS NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
        MESSAGE = 'There is a table of this name that is not of coatcheck.', HINT = 'Choose another name.';
    END IF;
  END IF;
${steps.join("\n")}
END
$coatcheck$;
`
}

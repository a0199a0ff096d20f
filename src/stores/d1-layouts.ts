/**
 * What makes the table, a statement each; running them again changes nothing. A layout that has been released is never edited: what is to
 * change is added at the end.
 *
 * `sweep_at` is when to look whether the row has expired, which may be before its deadline: a write that extends the deadline leaves it, so
 * that the index on it is not written at each request, and the sweep moves it on.
 * @param table quoted
 */
export function layoutOf(table: string, name: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
  id TEXT NOT NULL PRIMARY KEY,
  state TEXT,
  version INTEGER NOT NULL,
  user_id TEXT,
  label TEXT,
  created_at INTEGER NOT NULL,
  signed_in_at INTEGER,
  last_seen_at INTEGER NOT NULL,
  idle_ttl INTEGER,
  fixed_end INTEGER,
  cookie_kind TEXT,
  absolute_end INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  sweep_at INTEGER NOT NULL,
  moved_to TEXT,
  grace_end INTEGER,
  privilege_changed INTEGER NOT NULL DEFAULT 0
) STRICT`,
    `CREATE INDEX IF NOT EXISTS "${name}_sweep_at" ON ${table} (sweep_at)`,
    `CREATE INDEX IF NOT EXISTS "${name}_user_id" ON ${table} (user_id) WHERE user_id IS NOT NULL`,
  ]
}

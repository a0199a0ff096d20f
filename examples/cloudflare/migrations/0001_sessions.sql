CREATE TABLE IF NOT EXISTS "sessions" (
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
) STRICT;
CREATE INDEX IF NOT EXISTS "sessions_sweep_at" ON "sessions" (sweep_at);
CREATE INDEX IF NOT EXISTS "sessions_user_id" ON "sessions" (user_id) WHERE user_id IS NOT NULL;

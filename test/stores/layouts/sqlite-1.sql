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
INSERT INTO sessions (id, state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at)
VALUES ('an-id-of-forty-three-characters-left-by-ann', '{"cart":["apple"],"\u0000":"a␐b"}', 7, 'ann', 'phone', 1790000000000, 1790000001000, 1790000002000, 3600000000000, NULL, 'persistent', 7200000000000, 5390000002000, 5390000002000);
INSERT INTO sessions (id, version, created_at, last_seen_at, absolute_end, deadline, sweep_at, moved_to, grace_end, privilege_changed)
VALUES ('an-id-of-forty-three-characters-moved-to-hr', 0, 1790000000000, 1790000000000, 7200000000000, 7200000000000, 7200000000000, 'an-id-of-forty-three-characters-left-by-ann', 1790000000000, 0);

CREATE TABLE "sessions" (
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
CREATE INDEX ON "sessions" (sweep_at);
CREATE INDEX ON "sessions" (user_id) WHERE user_id IS NOT NULL;
COMMENT ON TABLE "sessions" IS 'coatcheck layout 1';
INSERT INTO sessions (id, state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at)
VALUES ('an-id-of-forty-three-characters-left-by-ann', '{"cart": ["apple"], "␐0000": "a␐2410b"}', 7, 'ann', 'phone', 1790000000000, 1790000001000, 1790000002000, 3600000000000, NULL, 'persistent', 7200000000000, 5390000002000, 5390000002000);
INSERT INTO sessions (id, version, created_at, last_seen_at, absolute_end, deadline, sweep_at, moved_to, grace_end, privilege_changed)
VALUES ('an-id-of-forty-three-characters-moved-to-hr', 0, 1790000000000, 1790000000000, 7200000000000, 7200000000000, 7200000000000, 'an-id-of-forty-three-characters-left-by-ann', 1790000000000, false);

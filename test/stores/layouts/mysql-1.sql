CREATE TABLE IF NOT EXISTS `sessions` (
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
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'coatcheck layout 1';
INSERT INTO sessions (row_id, id, state, version, user_id, label, created_at, signed_in_at, last_seen_at, idle_ttl, fixed_end, cookie_kind, absolute_end, deadline, sweep_at)
VALUES (1790000000000123456, 'an-id-of-forty-three-characters-left-by-ann', '{"cart": ["apple"], "␐0000": "a␐2410b"}', 7, 'ann', 'phone', 1790000000000, 1790000001000, 1790000002000, 3600000000000, NULL, 'persistent', 7200000000000, 5390000002000, 5390000002000);
INSERT INTO sessions (row_id, id, version, created_at, last_seen_at, absolute_end, deadline, sweep_at, moved_to, grace_end, privilege_changed)
VALUES (1790000000000654321, 'an-id-of-forty-three-characters-moved-to-hr', 0, 1790000000000, 1790000000000, 7200000000000, 7200000000000, 7200000000000, 'an-id-of-forty-three-characters-left-by-ann', 1790000000000, 0);

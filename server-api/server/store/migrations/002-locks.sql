-- Devices that are locked or deleted, orders that a later one took the place of. SQLite cannot change a CHECK in place.
CREATE TABLE devices_new (
  id TEXT PRIMARY KEY NOT NULL,
  login TEXT NOT NULL REFERENCES users (login),
  name TEXT NOT NULL,
  os TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('enrolled', 'locked', 'wiping', 'wiped', 'left', 'deleted')),
  enrolled_at BIGINT NOT NULL,
  last_seen BIGINT NOT NULL,
  order_sequence BIGINT NOT NULL DEFAULT 0,
  report TEXT,
  reported_at BIGINT
);
INSERT INTO devices_new SELECT id, login, name, os, agent_version, state, enrolled_at, last_seen, order_sequence, report, reported_at
  FROM devices;
DROP TABLE devices;
ALTER TABLE devices_new RENAME TO devices;

CREATE TABLE orders_new (
  id TEXT PRIMARY KEY NOT NULL,
  device TEXT NOT NULL REFERENCES devices (id),
  sequence BIGINT NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'done', 'refused', 'failed', 'superseded')),
  ordered_by TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  delivered_at BIGINT,
  finished_at BIGINT,
  text TEXT,
  jws TEXT NOT NULL,
  receipt TEXT,
  UNIQUE (device, sequence)
);
INSERT INTO orders_new SELECT id, device, sequence, kind, reason, state, ordered_by, ordered_at, delivered_at, finished_at, text, jws,
  receipt FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE INDEX orders_open ON orders (device) WHERE state IN ('pending', 'delivered');

-- The first schema, for SQLite. Times are milliseconds since 1970.
CREATE TABLE users (
  login TEXT PRIMARY KEY NOT NULL,
  address TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- The code itself is known to nobody but the one it was made for: only its SHA-256 is here.
CREATE TABLE codes (
  id TEXT PRIMARY KEY NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  login TEXT NOT NULL REFERENCES users (login),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT
);

CREATE TABLE profiles (
  version BIGINT PRIMARY KEY NOT NULL,
  id TEXT NOT NULL,
  jws TEXT NOT NULL,
  published_at BIGINT NOT NULL,
  published_by TEXT NOT NULL
);

CREATE TABLE devices (
  id TEXT PRIMARY KEY NOT NULL,
  login TEXT NOT NULL REFERENCES users (login),
  name TEXT NOT NULL,
  os TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('enrolled', 'wiping', 'wiped', 'left')),
  enrolled_at BIGINT NOT NULL,
  last_seen BIGINT NOT NULL,
  order_sequence BIGINT NOT NULL DEFAULT 0,
  report TEXT,
  reported_at BIGINT
);

CREATE TABLE certificates (
  digest TEXT PRIMARY KEY NOT NULL,
  device TEXT NOT NULL REFERENCES devices (id),
  pem TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  first_used_at BIGINT,
  revoked_at BIGINT
);
CREATE INDEX certificates_device ON certificates (device);

CREATE TABLE orders (
  id TEXT PRIMARY KEY NOT NULL,
  device TEXT NOT NULL REFERENCES devices (id),
  sequence BIGINT NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'done', 'refused', 'failed')),
  ordered_by TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  delivered_at BIGINT,
  finished_at BIGINT,
  text TEXT,
  jws TEXT NOT NULL,
  receipt TEXT,
  UNIQUE (device, sequence)
);
CREATE INDEX orders_open ON orders (device) WHERE state IN ('pending', 'delivered');

-- Every receipt as it was signed, also those that belong to no order (the employee left).
CREATE TABLE receipts (
  device TEXT NOT NULL REFERENCES devices (id),
  id TEXT NOT NULL,
  order_id TEXT REFERENCES orders (id),
  jws TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (device, id)
);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  revoked_at BIGINT
);
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;

CREATE TABLE audit (
  sequence BIGINT PRIMARY KEY NOT NULL,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash TEXT NOT NULL
);

-- Entries are added and never changed; whoever gets round this is found by the chain of hashes.
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN
  SELECT raise(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN
  SELECT raise(ABORT, 'the audit log is append-only');
END;

-- Ids are TEXT, times are epoch milliseconds, JSON is TEXT. The same SQL runs on both databases; only this file and its twin differ.

CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
-- `change` is change_seq: grows with every change of a store or an operation. `event` numbers events.
INSERT INTO counters (name, value) VALUES ('change', 0), ('event', 0);

CREATE TABLE organisations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (organisation_id, name)
) STRICT;
INSERT INTO organisations (id, name, display_name, created_at) VALUES ('default', 'default', 'Default', 0);
INSERT INTO projects (id, organisation_id, name, display_name, created_at) VALUES ('default', 'default', 'default', 'Default', 0);

CREATE TABLE nodes (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  capacity TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  engine_version TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  render_versions TEXT NOT NULL,
  orphans TEXT NOT NULL,
  joined_at INTEGER NOT NULL,
  link TEXT NOT NULL,
  link_since INTEGER NOT NULL,
  removed_at INTEGER
) STRICT;

CREATE TABLE stores (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  project_id TEXT NOT NULL REFERENCES projects (id),
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  environment TEXT NOT NULL,
  labels TEXT NOT NULL,
  generation INTEGER NOT NULL,
  spec TEXT NOT NULL,
  template_version TEXT NOT NULL,
  admin_path TEXT NOT NULL,
  render_version INTEGER NOT NULL,
  lifecycle TEXT NOT NULL,
  pinned_node TEXT,
  node_id TEXT REFERENCES nodes (id),
  placed_at INTEGER,
  reserved_memory INTEGER NOT NULL,
  reserved_cpu INTEGER NOT NULL,
  node_generation INTEGER NOT NULL,
  node_state TEXT NOT NULL,
  node_code TEXT NOT NULL,
  node_message TEXT NOT NULL,
  node_plan_digest TEXT,
  agent_generation INTEGER NOT NULL,
  agent_refused INTEGER NOT NULL,
  agent_refused_code TEXT NOT NULL,
  agent_enrolled INTEGER NOT NULL,
  sealing_public_key BLOB NOT NULL,
  report TEXT,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  change_seq INTEGER NOT NULL
) STRICT;
-- A deleted store's row stays: its id is never reused, its name is free again.
CREATE UNIQUE INDEX stores_name ON stores (project_id, name) WHERE lifecycle <> 'deleted';
CREATE UNIQUE INDEX stores_change ON stores (change_seq);
CREATE INDEX stores_node ON stores (node_id) WHERE lifecycle <> 'deleted';
CREATE INDEX stores_unplaced ON stores (created_at) WHERE node_id IS NULL AND lifecycle = 'running';

CREATE TABLE store_hosts (
  name TEXT PRIMARY KEY,
  store_id TEXT NOT NULL REFERENCES stores (id)
) STRICT;

CREATE TABLE revisions (
  store_id TEXT NOT NULL REFERENCES stores (id),
  number INTEGER NOT NULL,
  content TEXT NOT NULL,
  plan_digest TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (store_id, number)
) STRICT;

CREATE TABLE operations (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  store_id TEXT NOT NULL REFERENCES stores (id),
  store_name TEXT NOT NULL,
  generation INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  steps TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  requested_reason TEXT NOT NULL,
  request_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  deadline_at INTEGER,
  deadline_left INTEGER,
  change_seq INTEGER NOT NULL
) STRICT;
-- One operation at a time on a store: a newer one cancels the older one first.
CREATE UNIQUE INDEX operations_active ON operations (store_id) WHERE state IN ('pending', 'running');
CREATE INDEX operations_store ON operations (store_id, created_at);
CREATE INDEX operations_due ON operations (deadline_at) WHERE state IN ('pending', 'running');

CREATE TABLE idempotency (
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  operation_id TEXT NOT NULL REFERENCES operations (id),
  created_at INTEGER NOT NULL,
  PRIMARY KEY (actor, key)
) STRICT;

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  store_id TEXT,
  node_id TEXT,
  code TEXT NOT NULL,
  severity TEXT NOT NULL,
  message TEXT NOT NULL,
  service TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_store ON events (store_id, seq);

CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at INTEGER
) STRICT;

CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY,
  secret TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  used_spki TEXT,
  node_id TEXT
) STRICT;

CREATE TABLE vouches (
  store_id TEXT NOT NULL REFERENCES stores (id),
  spki TEXT NOT NULL,
  node_id TEXT NOT NULL REFERENCES nodes (id),
  sealing_public_key BLOB NOT NULL,
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (store_id, spki)
) STRICT;

CREATE TABLE certificates (
  serial TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  spki TEXT NOT NULL,
  issued_at INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  chain TEXT NOT NULL,
  superseded_by TEXT
) STRICT;
CREATE INDEX certificates_key ON certificates (identity, spki);
CREATE INDEX certificates_end ON certificates (not_after);

CREATE TABLE denials (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (kind, subject)
) STRICT;

CREATE TABLE rosters (
  seq INTEGER PRIMARY KEY,
  document BLOB NOT NULL,
  signature BLOB NOT NULL,
  put_by TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE escrows (
  store_id TEXT NOT NULL REFERENCES stores (id),
  vault_version INTEGER NOT NULL,
  recipient_key_id TEXT NOT NULL,
  enc BLOB NOT NULL,
  ciphertext BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (store_id, vault_version)
) STRICT;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  source TEXT NOT NULL,
  request_id TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;

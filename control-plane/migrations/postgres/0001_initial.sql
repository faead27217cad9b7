-- Ids are TEXT, times are epoch milliseconds, JSON is TEXT. The same SQL runs on both databases; only this file and its twin differ.

CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);
-- `change` is change_seq: grows with every change of a store or an operation. `event` numbers events.
INSERT INTO counters (name, value) VALUES ('change', 0), ('event', 0);

CREATE TABLE organisations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (organisation_id, name)
);
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
  joined_at BIGINT NOT NULL,
  link TEXT NOT NULL,
  link_since BIGINT NOT NULL,
  removed_at BIGINT
);

CREATE TABLE stores (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  project_id TEXT NOT NULL REFERENCES projects (id),
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  environment TEXT NOT NULL,
  labels TEXT NOT NULL,
  generation BIGINT NOT NULL,
  spec TEXT NOT NULL,
  template_version TEXT NOT NULL,
  admin_path TEXT NOT NULL,
  render_version BIGINT NOT NULL,
  lifecycle TEXT NOT NULL,
  pinned_node TEXT,
  node_id TEXT REFERENCES nodes (id),
  placed_at BIGINT,
  reserved_memory BIGINT NOT NULL,
  reserved_cpu BIGINT NOT NULL,
  node_generation BIGINT NOT NULL,
  node_state TEXT NOT NULL,
  node_code TEXT NOT NULL,
  node_message TEXT NOT NULL,
  node_plan_digest TEXT,
  agent_generation BIGINT NOT NULL,
  agent_refused BIGINT NOT NULL,
  agent_refused_code TEXT NOT NULL,
  agent_enrolled BIGINT NOT NULL,
  sealing_public_key BYTEA NOT NULL,
  report TEXT,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  change_seq BIGINT NOT NULL
);
-- A deleted store's row stays: its id is never reused, its name is free again.
CREATE UNIQUE INDEX stores_name ON stores (project_id, name) WHERE lifecycle <> 'deleted';
CREATE UNIQUE INDEX stores_change ON stores (change_seq);
CREATE INDEX stores_node ON stores (node_id) WHERE lifecycle <> 'deleted';
CREATE INDEX stores_unplaced ON stores (created_at) WHERE node_id IS NULL AND lifecycle = 'running';

CREATE TABLE store_hosts (
  name TEXT PRIMARY KEY,
  store_id TEXT NOT NULL REFERENCES stores (id)
);

CREATE TABLE revisions (
  store_id TEXT NOT NULL REFERENCES stores (id),
  number BIGINT NOT NULL,
  content TEXT NOT NULL,
  plan_digest TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (store_id, number)
);

CREATE TABLE operations (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  store_id TEXT NOT NULL REFERENCES stores (id),
  store_name TEXT NOT NULL,
  generation BIGINT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  steps TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  requested_reason TEXT NOT NULL,
  request_id TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  deadline_at BIGINT,
  deadline_left BIGINT,
  change_seq BIGINT NOT NULL
);
-- One operation at a time on a store: a newer one cancels the older one first.
CREATE UNIQUE INDEX operations_active ON operations (store_id) WHERE state IN ('pending', 'running');
CREATE INDEX operations_store ON operations (store_id, created_at);
CREATE INDEX operations_due ON operations (deadline_at) WHERE state IN ('pending', 'running');

CREATE TABLE idempotency (
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  operation_id TEXT NOT NULL REFERENCES operations (id),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (actor, key)
);

CREATE TABLE events (
  seq BIGINT PRIMARY KEY,
  store_id TEXT,
  node_id TEXT,
  code TEXT NOT NULL,
  severity TEXT NOT NULL,
  message TEXT NOT NULL,
  service TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX events_store ON events (store_id, seq);

CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  last_used_at BIGINT,
  revoked_at BIGINT
);

CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY,
  secret TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  used_spki TEXT,
  node_id TEXT
);

CREATE TABLE vouches (
  store_id TEXT NOT NULL REFERENCES stores (id),
  spki TEXT NOT NULL,
  node_id TEXT NOT NULL REFERENCES nodes (id),
  sealing_public_key BYTEA NOT NULL,
  recorded_at BIGINT NOT NULL,
  PRIMARY KEY (store_id, spki)
);

CREATE TABLE certificates (
  serial TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  spki TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  not_after BIGINT NOT NULL,
  chain TEXT NOT NULL,
  superseded_by TEXT
);
CREATE INDEX certificates_key ON certificates (identity, spki);
CREATE INDEX certificates_end ON certificates (not_after);

CREATE TABLE denials (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (kind, subject)
);

CREATE TABLE rosters (
  seq BIGINT PRIMARY KEY,
  document BYTEA NOT NULL,
  signature BYTEA NOT NULL,
  put_by TEXT NOT NULL,
  at BIGINT NOT NULL
);

CREATE TABLE escrows (
  store_id TEXT NOT NULL REFERENCES stores (id),
  vault_version BIGINT NOT NULL,
  recipient_key_id TEXT NOT NULL,
  enc BYTEA NOT NULL,
  ciphertext BYTEA NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (store_id, vault_version)
);

CREATE TABLE audit (
  seq BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  source TEXT NOT NULL,
  request_id TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL
);

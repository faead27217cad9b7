-- One update for many stores, wave after wave.

CREATE TABLE rollouts (
  id TEXT PRIMARY KEY,
  wish TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'halted', 'succeeded', 'aborted')),
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  wave INTEGER NOT NULL,
  forgiven INTEGER NOT NULL,
  goes_back INTEGER NOT NULL,
  requested_by TEXT NOT NULL,
  requested_reason TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX rollouts_open ON rollouts (id) WHERE state <> 'succeeded';

CREATE TABLE rollout_stores (
  rollout_id TEXT NOT NULL REFERENCES rollouts (id),
  store_id TEXT NOT NULL REFERENCES stores (id),
  position INTEGER NOT NULL,
  store_name TEXT NOT NULL,
  organisation_id TEXT NOT NULL,
  wave INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'updating', 'done', 'failed', 'skipped', 'went_back')),
  operation_id TEXT REFERENCES operations (id),
  revision_before INTEGER NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (rollout_id, store_id)
) STRICT;
CREATE INDEX rollout_stores_state ON rollout_stores (rollout_id, state);

-- One update for many stores, wave after wave.

CREATE TABLE rollouts (
  id TEXT PRIMARY KEY,
  wish TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'halted', 'succeeded', 'aborted')),
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  wave BIGINT NOT NULL,
  forgiven BIGINT NOT NULL,
  goes_back BIGINT NOT NULL,
  requested_by TEXT NOT NULL,
  requested_reason TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at BIGINT
);
CREATE INDEX rollouts_open ON rollouts (id) WHERE state <> 'succeeded';

CREATE TABLE rollout_stores (
  rollout_id TEXT NOT NULL REFERENCES rollouts (id),
  store_id TEXT NOT NULL REFERENCES stores (id),
  position BIGINT NOT NULL,
  store_name TEXT NOT NULL,
  organisation_id TEXT NOT NULL,
  wave BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'updating', 'done', 'failed', 'skipped', 'went_back')),
  operation_id TEXT REFERENCES operations (id),
  revision_before BIGINT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (rollout_id, store_id)
);
CREATE INDEX rollout_stores_state ON rollout_stores (rollout_id, state);

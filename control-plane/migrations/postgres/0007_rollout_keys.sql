-- Idempotency keys that point at a rollout, beside those that point at an operation.
CREATE TABLE rollout_keys (
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  rollout_id TEXT NOT NULL REFERENCES rollouts (id),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (actor, key)
);
CREATE INDEX rollout_keys_rollout ON rollout_keys (rollout_id);

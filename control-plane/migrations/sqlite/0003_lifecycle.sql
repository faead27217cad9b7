-- Deletion with a time of grace, receipts of deleted stores, circuit breakers of nodes, and the state machine of docs/lifecycle.md.

ALTER TABLE stores ADD COLUMN grace_back TEXT CHECK (grace_back IN ('running', 'stopped', 'paused'));
ALTER TABLE stores ADD COLUMN grace_until INTEGER;
CREATE INDEX stores_grace ON stores (grace_until) WHERE lifecycle = 'grace';

-- What a node signed about a store it took down.
CREATE TABLE receipts (
  store_id TEXT PRIMARY KEY REFERENCES stores (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  document TEXT NOT NULL,
  signature BLOB NOT NULL,
  certificate TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

-- Failures in a row of new stores on a node; from the time on, one may be tried again.
ALTER TABLE nodes ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN tripped_until INTEGER;

CREATE TRIGGER stores_lifecycle_words BEFORE INSERT ON stores
WHEN NEW.lifecycle NOT IN ('running', 'stopped', 'paused', 'grace', 'deleting', 'deleted')
BEGIN
  SELECT RAISE(ABORT, 'a store has no such lifecycle');
END;

CREATE TRIGGER stores_lifecycle BEFORE UPDATE OF lifecycle ON stores
WHEN NOT (
  (OLD.lifecycle = NEW.lifecycle AND OLD.lifecycle IN ('running', 'stopped', 'paused', 'grace', 'deleting'))
  OR (OLD.lifecycle IN ('running', 'stopped', 'paused')
      AND (NEW.lifecycle IN ('running', 'stopped', 'paused', 'grace', 'deleting')
           OR (NEW.lifecycle = 'deleted' AND NEW.node_id IS NULL)))
  OR (OLD.lifecycle = 'grace' AND (NEW.lifecycle = OLD.grace_back OR NEW.lifecycle = 'deleting'))
  OR (OLD.lifecycle = 'deleting' AND NEW.lifecycle = 'deleted')
)
BEGIN
  SELECT RAISE(ABORT, 'a store does not change so');
END;

CREATE TRIGGER stores_grace_is_whole BEFORE UPDATE ON stores
WHEN (NEW.lifecycle = 'grace') <> (NEW.grace_back IS NOT NULL) OR (NEW.lifecycle = 'grace') <> (NEW.grace_until IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'a time of grace says until when and what was before');
END;

CREATE TRIGGER stores_generation BEFORE UPDATE OF generation ON stores
WHEN NEW.generation < OLD.generation
BEGIN
  SELECT RAISE(ABORT, 'a generation never goes back');
END;

CREATE TRIGGER operations_state BEFORE UPDATE OF state ON operations
WHEN NEW.state NOT IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')
  OR (OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state)
BEGIN
  SELECT RAISE(ABORT, 'an operation that has ended stays as it ended');
END;

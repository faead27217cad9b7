-- Deletion with a time of grace, receipts of deleted stores, circuit breakers of nodes, and the state machine of docs/lifecycle.md.

ALTER TABLE stores ADD COLUMN grace_back TEXT CHECK (grace_back IN ('running', 'stopped', 'paused'));
ALTER TABLE stores ADD COLUMN grace_until BIGINT;
CREATE INDEX stores_grace ON stores (grace_until) WHERE lifecycle = 'grace';

-- What a node signed about a store it took down.
CREATE TABLE receipts (
  store_id TEXT PRIMARY KEY REFERENCES stores (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  document TEXT NOT NULL,
  signature BYTEA NOT NULL,
  certificate TEXT NOT NULL,
  at BIGINT NOT NULL
);

-- Failures in a row of new stores on a node; from the time on, one may be tried again.
ALTER TABLE nodes ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN tripped_until BIGINT;

ALTER TABLE stores ADD CONSTRAINT stores_lifecycle_words
  CHECK (lifecycle IN ('running', 'stopped', 'paused', 'grace', 'deleting', 'deleted'));
ALTER TABLE stores ADD CONSTRAINT stores_grace_is_whole
  CHECK ((lifecycle = 'grace') = (grace_back IS NOT NULL) AND (lifecycle = 'grace') = (grace_until IS NOT NULL));
ALTER TABLE operations ADD CONSTRAINT operations_state_words
  CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled'));

CREATE FUNCTION stores_lifecycle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (
    (OLD.lifecycle = NEW.lifecycle AND OLD.lifecycle IN ('running', 'stopped', 'paused', 'grace', 'deleting'))
    OR (OLD.lifecycle IN ('running', 'stopped', 'paused')
        AND (NEW.lifecycle IN ('running', 'stopped', 'paused', 'grace', 'deleting')
             OR (NEW.lifecycle = 'deleted' AND NEW.node_id IS NULL)))
    OR (OLD.lifecycle = 'grace' AND (NEW.lifecycle = OLD.grace_back OR NEW.lifecycle = 'deleting'))
    OR (OLD.lifecycle = 'deleting' AND NEW.lifecycle = 'deleted')
  ) THEN
    RAISE EXCEPTION 'a store does not change so: % to %', OLD.lifecycle, NEW.lifecycle;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stores_lifecycle BEFORE UPDATE OF lifecycle ON stores FOR EACH ROW EXECUTE FUNCTION stores_lifecycle();

CREATE FUNCTION stores_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.generation < OLD.generation THEN
    RAISE EXCEPTION 'a generation never goes back: % to %', OLD.generation, NEW.generation;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stores_generation BEFORE UPDATE OF generation ON stores FOR EACH ROW EXECUTE FUNCTION stores_generation();

CREATE FUNCTION operations_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state THEN
    RAISE EXCEPTION 'an operation that has ended stays as it ended: % to %', OLD.state, NEW.state;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER operations_state BEFORE UPDATE OF state ON operations FOR EACH ROW EXECUTE FUNCTION operations_state();

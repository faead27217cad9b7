-- Runs of tasks: those operators asked for, which are operations too, and those the schedule of an agent began.
CREATE TABLE task_runs (
  store_id TEXT NOT NULL REFERENCES stores (id),
  -- The operation's, or the agent's own for a scheduled run.
  id TEXT NOT NULL,
  task TEXT NOT NULL,
  arguments TEXT NOT NULL,
  scheduled BIGINT NOT NULL CHECK (scheduled IN (0, 1)),
  requested_by TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'queued', 'running', 'done', 'failed', 'timed_out', 'refused', 'cancelled')),
  -- An operator wants it to end.
  cancel BIGINT NOT NULL CHECK (cancel IN (0, 1)),
  exit_code BIGINT,
  message TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  PRIMARY KEY (store_id, id)
);
CREATE INDEX task_runs_newest ON task_runs (store_id, created_at);
CREATE INDEX task_runs_open ON task_runs (created_at) WHERE state IN ('pending', 'queued', 'running');

CREATE FUNCTION task_runs_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state NOT IN ('pending', 'queued', 'running') AND NEW.state <> OLD.state THEN
    RAISE EXCEPTION 'a run that has ended stays as it ended: % to %', OLD.state, NEW.state;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER task_runs_state BEFORE UPDATE OF state ON task_runs FOR EACH ROW EXECUTE FUNCTION task_runs_state();

-- A task runs beside whatever else is asked of a store.
DROP INDEX operations_active;
CREATE UNIQUE INDEX operations_active ON operations (store_id) WHERE state IN ('pending', 'running') AND kind <> 'task';

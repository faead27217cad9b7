-- Runs of tasks: those operators asked for, which are operations too, and those the schedule of an agent began.
CREATE TABLE task_runs (
  store_id TEXT NOT NULL REFERENCES stores (id),
  -- The operation's, or the agent's own for a scheduled run.
  id TEXT NOT NULL,
  task TEXT NOT NULL,
  arguments TEXT NOT NULL,
  scheduled INTEGER NOT NULL CHECK (scheduled IN (0, 1)),
  requested_by TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'queued', 'running', 'done', 'failed', 'timed_out', 'refused', 'cancelled')),
  -- An operator wants it to end.
  cancel INTEGER NOT NULL CHECK (cancel IN (0, 1)),
  exit_code INTEGER,
  message TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  PRIMARY KEY (store_id, id)
) STRICT;
CREATE INDEX task_runs_newest ON task_runs (store_id, created_at);
CREATE INDEX task_runs_open ON task_runs (created_at) WHERE state IN ('pending', 'queued', 'running');

CREATE TRIGGER task_runs_state BEFORE UPDATE OF state ON task_runs
WHEN OLD.state NOT IN ('pending', 'queued', 'running') AND NEW.state <> OLD.state
BEGIN
  SELECT RAISE(ABORT, 'a run that has ended stays as it ended');
END;

-- A task runs beside whatever else is asked of a store.
DROP INDEX operations_active;
CREATE UNIQUE INDEX operations_active ON operations (store_id) WHERE state IN ('pending', 'running') AND kind <> 'task';

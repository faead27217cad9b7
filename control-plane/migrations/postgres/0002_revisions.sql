-- What a revision was asked for and what came of it, so that a store can go back to one that served.
ALTER TABLE revisions ADD COLUMN template_version TEXT NOT NULL DEFAULT '';
ALTER TABLE revisions ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE revisions ADD COLUMN state TEXT NOT NULL DEFAULT 'pending'
  CHECK (state IN ('pending', 'serving', 'superseded', 'held_back'));
-- Why it was taken back, as a code and a sentence; empty for others.
ALTER TABLE revisions ADD COLUMN held_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE revisions ADD COLUMN held_message TEXT NOT NULL DEFAULT '';
-- Generation that asked for it last: what an agent says of an older try is no word about this one.
ALTER TABLE revisions ADD COLUMN asked_generation BIGINT NOT NULL DEFAULT 1;
UPDATE revisions SET
  template_version = (SELECT template_version FROM stores WHERE stores.id = revisions.store_id),
  state = (SELECT CASE WHEN status IN ('running', 'degraded', 'stopping', 'stopped', 'unreachable') THEN 'serving' ELSE 'pending' END
           FROM stores WHERE stores.id = revisions.store_id);
-- At most one serves.
CREATE UNIQUE INDEX revisions_serving ON revisions (store_id) WHERE state = 'serving';
-- Woken stores that wait for room: nothing is reserved for them yet.
CREATE INDEX stores_without_room ON stores (created_at) WHERE reserved_memory = 0 AND lifecycle = 'running';

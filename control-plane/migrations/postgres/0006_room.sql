-- Room for a change that runs more than its store does otherwise: awaited, or held until it is over. Absent when there is none.
ALTER TABLE stores ADD COLUMN room TEXT;
CREATE INDEX stores_room ON stores (created_at) WHERE room IS NOT NULL;

-- +goose Up
-- Every change of what snapshots have is one revision; a snapshot says which one it has.
CREATE TABLE registry_revision (
    id      BIGINT PRIMARY KEY,
    n       BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
INSERT INTO registry_revision (id, n, changed) VALUES (1, 0, 0);
ALTER TABLE snapshot ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- BLAKE3 of the registered file, or of its shards' digests; '' where nobody told it.
ALTER TABLE artifact ADD COLUMN file_digest TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE artifact DROP COLUMN file_digest;
ALTER TABLE snapshot DROP COLUMN revision;
DROP TABLE registry_revision;

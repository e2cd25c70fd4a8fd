-- +goose Up
ALTER TABLE account ADD COLUMN failed BIGINT NOT NULL DEFAULT 0; -- when the last wrong password came

-- Names that nobody has wait as those of accounts do, so that waiting tells nobody
-- which names there are. By hash: people type passwords where names belong.
CREATE TABLE stranger (
    name_hash BLOB PRIMARY KEY,
    failures  INTEGER NOT NULL,
    failed    BIGINT NOT NULL,
    locked    BIGINT NOT NULL
);
CREATE INDEX stranger_failed ON stranger (failed);

-- +goose Down
DROP TABLE stranger;
ALTER TABLE account DROP COLUMN failed;

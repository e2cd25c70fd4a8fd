-- +goose Up
-- Every change of the set of policies, or of an agent's labels, is one revision.
CREATE TABLE policy_revision (
    id BIGINT PRIMARY KEY,
    n  BIGINT NOT NULL
);
INSERT INTO policy_revision (id, n) VALUES (1, 0);
CREATE TABLE policy_version (
    version    BIGINT PRIMARY KEY, -- the revision that made it
    name       TEXT NOT NULL,
    selector   TEXT NOT NULL,
    priority   BIGINT NOT NULL,
    rules      TEXT NOT NULL,
    note       TEXT NOT NULL,
    deleted    BIGINT NOT NULL,
    current    BIGINT NOT NULL, -- 1 for the newest version of each name
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE INDEX policy_name ON policy_version (name, version);
CREATE INDEX policy_current ON policy_version (current);

-- +goose Down
DROP TABLE policy_version;
DROP TABLE policy_revision;

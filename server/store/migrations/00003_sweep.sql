-- +goose Up
CREATE TABLE sweep (
    id         TEXT PRIMARY KEY,
    model      TEXT NOT NULL,
    paths      TEXT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    ends       BIGINT NOT NULL
);
CREATE INDEX sweep_ends ON sweep (ends);
CREATE TABLE sweep_agent (
    sweep TEXT NOT NULL REFERENCES sweep (id) ON DELETE CASCADE,
    agent TEXT NOT NULL,
    asked BIGINT NOT NULL,
    done  BIGINT NOT NULL DEFAULT 0,
    files BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (sweep, agent)
);

-- +goose Down
DROP TABLE sweep_agent;
DROP TABLE sweep;

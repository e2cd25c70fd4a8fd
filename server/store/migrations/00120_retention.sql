-- +goose Up
CREATE TABLE hold (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    ref        TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    lifted     BIGINT NOT NULL DEFAULT 0,
    lifted_by  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX hold_ref ON hold (kind, ref);

-- +goose Down
DROP TABLE hold;

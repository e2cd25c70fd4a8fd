-- +goose Up
CREATE TABLE target (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    url           TEXT NOT NULL,
    format        TEXT NOT NULL,
    secret        BLOB NOT NULL,
    allow_private BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    failures      BIGINT NOT NULL DEFAULT 0,
    paused_until  BIGINT NOT NULL DEFAULT 0,
    last_error    TEXT NOT NULL DEFAULT ''
);
CREATE TABLE outbox (
    id        TEXT PRIMARY KEY,
    target    TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    event     TEXT NOT NULL,
    alert     TEXT NOT NULL,
    created   BIGINT NOT NULL,
    due       BIGINT NOT NULL,
    attempts  BIGINT NOT NULL DEFAULT 0,
    delivered BIGINT NOT NULL DEFAULT 0,
    error     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (delivered, due);
CREATE INDEX outbox_target ON outbox (target, id);

-- +goose Down
DROP TABLE outbox;
DROP TABLE target;

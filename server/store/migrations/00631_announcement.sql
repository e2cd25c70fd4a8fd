-- +goose Up
-- Registries elsewhere (MLflow, Hugging Face) that tell of new versions by webhook.
CREATE TABLE webhook_source (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    provider   TEXT NOT NULL,
    secret     BLOB NOT NULL, -- readable: it must be used
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    last_used  BIGINT NOT NULL DEFAULT 0
);
-- Deliveries that were taken, as long as their signed time would still pass.
CREATE TABLE webhook_delivery (
    source   TEXT NOT NULL,
    delivery TEXT NOT NULL,
    received BIGINT NOT NULL,
    PRIMARY KEY (source, delivery),
    FOREIGN KEY (source) REFERENCES webhook_source (id) ON DELETE CASCADE
);
-- Versions that were told of. No reference to the source: what it told stays when it goes.
CREATE TABLE announcement (
    id        TEXT PRIMARY KEY,
    source    TEXT NOT NULL,
    by_name   TEXT NOT NULL,
    provider  TEXT NOT NULL,
    model     TEXT NOT NULL,
    version   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    title     TEXT NOT NULL,
    origin    TEXT NOT NULL,
    who       TEXT NOT NULL,
    announced BIGINT NOT NULL,
    closed    BIGINT NOT NULL DEFAULT 0,
    closed_by TEXT NOT NULL DEFAULT '',
    note      TEXT NOT NULL DEFAULT '',
    UNIQUE (source, model, version)
);
CREATE INDEX announcement_open ON announcement (closed, id);
CREATE INDEX announcement_model ON announcement (model, version);

-- +goose Down
DROP TABLE announcement;
DROP TABLE webhook_delivery;
DROP TABLE webhook_source;

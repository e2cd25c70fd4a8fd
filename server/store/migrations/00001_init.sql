-- +goose Up
-- Times are microseconds since 1970 UTC, 0 where there is none. Text ids are
-- UUIDv7, so that primary keys grow at one end.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE token (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    roles      TEXT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires    BIGINT NOT NULL,
    last_used  BIGINT NOT NULL DEFAULT 0,
    revoked    BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE enrol_token (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    labels     TEXT NOT NULL,
    uses_left  BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires    BIGINT NOT NULL,
    revoked    BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE session (
    hash     BLOB PRIMARY KEY,
    subject  TEXT NOT NULL,
    name     TEXT NOT NULL,
    roles    TEXT NOT NULL,
    token_id TEXT NOT NULL,
    csrf     TEXT NOT NULL,
    created  BIGINT NOT NULL,
    seen     BIGINT NOT NULL,
    expires  BIGINT NOT NULL
);
CREATE INDEX session_expires ON session (expires);

CREATE TABLE agent (
    id           TEXT PRIMARY KEY,
    host         TEXT NOT NULL,
    os           TEXT NOT NULL,
    arch         TEXT NOT NULL,
    machine_id   TEXT NOT NULL,
    boot_id      TEXT NOT NULL DEFAULT '',
    boot_before  TEXT NOT NULL DEFAULT '',
    labels       TEXT NOT NULL,
    state        TEXT NOT NULL,
    state_reason TEXT NOT NULL DEFAULT '',
    version      TEXT NOT NULL,
    enrolled     BIGINT NOT NULL,
    cert_serial  TEXT NOT NULL,
    cert_expires BIGINT NOT NULL,
    seen         BIGINT NOT NULL,
    snapshot     BIGINT NOT NULL DEFAULT 0,
    policy       BIGINT NOT NULL DEFAULT 0,
    pending      BIGINT NOT NULL DEFAULT 0,
    lost         BIGINT NOT NULL DEFAULT 0,
    gaps         BIGINT NOT NULL DEFAULT 0,
    problems     BIGINT NOT NULL DEFAULT 0,
    heartbeat    BLOB
);
CREATE INDEX agent_host ON agent (host);
CREATE INDEX agent_seen ON agent (seen);

CREATE TABLE model (
    name      TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    owner     TEXT NOT NULL,
    tier      BIGINT NOT NULL,
    regulated BIGINT NOT NULL,
    note      TEXT NOT NULL,
    created   BIGINT NOT NULL
);

CREATE TABLE model_version (
    model   TEXT NOT NULL REFERENCES model (name) ON DELETE CASCADE,
    version TEXT NOT NULL,
    source  TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (model, version)
);

CREATE TABLE artifact (
    id          TEXT PRIMARY KEY,
    model       TEXT NOT NULL,
    version     TEXT NOT NULL,
    name        TEXT NOT NULL,
    format      TEXT NOT NULL,
    size        BIGINT NOT NULL,
    tensors     BIGINT NOT NULL,
    parameters  BIGINT NOT NULL,
    content     TEXT NOT NULL,
    digest      TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    created     BIGINT NOT NULL,
    UNIQUE (model, version, digest),
    FOREIGN KEY (model, version) REFERENCES model_version (model, version) ON DELETE CASCADE
);

CREATE TABLE snapshot (
    epoch    BIGINT PRIMARY KEY,
    created  BIGINT NOT NULL,
    expires  BIGINT NOT NULL,
    entries  BIGINT NOT NULL,
    digest   TEXT NOT NULL,
    bytes    BIGINT NOT NULL,
    reason   TEXT NOT NULL,
    manifest BLOB NOT NULL
);

CREATE TABLE blob_part (
    digest TEXT NOT NULL,
    part   BIGINT NOT NULL,
    size   BIGINT NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (digest, part)
);

CREATE TABLE alert (
    id           TEXT PRIMARY KEY,
    open_key     TEXT UNIQUE, -- SHA-256 of dedup_key while further hits join, else NULL
    dedup_key    TEXT NOT NULL,
    state        TEXT NOT NULL,
    severity     BIGINT NOT NULL,
    model        TEXT NOT NULL,
    version      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    agent        TEXT NOT NULL,
    host         TEXT NOT NULL,
    user_name    TEXT NOT NULL,
    dest_class   TEXT NOT NULL,
    verdict      TEXT NOT NULL,
    coverage     DOUBLE PRECISION NOT NULL,
    path         TEXT NOT NULL,
    process      TEXT NOT NULL,
    first_hit    TEXT NOT NULL,
    last_hit     TEXT NOT NULL,
    hits         BIGINT NOT NULL,
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    owner        TEXT NOT NULL DEFAULT '',
    resolution   TEXT NOT NULL DEFAULT '',
    note         TEXT NOT NULL DEFAULT '',
    acknowledged BIGINT NOT NULL DEFAULT 0,
    closed       BIGINT NOT NULL DEFAULT 0,
    case_id      TEXT NOT NULL DEFAULT ''
);
CREATE INDEX alert_queue ON alert (state, severity, last_seen);
CREATE INDEX alert_seen ON alert (last_seen);
CREATE INDEX alert_model ON alert (model, last_seen);
CREATE INDEX alert_case ON alert (case_id);

CREATE TABLE hit (
    id         TEXT PRIMARY KEY,
    agent      TEXT NOT NULL,
    epoch      TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    observed   BIGINT NOT NULL,
    event      TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    model      TEXT NOT NULL,
    version    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    host       TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    process    TEXT NOT NULL,
    path       TEXT NOT NULL,
    file_name  TEXT NOT NULL,
    dest_class TEXT NOT NULL,
    size       BIGINT NOT NULL,
    coverage   DOUBLE PRECISION NOT NULL,
    content    TEXT NOT NULL,
    alert_id   TEXT NOT NULL,
    authorised TEXT NOT NULL DEFAULT '',
    hold       BIGINT NOT NULL DEFAULT 0,
    body       BLOB NOT NULL,
    UNIQUE (agent, epoch, seq)
);
CREATE INDEX hit_alert ON hit (alert_id);
CREATE INDEX hit_model ON hit (model, id);
CREATE INDEX hit_host ON hit (host, id);
CREATE INDEX hit_user ON hit (user_name, id);
CREATE INDEX hit_file ON hit (file_name);
CREATE INDEX hit_content ON hit (content);

CREATE TABLE authorisation (
    id         TEXT PRIMARY KEY,
    model      TEXT NOT NULL,
    host       TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    program    TEXT NOT NULL,
    path       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    approved_by TEXT NOT NULL DEFAULT '',
    expires    BIGINT NOT NULL,
    revoked    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX authorisation_model ON authorisation (model);

CREATE TABLE copy (
    agent      TEXT NOT NULL,
    path_key   TEXT NOT NULL, -- SHA-256 of path, which may be too long for an index
    path       TEXT NOT NULL,
    host       TEXT NOT NULL,
    model      TEXT NOT NULL,
    version    TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    dest_class TEXT NOT NULL,
    size       BIGINT NOT NULL,
    user_name  TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    last_hit   TEXT NOT NULL,
    authorised TEXT NOT NULL,
    PRIMARY KEY (agent, path_key)
);
CREATE INDEX copy_model ON copy (model);

CREATE TABLE audit (
    seq  BIGINT PRIMARY KEY,
    leaf BLOB NOT NULL
);
CREATE TABLE audit_hash (
    id   BIGINT PRIMARY KEY,
    hash BLOB NOT NULL
);

-- +goose Down
DROP TABLE audit_hash;
DROP TABLE audit;
DROP TABLE copy;
DROP TABLE authorisation;
DROP TABLE hit;
DROP TABLE alert;
DROP TABLE blob_part;
DROP TABLE snapshot;
DROP TABLE artifact;
DROP TABLE model_version;
DROP TABLE model;
DROP TABLE agent;
DROP TABLE session;
DROP TABLE enrol_token;
DROP TABLE token;
DROP TABLE meta;

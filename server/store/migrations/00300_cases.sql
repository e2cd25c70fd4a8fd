-- +goose Up
CREATE TABLE case_file (
    id               TEXT PRIMARY KEY,
    number           BIGINT NOT NULL UNIQUE,
    title            TEXT NOT NULL,
    playbook         TEXT NOT NULL,
    playbook_version TEXT NOT NULL,
    phase            TEXT NOT NULL,
    severity         BIGINT NOT NULL,
    vector           TEXT NOT NULL,
    tlp              TEXT NOT NULL,
    restricted       BIGINT NOT NULL,
    hold             BIGINT NOT NULL,
    subject          TEXT NOT NULL,
    actor            TEXT NOT NULL,
    actor_reason     TEXT NOT NULL,
    owner            TEXT NOT NULL,
    owner_name       TEXT NOT NULL,
    summary          TEXT NOT NULL,
    root_cause       TEXT NOT NULL,
    lessons          TEXT NOT NULL,
    models           TEXT NOT NULL, -- JSON
    facts            TEXT NOT NULL, -- JSON
    overrides        TEXT NOT NULL, -- JSON
    resolution       TEXT NOT NULL,
    opened_by        TEXT NOT NULL,
    occurred         BIGINT NOT NULL,
    detected         BIGINT NOT NULL,
    opened           BIGINT NOT NULL,
    acknowledged     BIGINT NOT NULL,
    triaged          BIGINT NOT NULL,
    contained        BIGINT NOT NULL,
    closed           BIGINT NOT NULL,
    updated          BIGINT NOT NULL,
    revision         BIGINT NOT NULL
);
CREATE INDEX case_queue ON case_file (closed, severity, number);
CREATE INDEX case_subject ON case_file (subject, closed);

CREATE TABLE case_alert (
    case_id  TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    added    BIGINT NOT NULL,
    hits     BIGINT NOT NULL, -- that the case knows of
    PRIMARY KEY (case_id, alert_id)
);
CREATE INDEX case_alert_alert ON case_alert (alert_id);

CREATE TABLE case_member (
    case_id  TEXT NOT NULL,
    actor    TEXT NOT NULL,
    name     TEXT NOT NULL,
    added    BIGINT NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (case_id, actor)
);

CREATE TABLE case_task (
    id         TEXT PRIMARY KEY,
    case_id    TEXT NOT NULL,
    task_key   TEXT NOT NULL,
    task_group TEXT NOT NULL,
    phase      TEXT NOT NULL,
    text       TEXT NOT NULL,
    tool       TEXT NOT NULL,
    roles      TEXT NOT NULL, -- JSON
    assignee   TEXT NOT NULL,
    state      TEXT NOT NULL,
    proof      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    needs_why  BIGINT NOT NULL,
    position   BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    done       BIGINT NOT NULL,
    done_by    TEXT NOT NULL,
    UNIQUE (case_id, task_key)
);

CREATE TABLE case_clock (
    id           TEXT PRIMARY KEY,
    case_id      TEXT NOT NULL,
    task_key     TEXT NOT NULL,
    metric       TEXT NOT NULL,
    title        TEXT NOT NULL,
    roles        TEXT NOT NULL, -- JSON
    calendar     TEXT NOT NULL,
    started      BIGINT NOT NULL,
    due          BIGINT NOT NULL,
    paused       BIGINT NOT NULL,
    pause_reason TEXT NOT NULL,
    pauses       TEXT NOT NULL, -- JSON
    stopped      BIGINT NOT NULL,
    marks        BIGINT NOT NULL,
    breached     BIGINT NOT NULL,
    next_mark    BIGINT NOT NULL -- when somebody must look again; 0: never
);
CREATE INDEX case_clock_case ON case_clock (case_id);
CREATE INDEX case_clock_next ON case_clock (next_mark);

CREATE TABLE case_event (
    id      TEXT PRIMARY KEY,
    case_id TEXT NOT NULL,
    at      BIGINT NOT NULL,
    noted   BIGINT NOT NULL,
    who     TEXT NOT NULL,
    kind    TEXT NOT NULL,
    text    TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX case_event_case ON case_event (case_id, at);

CREATE TABLE case_observable (
    id         TEXT PRIMARY KEY,
    case_id    TEXT NOT NULL,
    type       TEXT NOT NULL,
    value      TEXT NOT NULL,
    value_key  TEXT NOT NULL, -- SHA-256 of value, which may be too long for an index
    source     TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    sensitive  BIGINT NOT NULL,
    note       TEXT NOT NULL,
    UNIQUE (case_id, type, value_key)
);
CREATE INDEX case_observable_value ON case_observable (value_key);

CREATE TABLE case_notice (
    id              TEXT PRIMARY KEY,
    case_id         TEXT NOT NULL,
    fact            TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    text            TEXT NOT NULL,
    created         BIGINT NOT NULL,
    targets         BIGINT NOT NULL,
    acknowledged    BIGINT NOT NULL,
    acknowledged_by TEXT NOT NULL,
    how             TEXT NOT NULL,
    UNIQUE (case_id, fact, recipient)
);

CREATE TABLE case_custody (
    id      TEXT PRIMARY KEY,
    case_id TEXT NOT NULL,
    at      BIGINT NOT NULL,
    who     TEXT NOT NULL,
    action  TEXT NOT NULL,
    item    TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    to_whom TEXT NOT NULL,
    purpose TEXT NOT NULL
);
CREATE INDEX case_custody_case ON case_custody (case_id);

CREATE TABLE case_approval (
    id         TEXT PRIMARY KEY,
    case_id    TEXT NOT NULL,
    action     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    asked      BIGINT NOT NULL,
    asked_by   TEXT NOT NULL,
    asked_name TEXT NOT NULL,
    decided    BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    approved   BIGINT NOT NULL
);
CREATE INDEX case_approval_case ON case_approval (case_id);

CREATE TABLE case_signal (
    id       TEXT PRIMARY KEY,
    case_id  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    source   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    model    TEXT NOT NULL,
    text     TEXT NOT NULL,
    received BIGINT NOT NULL
);
CREATE INDEX case_signal_case ON case_signal (case_id);

-- A copy that somebody removed or returned, until it is seen again.
ALTER TABLE copy ADD COLUMN gone BIGINT NOT NULL DEFAULT 0;
ALTER TABLE copy ADD COLUMN gone_by TEXT NOT NULL DEFAULT '';
ALTER TABLE copy ADD COLUMN gone_proof TEXT NOT NULL DEFAULT '';

-- Whom a target reaches ("CISO", "Legal", ...), separated by commas. Such a target
-- gets what is addressed to them and nothing else.
ALTER TABLE target ADD COLUMN recipients TEXT NOT NULL DEFAULT '';
-- The message itself, for what is not an alert.
ALTER TABLE outbox ADD COLUMN notice BLOB;

-- +goose Down
ALTER TABLE outbox DROP COLUMN notice;
ALTER TABLE target DROP COLUMN recipients;
ALTER TABLE copy DROP COLUMN gone_proof;
ALTER TABLE copy DROP COLUMN gone_by;
ALTER TABLE copy DROP COLUMN gone;
DROP TABLE case_signal;
DROP TABLE case_approval;
DROP TABLE case_custody;
DROP TABLE case_notice;
DROP TABLE case_observable;
DROP TABLE case_event;
DROP TABLE case_clock;
DROP TABLE case_task;
DROP TABLE case_member;
DROP TABLE case_alert;
DROP TABLE case_file;

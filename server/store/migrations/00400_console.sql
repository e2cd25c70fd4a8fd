-- +goose Up
-- What the console asks for often: the queue of alerts by severity, counts of what
-- is not closed, and lists by host, user and model in pages.
CREATE INDEX alert_active ON alert (severity, id DESC) WHERE state <> 'closed';
CREATE INDEX alert_active_model ON alert (model) WHERE state <> 'closed';
CREATE INDEX alert_active_class ON alert (dest_class) WHERE state <> 'closed';
CREATE INDEX alert_active_host ON alert (host) WHERE state <> 'closed';
CREATE INDEX alert_waiting ON alert (severity, first_seen) WHERE state = 'open';
CREATE INDEX alert_first ON alert (first_seen, severity);
CREATE INDEX alert_host ON alert (host, id);
CREATE INDEX alert_user ON alert (user_name, id);
CREATE INDEX alert_by_model ON alert (model, id);
CREATE INDEX alert_owner ON alert (owner, id);
CREATE INDEX copy_seen ON copy (last_seen);
CREATE INDEX copy_host ON copy (host);

CREATE TABLE saved_view (
    id      TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    page    TEXT NOT NULL,
    name    TEXT NOT NULL,
    query   TEXT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (subject, page, name)
);

-- +goose Down
DROP TABLE saved_view;
DROP INDEX copy_host;
DROP INDEX copy_seen;
DROP INDEX alert_owner;
DROP INDEX alert_by_model;
DROP INDEX alert_user;
DROP INDEX alert_host;
DROP INDEX alert_first;
DROP INDEX alert_waiting;
DROP INDEX alert_active_host;
DROP INDEX alert_active_class;
DROP INDEX alert_active_model;
DROP INDEX alert_active;

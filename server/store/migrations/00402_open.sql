-- +goose Up
-- With the state in them SQLite answers counts from these indexes alone.
DROP INDEX alert_active;
DROP INDEX alert_active_model;
DROP INDEX alert_active_class;
DROP INDEX alert_active_host;
DROP INDEX alert_queue; -- the planner preferred it where a sort was then needed
CREATE INDEX alert_active ON alert (severity, id DESC, state) WHERE state <> 'closed';
CREATE INDEX alert_active_model ON alert (model, state) WHERE state <> 'closed';
CREATE INDEX alert_active_class ON alert (dest_class, state) WHERE state <> 'closed';
CREATE INDEX alert_active_host ON alert (host, state) WHERE state <> 'closed';
CREATE INDEX alert_open ON alert (severity, id DESC, state) WHERE state = 'open';

-- +goose Down
DROP INDEX alert_open;
DROP INDEX alert_active_host;
DROP INDEX alert_active_class;
DROP INDEX alert_active_model;
DROP INDEX alert_active;
CREATE INDEX alert_queue ON alert (state, severity, last_seen);
CREATE INDEX alert_active_host ON alert (host) WHERE state <> 'closed';
CREATE INDEX alert_active_class ON alert (dest_class) WHERE state <> 'closed';
CREATE INDEX alert_active_model ON alert (model) WHERE state <> 'closed';
CREATE INDEX alert_active ON alert (severity, id DESC) WHERE state <> 'closed';

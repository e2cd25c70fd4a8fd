-- +goose Up
CREATE INDEX alert_open ON alert (severity, id DESC) WHERE state = 'open';

-- +goose Down
DROP INDEX alert_open;

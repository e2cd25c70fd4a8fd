-- +goose Up
CREATE INDEX copy_reconcile ON copy (model, authorised, host, last_seen);
DROP INDEX copy_model; -- the one above serves it too

-- +goose Down
CREATE INDEX copy_model ON copy (model);
DROP INDEX copy_reconcile;

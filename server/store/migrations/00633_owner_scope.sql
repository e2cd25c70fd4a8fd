-- +goose Up
ALTER TABLE token ADD COLUMN owners TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE token DROP COLUMN owners;

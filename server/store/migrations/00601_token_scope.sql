-- +goose Up
ALTER TABLE token ADD COLUMN networks TEXT NOT NULL DEFAULT '';
ALTER TABLE token ADD COLUMN models TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE token DROP COLUMN networks;
ALTER TABLE token DROP COLUMN models;

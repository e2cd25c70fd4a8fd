-- +goose Up
-- Whether an agent's last heartbeat said that it refuses the registry it is offered.
ALTER TABLE agent ADD COLUMN refuses BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE agent DROP COLUMN refuses;

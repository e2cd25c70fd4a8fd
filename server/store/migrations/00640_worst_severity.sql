-- +goose Up
-- The highest severity that a case ever had: lowering it does not spare the second person who closes it.
ALTER TABLE case_file ADD COLUMN worst BIGINT NOT NULL DEFAULT 4;
UPDATE case_file SET worst = severity;

-- +goose Down
ALTER TABLE case_file DROP COLUMN worst;

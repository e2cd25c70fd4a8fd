-- +goose Up
ALTER TABLE hit ADD COLUMN opinion TEXT NOT NULL DEFAULT '';
ALTER TABLE hit ADD COLUMN opinion_text TEXT NOT NULL DEFAULT '';
CREATE INDEX artifact_content ON artifact (content);
CREATE INDEX artifact_model ON artifact (model, version);

-- +goose Down
DROP INDEX artifact_model;
DROP INDEX artifact_content;
ALTER TABLE hit DROP COLUMN opinion_text;
ALTER TABLE hit DROP COLUMN opinion;

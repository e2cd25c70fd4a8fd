-- +goose Up
-- Which entries of the audit log tell of a case.
CREATE TABLE case_audit (
    case_id TEXT NOT NULL,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (case_id, seq)
);

-- +goose Down
DROP TABLE case_audit;

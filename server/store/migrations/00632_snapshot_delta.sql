-- +goose Up
-- Deltas that lead to the blob of an epoch from those of epochs before.
CREATE TABLE snapshot_delta (
    epoch      BIGINT NOT NULL,
    from_epoch BIGINT NOT NULL,
    digest     TEXT NOT NULL,
    bytes      BIGINT NOT NULL,
    PRIMARY KEY (epoch, from_epoch),
    FOREIGN KEY (epoch) REFERENCES snapshot (epoch) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE snapshot_delta;

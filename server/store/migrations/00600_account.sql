-- +goose Up
CREATE TABLE account (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    name_key    TEXT NOT NULL UNIQUE, -- lower case: one person has one name
    roles       TEXT NOT NULL,
    password    TEXT NOT NULL,        -- PHC string; '' for accounts that sign in elsewhere
    temporary   INTEGER NOT NULL,     -- 1: somebody else knows the password
    created     BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    disabled    BIGINT NOT NULL,
    last_used   BIGINT NOT NULL,
    failures    INTEGER NOT NULL,     -- wrong passwords since the last right one
    locked      BIGINT NOT NULL       -- no password is looked at before
);

-- +goose Down
DROP TABLE account;

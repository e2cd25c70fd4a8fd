-- +goose Up
CREATE TABLE passkey (
    id        TEXT PRIMARY KEY, -- the credential's, base64url
    account   TEXT NOT NULL,
    name      TEXT NOT NULL,
    record    BLOB NOT NULL,    -- JSON: public key, counter, flags
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL,  -- when the question of the last sign-in was asked
    FOREIGN KEY (account) REFERENCES account (id)
);
CREATE INDEX passkey_account ON passkey (account);

-- +goose Down
DROP TABLE passkey;

package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// maxPasskeys is how many an account may have.
const maxPasskeys = 10

// Passkey is a device that signs a person in.
type Passkey struct {
	ID       string // base64url
	Account  string
	Name     string // for the person
	Record   []byte // JSON: public key, counter; no secret
	Created  time.Time
	LastUsed time.Time
}

// PasskeyUse is what a session began with.
type PasskeyUse struct {
	ID     string
	Record []byte    // with the new counter
	Begun  time.Time // when the question was asked; each is good once
}

// AddPasskey stores a passkey of an account. It is ErrConflict where it is there already
// or the account has ten.
func (s *Store) AddPasskey(ctx context.Context, by Actor, k Passkey) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, `INSERT INTO passkey (id, account, name, record, created, last_used) SELECT ?, id, ?, ?, ?, 0 FROM account
			WHERE id = ? AND disabled = 0 AND temporary = 0 AND (SELECT COUNT(*) FROM passkey WHERE account = ?) < ? ON CONFLICT DO NOTHING`,
			k.ID, k.Name, k.Record, micros(s.now()), k.Account, k.Account, maxPasskeys)
		if err == nil && n == 0 {
			err = fmt.Errorf("this passkey is there already, or there are %d: %w", maxPasskeys, ErrConflict)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "passkey.add", k.Account, map[string]any{"passkey": k.ID, "name": k.Name})
	})
}

// Passkeys lists those of an account, oldest first.
func (s *Store) Passkeys(ctx context.Context, account string) ([]Passkey, error) {
	rows, err := s.query(ctx, "SELECT id, account, name, record, created, last_used FROM passkey WHERE account = ? ORDER BY created, id", account)
	return collect(rows, err, func(r *sql.Rows) (Passkey, error) {
		var k Passkey
		var created, used int64
		err := r.Scan(&k.ID, &k.Account, &k.Name, &k.Record, &created, &used)
		k.Created, k.LastUsed = fromMicros(created), fromMicros(used)
		return k, err
	})
}

// DeletePasskey takes a passkey from an account. Sessions that began with it go on.
func (s *Store) DeletePasskey(ctx context.Context, by Actor, account, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "DELETE FROM passkey WHERE id = ? AND account = ?", id, account)
		if err == nil && n == 0 {
			err = fmt.Errorf("passkey %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "passkey.delete", account, map[string]any{"passkey": id})
	})
}

// usePasskey holds a passkey and its account until the session is stored. 0 rows: the
// account is disabled, the passkey is gone, or the question was answered before.
func (t *Tx) usePasskey(ctx context.Context, account string, use *PasskeyUse, now int64) (int64, error) {
	n, err := t.exec(ctx, "UPDATE account SET failures = 0, locked = 0, last_used = ? WHERE id = ? AND disabled = 0", now, account)
	if err != nil || n == 0 {
		return n, err
	}
	return t.exec(ctx, "UPDATE passkey SET record = ?, last_used = ? WHERE id = ? AND account = ? AND last_used < ?",
		use.Record, micros(use.Begun), use.ID, account, micros(use.Begun))
}

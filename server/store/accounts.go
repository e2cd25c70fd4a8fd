package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Account is a person who signs in by name. The password is a PHC string that only
// this package and package auth see.
type Account struct {
	ID        string
	Name      string
	Roles     []string
	Temporary bool // somebody else knows the password: it must be changed first
	Created   time.Time
	CreatedBy string
	Disabled  time.Time // zero: in use
	LastUsed  time.Time
	Failures  int       // wrong passwords since the last right one
	Locked    time.Time // no password is looked at before
}

const accountColumns = "id, name, roles, temporary, created, created_by, disabled, last_used, failures, locked"

func scanAccount(row interface{ Scan(...any) error }, more ...any) (Account, error) {
	var a Account
	var roles string
	var temporary int
	var created, disabled, used, locked int64
	err := row.Scan(append([]any{&a.ID, &a.Name, &roles, &temporary, &created, &a.CreatedBy, &disabled, &used, &a.Failures, &locked}, more...)...)
	a.Roles, a.Temporary = strings.Split(roles, ","), temporary != 0
	a.Created, a.Disabled, a.LastUsed, a.Locked = fromMicros(created), fromMicros(disabled), fromMicros(used), fromMicros(locked)
	return a, err
}

// accountKey is the form in which names are told apart.
func accountKey(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// AddAccount stores an account with the PHC string of its first password. A name that
// is taken is ErrConflict.
func (s *Store) AddAccount(ctx context.Context, by Actor, a Account, phc string) (Account, error) {
	a.ID, a.Created, a.CreatedBy, a.Temporary = NewID(), s.now().UTC(), by.ID, true
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, `INSERT INTO account (id, name, name_key, roles, password, temporary, created, created_by, disabled, last_used, failures, locked)
			VALUES (?, ?, ?, ?, ?, 1, ?, ?, 0, 0, 0, 0) ON CONFLICT DO NOTHING`, a.ID, a.Name, accountKey(a.Name), strings.Join(a.Roles, ","), phc, micros(a.Created), a.CreatedBy)
		if err == nil && n == 0 {
			err = fmt.Errorf("the name %.100q is taken: %w", a.Name, ErrConflict)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "account.add", a.ID, map[string]any{"name": a.Name, "roles": a.Roles})
	})
	return a, err
}

// Accounts lists all accounts by name.
func (s *Store) Accounts(ctx context.Context) ([]Account, error) {
	rows, err := s.query(ctx, "SELECT "+accountColumns+" FROM account ORDER BY name_key")
	return collect(rows, err, func(r *sql.Rows) (Account, error) { return scanAccount(r) })
}

// AccountByID returns an account with its PHC string, or ErrNotFound.
func (s *Store) AccountByID(ctx context.Context, id string) (a Account, phc string, err error) {
	a, err = scanAccount(s.queryRow(ctx, "SELECT "+accountColumns+", password FROM account WHERE id = ?", id), &phc)
	return a, phc, notFound(err, "account", id)
}

// changeAccount changes columns of an account, ends its sessions and writes an audit
// entry.
func (s *Store) changeAccount(ctx context.Context, by Actor, id, action string, detail map[string]any, set string, args ...any) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.changeAccount(ctx, by, id, action, detail, set, args...)
	})
}

func (t *Tx) changeAccount(ctx context.Context, by Actor, id, action string, detail map[string]any, set string, args ...any) error {
	n, err := t.exec(ctx, "UPDATE account SET "+set+" WHERE id = ?", append(args, id)...)
	if err == nil && n == 0 {
		err = fmt.Errorf("account %.100q: %w", id, ErrNotFound)
	}
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, "DELETE FROM session WHERE subject = ?", id); err != nil {
		return err
	}
	return t.Audit(ctx, by, action, id, detail)
}

// SetAccountRoles gives an account other roles; it must sign in anew.
func (s *Store) SetAccountRoles(ctx context.Context, by Actor, id string, roles []string) error {
	return s.changeAccount(ctx, by, id, "account.roles", map[string]any{"roles": roles}, "roles = ?", strings.Join(roles, ","))
}

// DisableAccount ends an account's access at once, or gives it back.
func (s *Store) DisableAccount(ctx context.Context, by Actor, id string, disabled bool) error {
	at := time.Time{}
	if disabled {
		at = s.now()
	}
	return s.changeAccount(ctx, by, id, "account.disable", map[string]any{"disabled": disabled}, "disabled = ?, failures = 0, locked = 0", micros(at))
}

const setPassword = "password = ?, temporary = ?, failures = 0, locked = 0"

// SetPassword stores a password's PHC string that somebody else than the person knows:
// it is good until the person chose another one. All sessions of the account end, and
// its passkeys go: whoever took the account over may have added one.
func (s *Store) SetPassword(ctx context.Context, by Actor, id, phc string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "DELETE FROM passkey WHERE account = ?", id)
		if err != nil {
			return err
		}
		return tx.changeAccount(ctx, by, id, "account.password", map[string]any{"by_owner": false, "passkeys_removed": n}, setPassword, phc, 1)
	})
}

// ChangePassword stores the PHC string of the password that the person chose, and ends
// all sessions of the account. It is ErrConflict where the old one is no longer old, as
// an administrator reset it meanwhile.
func (s *Store) ChangePassword(ctx context.Context, by Actor, id, old, phc string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE account SET temporary = 0 WHERE id = ? AND password = ? AND disabled = 0", id, old)
		if err == nil && n == 0 {
			err = fmt.Errorf("the password was changed meanwhile: %w", ErrConflict)
		}
		if err != nil {
			return err
		}
		return tx.changeAccount(ctx, by, id, "account.password", map[string]any{"by_owner": true}, setPassword, phc, 0)
	})
}

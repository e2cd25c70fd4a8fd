package store

import (
	"context"
	"database/sql"
	"errors"
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

// AccountByName returns the account of a name, in either case of letters, with its
// PHC string, or ErrNotFound.
func (s *Store) AccountByName(ctx context.Context, name string) (a Account, phc string, err error) {
	a, err = scanAccount(s.queryRow(ctx, "SELECT "+accountColumns+", password FROM account WHERE name_key = ?", accountKey(name)), &phc)
	return a, phc, notFound(err, "account", name)
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
		n, err := tx.exec(ctx, "UPDATE account SET "+set+" WHERE id = ?", append(args, id)...)
		if err == nil && n == 0 {
			err = fmt.Errorf("account %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "DELETE FROM session WHERE subject = ?", id); err != nil {
			return err
		}
		return tx.Audit(ctx, by, action, id, detail)
	})
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

// SetPassword stores another password's PHC string and ends all sessions of the
// account. Where somebody else than the person set it, it is temporary.
func (s *Store) SetPassword(ctx context.Context, by Actor, id, phc string) error {
	return s.changeAccount(ctx, by, id, "account.password", map[string]any{"by_owner": by.ID == id}, "password = ?, temporary = ?, failures = 0, locked = 0",
		phc, boolInt(by.ID != id))
}

// Locking: after freeFailures wrong passwords each one doubles the wait, up to
// longestLock. Nobody is locked out for good, and guessing is 4 a hour.
const (
	freeFailures = 5
	firstLock    = 10 * time.Second
	longestLock  = 15 * time.Minute
)

// SignInFailed counts a wrong password and returns until when no further one is
// looked at; zero for at once.
func (s *Store) SignInFailed(ctx context.Context, by Actor, id string) (until time.Time, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var failures int
		err := tx.queryRow(ctx, "UPDATE account SET failures = failures + 1 WHERE id = ? RETURNING failures", id).Scan(&failures)
		if errors.Is(err, sql.ErrNoRows) || err == nil && failures < freeFailures {
			return nil
		}
		if err != nil {
			return err
		}
		lock := longestLock
		if n := failures - freeFailures; n < 7 {
			lock = min(lock, firstLock<<n)
		}
		until = s.now().Add(lock)
		if _, err := tx.exec(ctx, "UPDATE account SET locked = ? WHERE id = ?", micros(until), id); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "account.locked", id, map[string]any{"failures": failures, "seconds": int(lock.Seconds())})
	})
	return until, err
}

// SignedIn notes that the right password came.
func (s *Store) SignedIn(ctx context.Context, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE account SET failures = 0, locked = 0, last_used = ? WHERE id = ?", micros(s.now()), id)
		return err
	})
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Waiting of names: from freeFailures wrong passwords on each one doubles the wait, up
// to longestLock. Nobody is locked out for good, and guessing is 4 an hour.
const (
	freeFailures  = 5
	firstLock     = 10 * time.Second
	longestLock   = 15 * time.Minute
	failuresCount = 24 * time.Hour // after the last one they are forgotten
	maxStrangers  = 10000          // names that nobody has; the oldest are forgotten
)

// LockAfter is how long a name has to wait after this many wrong passwords.
func LockAfter(failures int) time.Duration {
	n := failures - freeFailures
	switch {
	case n < 0:
		return 0
	case n < 7:
		return min(firstLock<<n, longestLock)
	}
	return longestLock
}

// Attempt is a sign-in by name and password. It counts as a wrong password before the
// password is looked at: many at once are no more guesses than one after the other.
type Attempt struct {
	Account  Account       // without ID: nobody has the name
	PHC      string        // of the account's password; "" for none
	Wait     time.Duration // above 0: no password is looked at before
	name     string
	failures int
}

// BeginAttempt counts an attempt on a name. A name that nobody has is no error, and
// waits as others do.
func (s *Store) BeginAttempt(ctx context.Context, name string) (Attempt, error) {
	var a Attempt
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		now := s.now()
		a = Attempt{name: name}
		if err := tx.forgetStrangers(ctx, now); err != nil {
			return err
		}
		var err error
		a.Account, err = scanAccount(tx.queryRow(ctx, "SELECT "+accountColumns+", password FROM account WHERE name_key = ?", accountKey(name)), &a.PHC)
		if errors.Is(err, sql.ErrNoRows) {
			a.Account = Account{}
			return tx.countStranger(ctx, &a, now)
		}
		if err != nil {
			return err
		}
		return tx.countAccount(ctx, &a, now)
	})
	return a, err
}

// countAccount counts within one statement: other servers count too.
func (t *Tx) countAccount(ctx context.Context, a *Attempt, now time.Time) error {
	var locked int64
	err := t.queryRow(ctx, `UPDATE account SET failures = CASE WHEN locked > ? THEN failures WHEN failed < ? THEN 1 ELSE failures + 1 END, failed = ? WHERE id = ? RETURNING failures, locked`,
		micros(now), micros(now.Add(-failuresCount)), micros(now), a.Account.ID).Scan(&a.failures, &locked)
	if err != nil {
		return err
	}
	if a.Wait = max(0, fromMicros(locked).Sub(now)); a.Wait > 0 {
		return nil
	}
	if wait := LockAfter(a.failures); wait > 0 {
		_, err = t.exec(ctx, "UPDATE account SET locked = ? WHERE id = ?", micros(now.Add(wait)), a.Account.ID)
	}
	return err
}

func (t *Tx) countStranger(ctx context.Context, a *Attempt, now time.Time) error {
	var locked int64
	key := HashSecret([]byte(accountKey(a.name)))
	err := t.queryRow(ctx, `INSERT INTO stranger (name_hash, failures, failed, locked) VALUES (?, 1, ?, 0) ON CONFLICT (name_hash) DO UPDATE SET
		failures = CASE WHEN stranger.locked > ? THEN stranger.failures WHEN stranger.failed < ? THEN 1 ELSE stranger.failures + 1 END, failed = excluded.failed RETURNING failures, locked`,
		key, micros(now), micros(now), micros(now.Add(-failuresCount))).Scan(&a.failures, &locked)
	if err != nil {
		return err
	}
	if a.Wait = max(0, fromMicros(locked).Sub(now)); a.Wait > 0 {
		return nil
	}
	if wait := LockAfter(a.failures); wait > 0 {
		_, err = t.exec(ctx, "UPDATE stranger SET locked = ? WHERE name_hash = ?", micros(now.Add(wait)), key)
	}
	return err
}

func (t *Tx) forgetStrangers(ctx context.Context, now time.Time) error {
	_, err := t.exec(ctx, "DELETE FROM stranger WHERE failed < ? OR failed < (SELECT failed FROM stranger ORDER BY failed DESC LIMIT 1 OFFSET ?)",
		micros(now.Add(-failuresCount)), maxStrangers-1)
	return err
}

// AttemptFailed notes in the audit log that the password was wrong. For a name that
// nobody has it only takes as long: strangers must not fill the log.
func (s *Store) AttemptFailed(ctx context.Context, a Attempt, remote string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		if a.Account.ID == "" {
			_, err := tx.exec(ctx, "UPDATE stranger SET failures = failures WHERE name_hash = ?", HashSecret([]byte(accountKey(a.name))))
			return err
		}
		by := Actor{Kind: "user", ID: a.Account.ID, Name: a.Account.Name, Remote: remote}
		return tx.Audit(ctx, by, "account.failed", a.Account.ID, map[string]any{"failures": a.failures, "wait_seconds": int(LockAfter(a.failures).Seconds()), "disabled": !a.Account.Disabled.IsZero()})
	})
}

// AttemptPassed takes back an attempt that was right and begins no session.
func (s *Store) AttemptPassed(ctx context.Context, account string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE account SET failures = 0, locked = 0 WHERE id = ?", account)
		return err
	})
}

// AddSession stores a session by the hash of its cookie. It is ErrNotFound where what
// it was begun with is no longer good: the token was revoked, or the account disabled
// or given another password, while its owner signed in.
func (s *Store) AddSession(ctx context.Context, by Actor, sess Session, cookie []byte) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		now := micros(s.now())
		if _, err := tx.exec(ctx, "DELETE FROM session WHERE expires < ?", now); err != nil {
			return err
		}
		if err := tx.stillGood(ctx, sess, now); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "INSERT INTO session (hash, subject, name, roles, token_id, csrf, created, seen, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			HashSecret(cookie), sess.Subject, sess.Name, strings.Join(sess.Roles, ","), sess.TokenID, sess.CSRF, now, now, micros(sess.Expires))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "session.begin", sess.Subject, nil)
	})
}

// stillGood locks the row of the token or account until the session is stored, so that
// who revokes it meanwhile ends the session too.
func (t *Tx) stillGood(ctx context.Context, sess Session, now int64) error {
	n, err := int64(1), error(nil)
	switch {
	case sess.TokenID != "":
		n, err = t.exec(ctx, "UPDATE token SET last_used = ? WHERE id = ? AND revoked = 0 AND (expires = 0 OR expires > ?)", now, sess.TokenID, now)
	case sess.Passkey != nil:
		n, err = t.usePasskey(ctx, sess.Subject, sess.Passkey, now)
	case sess.PHC != "":
		n, err = t.exec(ctx, "UPDATE account SET failures = 0, locked = 0, last_used = ? WHERE id = ? AND disabled = 0 AND password = ?", now, sess.Subject, sess.PHC)
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("what %.100q signed in with is no longer good: %w", sess.Name, ErrNotFound)
	}
	return err
}

// EndSession forgets a session. It is no error where there is none.
func (s *Store) EndSession(ctx context.Context, remote string, cookie []byte) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		by := Actor{Kind: "user", Remote: remote}
		err := tx.queryRow(ctx, "DELETE FROM session WHERE hash = ? RETURNING subject, name", HashSecret(cookie)).Scan(&by.ID, &by.Name)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "session.end", by.ID, nil)
	})
}

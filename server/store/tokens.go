package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Token is an API token without its secret.
type Token struct {
	ID        string
	Name      string
	Roles     []string
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero: never
	LastUsed  time.Time
	Revoked   time.Time
	Networks  []string // CIDR; none: from anywhere
	Models    []string // patterns of the models that it may register; none: all
	Owners    []string // whose models it may change; none: everybody's
}

// EnrolToken is an enrolment token without its secret.
type EnrolToken struct {
	ID        string
	Name      string
	Labels    map[string]string
	UsesLeft  int64
	Created   time.Time
	CreatedBy string
	Expires   time.Time
	Revoked   time.Time
}

// Session is a person's visit to the console.
type Session struct {
	Subject  string // who: token or user id
	Name     string
	Roles    []string
	TokenID  string      // the token it began with; revoking that ends the session
	PHC      string      // of the password it began with; only for AddSession
	Passkey  *PasskeyUse // that it began with; only for AddSession
	CSRF     string
	Created  time.Time
	Seen     time.Time // when the person last did something, to the minute
	Expires  time.Time
	Networks []string // of the token it began with: it is good from there only
	// Temporary says that the person must choose another password first.
	Temporary bool
}

// NewID returns an id that sorts by time.
func NewID() string {
	return uuid.Must(uuid.NewV7()).String()
}

// HashSecret is the form in which secrets are kept. The secrets are 256 random
// bits, so a plain hash is enough.
func HashSecret(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

// AddToken stores a token by the hash of its secret.
func (s *Store) AddToken(ctx context.Context, by Actor, t Token, secret []byte) (Token, error) {
	t.ID, t.Created, t.CreatedBy = NewID(), s.now().UTC(), by.ID
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO token (id, hash, name, roles, created, created_by, expires, networks, models, owners) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.ID, HashSecret(secret), t.Name, strings.Join(t.Roles, ","), micros(t.Created), t.CreatedBy, micros(t.Expires), strings.Join(t.Networks, ","), strings.Join(t.Models, ","), strings.Join(t.Owners, ","))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "token.add", t.ID, map[string]any{"name": t.Name, "roles": t.Roles, "networks": t.Networks, "models": t.Models, "owners": t.Owners})
	})
	return t, err
}

const tokenColumns = "id, name, roles, created, created_by, expires, last_used, revoked, networks, models, owners"

func scanToken(row interface{ Scan(...any) error }) (Token, error) {
	var t Token
	var roles, networks, models, owners string
	var created, expires, used, revoked int64
	err := row.Scan(&t.ID, &t.Name, &roles, &created, &t.CreatedBy, &expires, &used, &revoked, &networks, &models, &owners)
	t.Networks, t.Models, t.Owners = splitList(networks), splitList(models), splitList(owners)
	t.Roles = strings.Split(roles, ",")
	t.Created, t.Expires, t.LastUsed, t.Revoked = fromMicros(created), fromMicros(expires), fromMicros(used), fromMicros(revoked)
	return t, err
}

// splitList is the list that strings.Join made a text of.
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// TokenBySecret returns the valid token with this secret, or ErrNotFound.
func (s *Store) TokenBySecret(ctx context.Context, secret []byte) (Token, error) {
	now := micros(s.now())
	t, err := scanToken(s.queryRow(ctx, "SELECT "+tokenColumns+" FROM token WHERE hash = ? AND revoked = 0 AND (expires = 0 OR expires > ?)", HashSecret(secret), now))
	if err != nil {
		return Token{}, notFound(err, "token", "")
	}
	if s.now().Sub(t.LastUsed) > 5*time.Minute {
		// Coarse on purpose: reading must not cost a write each time.
		err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
			_, err := tx.exec(ctx, "UPDATE token SET last_used = ? WHERE id = ?", now, t.ID)
			return err
		})
	}
	return t, err
}

// Tokens lists all tokens, newest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := s.query(ctx, "SELECT "+tokenColumns+" FROM token ORDER BY id DESC")
	return collect(rows, err, func(r *sql.Rows) (Token, error) { return scanToken(r) })
}

// RevokeToken ends a token and every session that began with it.
func (s *Store) RevokeToken(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE token SET revoked = ? WHERE id = ? AND revoked = 0", micros(s.now()), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("token %.100q: %w", id, ErrNotFound)
		}
		if _, err := tx.exec(ctx, "DELETE FROM session WHERE token_id = ?", id); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "token.revoke", id, nil)
	})
}

// AddEnrolToken stores an enrolment token by the hash of its secret.
func (s *Store) AddEnrolToken(ctx context.Context, by Actor, t EnrolToken, secret []byte) (EnrolToken, error) {
	t.ID, t.Created, t.CreatedBy = NewID(), s.now().UTC(), by.ID
	labels, err := json.Marshal(t.Labels)
	if err != nil {
		return t, err
	}
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO enrol_token (id, hash, name, labels, uses_left, created, created_by, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			t.ID, HashSecret(secret), t.Name, string(labels), t.UsesLeft, micros(t.Created), t.CreatedBy, micros(t.Expires))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "enrol_token.add", t.ID, map[string]any{"name": t.Name, "uses": t.UsesLeft})
	})
	return t, err
}

// EnrolTokens lists all enrolment tokens, newest first.
func (s *Store) EnrolTokens(ctx context.Context) ([]EnrolToken, error) {
	rows, err := s.query(ctx, "SELECT id, name, labels, uses_left, created, created_by, expires, revoked FROM enrol_token ORDER BY id DESC")
	return collect(rows, err, func(r *sql.Rows) (EnrolToken, error) {
		var t EnrolToken
		var labels string
		var created, expires, revoked int64
		if err := r.Scan(&t.ID, &t.Name, &labels, &t.UsesLeft, &created, &t.CreatedBy, &expires, &revoked); err != nil {
			return t, err
		}
		t.Created, t.Expires, t.Revoked = fromMicros(created), fromMicros(expires), fromMicros(revoked)
		return t, json.Unmarshal([]byte(labels), &t.Labels)
	})
}

// RevokeEnrolToken ends an enrolment token; agents that used it stay.
func (s *Store) RevokeEnrolToken(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE enrol_token SET revoked = ? WHERE id = ? AND revoked = 0", micros(s.now()), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("enrolment token %.100q: %w", id, ErrNotFound)
		}
		return tx.Audit(ctx, by, "enrol_token.revoke", id, nil)
	})
}

// SessionByCookie returns the live session with this cookie, or ErrNotFound. One that
// was not used for longer than idle has ended. The roles of a person with an account
// are those that the account has now.
func (s *Store) SessionByCookie(ctx context.Context, cookie []byte, idle time.Duration) (Session, error) {
	var sess Session
	var roles, networks string
	var created, seen, expires int64
	var temporary int
	now := s.now()
	err := s.queryRow(ctx, `SELECT x.subject, x.name, COALESCE(a.roles, x.roles), x.token_id, x.csrf, x.created, x.seen, x.expires, COALESCE(a.temporary, 0), COALESCE(t.networks, '')
		FROM session x LEFT JOIN account a ON a.id = x.subject LEFT JOIN token t ON t.id = x.token_id WHERE x.hash = ? AND x.expires > ? AND x.seen > ? AND COALESCE(a.disabled, 0) = 0`,
		HashSecret(cookie), micros(now), micros(now.Add(-idle))).Scan(&sess.Subject, &sess.Name, &roles, &sess.TokenID, &sess.CSRF, &created, &seen, &expires, &temporary, &networks)
	if err != nil {
		return Session{}, notFound(err, "session", "")
	}
	sess.Roles, sess.Networks, sess.Temporary = strings.Split(roles, ","), splitList(networks), temporary != 0
	sess.Created, sess.Seen, sess.Expires = fromMicros(created), fromMicros(seen), fromMicros(expires)
	return sess, nil
}

// TouchSession notes that a session was used, to the minute.
func (s *Store) TouchSession(ctx context.Context, cookie []byte, sess Session) error {
	if s.now().Sub(sess.Seen) < time.Minute {
		return nil
	}
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE session SET seen = ? WHERE hash = ?", micros(s.now()), HashSecret(cookie))
		return err
	})
}

// Meta returns a stored setting, or ErrNotFound.
func (s *Store) Meta(ctx context.Context, key string) ([]byte, error) {
	var v []byte
	err := s.queryRow(ctx, "SELECT value FROM meta WHERE key = ?", key).Scan(&v)
	return v, notFound(err, "setting", key)
}

// SetMeta stores a setting.
func (s *Store) SetMeta(ctx context.Context, key string, value []byte) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
		return err
	})
}

func scanBytes(r *sql.Rows) ([]byte, error) {
	var b []byte
	err := r.Scan(&b)
	return b, err
}

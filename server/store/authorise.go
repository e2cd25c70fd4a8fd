package store

import (
	"context"
	"database/sql"
	"fmt"
	"path"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Authorisation says that copies of a model may lie somewhere. Host, User,
// Program and Path are patterns of path.Match, empty for any; Path may end in
// "/**" for a whole tree.
type Authorisation struct {
	ID         string
	Model      string
	Host       string
	User       string
	Program    string
	Path       string
	Reason     string
	Created    time.Time
	CreatedBy  string
	ApprovedBy string // second person, for models of tier 1
	Expires    time.Time
	Revoked    time.Time
}

const authColumns = "id, model, host, user_name, program, path, reason, created, created_by, approved_by, expires, revoked"

func scanAuthorisation(row interface{ Scan(...any) error }) (Authorisation, error) {
	var a Authorisation
	var created, expires, revoked int64
	err := row.Scan(&a.ID, &a.Model, &a.Host, &a.User, &a.Program, &a.Path, &a.Reason, &created, &a.CreatedBy, &a.ApprovedBy, &expires, &revoked)
	a.Created, a.Expires, a.Revoked = fromMicros(created), fromMicros(expires), fromMicros(revoked)
	return a, err
}

// authorised returns the id of an authorisation in force that covers a hit, or "".
// One for a model of tier 1 counts once a second person has approved it.
func (t *Tx) authorised(ctx context.Context, h *api.Hit, process string) (string, error) {
	rows, err := t.query(ctx, "SELECT "+prefixed("a", authColumns)+` FROM authorisation a LEFT JOIN model m ON m.name = a.model
		WHERE a.model = ? AND a.revoked = 0 AND a.expires > ? AND (COALESCE(m.tier, 1) <> 1 OR a.approved_by <> '')`, h.Verdict.Model, micros(t.s.now()))
	list, err := collect(rows, err, func(r *sql.Rows) (Authorisation, error) { return scanAuthorisation(r) })
	if err != nil {
		return "", err
	}
	for _, a := range list {
		if matches(a.Host, h.Host.Name) && matches(a.User, h.User.Name) && matches(a.Program, process) && matches(a.Path, h.Verdict.Path) {
			return a.ID, nil
		}
	}
	return "", nil
}

func prefixed(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}

func matches(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	if root, ok := strings.CutSuffix(pattern, "/**"); ok {
		clean := path.Clean(value)
		return strings.HasPrefix(clean, path.Clean(root)+"/")
	}
	ok, err := path.Match(pattern, value)
	return ok && err == nil
}

// AddAuthorisation stores an authorisation.
func (s *Store) AddAuthorisation(ctx context.Context, by Actor, a Authorisation) (Authorisation, error) {
	a.ID, a.Created, a.CreatedBy, a.ApprovedBy = NewID(), s.now().UTC(), by.ID, ""
	for _, p := range []string{a.Host, a.User, a.Program, strings.TrimSuffix(a.Path, "/**")} {
		if _, err := path.Match(p, ""); err != nil {
			return a, fmt.Errorf("pattern %.100q: %w", p, err)
		}
	}
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var name string
		if err := tx.queryRow(ctx, "SELECT name FROM model WHERE name = ?", a.Model).Scan(&name); err != nil {
			return notFound(err, "model", a.Model)
		}
		_, err := tx.exec(ctx, "INSERT INTO authorisation ("+authColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0)",
			a.ID, a.Model, a.Host, a.User, a.Program, a.Path, a.Reason, micros(a.Created), a.CreatedBy, micros(a.Expires))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "authorisation.add", a.ID, map[string]any{"model": a.Model, "host": a.Host, "user": a.User, "program": a.Program, "path": a.Path, "reason": a.Reason})
	})
	return a, err
}

// ApproveAuthorisation is the second person's word; it cannot be the first's.
func (s *Store) ApproveAuthorisation(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		ok, err := tx.second(ctx, by, "SELECT created_by FROM authorisation WHERE id = ? AND revoked = 0", id)
		if err == nil && ok {
			_, err = tx.exec(ctx, "UPDATE authorisation SET approved_by = ? WHERE id = ? AND revoked = 0", by.ID, id)
		} else if err == nil {
			err = fmt.Errorf("authorisation %.100q needs the approval of somebody else than who added it: %w", id, ErrConflict)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "authorisation.approve", id, nil)
	})
}

// RevokeAuthorisation ends an authorisation; copies it covered show up in
// reconcile and their next hit alerts.
func (s *Store) RevokeAuthorisation(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE authorisation SET revoked = ? WHERE id = ? AND revoked = 0", micros(s.now()), id)
		if err == nil && n == 0 {
			err = fmt.Errorf("authorisation %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "authorisation.revoke", id, nil)
	})
}

// Authorisations lists those of a model, or all for "".
func (s *Store) Authorisations(ctx context.Context, model string) ([]Authorisation, error) {
	rows, err := s.query(ctx, "SELECT "+authColumns+" FROM authorisation WHERE ? = '' OR model = ? ORDER BY id DESC", model, model)
	return collect(rows, err, func(r *sql.Rows) (Authorisation, error) { return scanAuthorisation(r) })
}

// Copy is a place where a copy of a model was last seen.
type Copy struct {
	Agent      string
	Path       string
	Host       string
	Model      string
	Version    string
	Verdict    api.Word
	DestClass  string
	Size       int64
	User       string
	FirstSeen  time.Time
	LastSeen   time.Time
	LastHit    string
	Authorised string // id of an authorisation in force when it was last seen
	Gone       time.Time
	GoneBy     string
	GoneProof  string // what shows that it was removed
}

// Copies lists known copies of a model (all for ""), newest first.
func (s *Store) Copies(ctx context.Context, model string, limit int) ([]Copy, error) {
	rows, err := s.query(ctx, "SELECT "+copyColumns+" FROM copy WHERE ? = '' OR model = ? ORDER BY last_seen DESC LIMIT ?", model, model, limit)
	return collect(rows, err, scanCopy)
}

const copyColumns = "agent, path, host, model, version, verdict, dest_class, size, user_name, first_seen, last_seen, last_hit, authorised, gone, gone_by, gone_proof"

func scanCopy(r *sql.Rows) (Copy, error) {
	var c Copy
	var first, last, gone int64
	err := r.Scan(&c.Agent, &c.Path, &c.Host, &c.Model, &c.Version, &c.Verdict, &c.DestClass, &c.Size, &c.User, &first, &last, &c.LastHit, &c.Authorised,
		&gone, &c.GoneBy, &c.GoneProof)
	c.FirstSeen, c.LastSeen, c.Gone = fromMicros(first), fromMicros(last), fromMicros(gone)
	return c, err
}

package store

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Standing is how the registry and what was seen of a model agree.
type Standing struct {
	Model        string
	Kind         string // "" where the registry has no such model any more
	Tier         int
	Versions     int
	Authorised   int // copies where one may lie
	Unauthorised int
	Hosts        int // with any copy
	LastSeen     time.Time
	Permits      int // authorisations in force
}

// Reconcile compares the registry with the copies that were seen: models by name,
// those that only copies name last.
func (s *Store) Reconcile(ctx context.Context) ([]Standing, error) {
	rows, err := s.query(ctx, `SELECT COALESCE(m.name, c.model), COALESCE(m.kind, ''), COALESCE(m.tier, 0), COALESCE(v.n, 0), COALESCE(c.yes, 0), COALESCE(c.no, 0),
		COALESCE(c.hosts, 0), COALESCE(c.seen, 0), COALESCE(a.n, 0)
		FROM (SELECT name FROM model UNION SELECT DISTINCT model FROM copy) names
		LEFT JOIN model m ON m.name = names.name
		LEFT JOIN (SELECT model, COUNT(*) AS n FROM model_version GROUP BY model) v ON v.model = names.name
		LEFT JOIN (SELECT model, SUM(CASE WHEN authorised <> '' THEN 1 ELSE 0 END) AS yes, SUM(CASE WHEN authorised = '' THEN 1 ELSE 0 END) AS no,
			COUNT(DISTINCT host) AS hosts, MAX(last_seen) AS seen FROM copy GROUP BY model) c ON c.model = names.name
		LEFT JOIN (SELECT model, COUNT(*) AS n FROM authorisation WHERE revoked = 0 AND expires > ? GROUP BY model) a ON a.model = names.name
		ORDER BY CASE WHEN m.name IS NULL THEN 1 ELSE 0 END, 1`, micros(s.now()))
	return collect(rows, err, func(r *sql.Rows) (Standing, error) {
		var x Standing
		var seen int64
		err := r.Scan(&x.Model, &x.Kind, &x.Tier, &x.Versions, &x.Authorised, &x.Unauthorised, &x.Hosts, &seen, &x.Permits)
		x.LastSeen = fromMicros(seen)
		return x, err
	})
}

// CopyFilter selects copies; empty fields select all.
type CopyFilter struct {
	Model, Host, Text string
	Authorised        string // "yes", "no"
	Before            time.Time
	BeforeHit         string // last hit of the copy at Before: with it, the page after that copy
	Limit             int
}

// CopyList lists copies, last seen first.
func (s *Store) CopyList(ctx context.Context, f CopyFilter) ([]Copy, error) {
	where, args := []string{"1=1"}, []any{}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	if f.Model != "" {
		add("model = ?", f.Model)
	}
	if f.Host != "" {
		add("host = ?", f.Host)
	}
	switch f.Authorised {
	case "yes":
		add("authorised <> ''")
	case "no":
		add("authorised = ''")
	}
	if f.Text != "" {
		add(`LOWER(path) LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(f.Text))+"%")
	}
	if !f.Before.IsZero() {
		at := micros(f.Before)
		add("last_seen <= ? AND (last_seen < ? OR last_hit < ?)", at, at, f.BeforeHit)
	}
	rows, err := s.query(ctx, "SELECT "+copyColumns+" FROM copy WHERE "+strings.Join(where, " AND ")+" ORDER BY last_seen DESC, last_hit DESC LIMIT ?", append(args, f.Limit)...)
	return collect(rows, err, scanCopy)
}

// HostCopies is how many copies of a model lie on a host.
type HostCopies struct {
	Host                     string
	Authorised, Unauthorised int
}

// CopiesByHost counts copies of a model by host, most unauthorised ones first.
func (s *Store) CopiesByHost(ctx context.Context, model string, limit int) ([]HostCopies, error) {
	rows, err := s.query(ctx, `SELECT host, SUM(CASE WHEN authorised <> '' THEN 1 ELSE 0 END), SUM(CASE WHEN authorised = '' THEN 1 ELSE 0 END) AS wrong
		FROM copy WHERE model = ? GROUP BY host ORDER BY wrong DESC, host LIMIT ?`, model, limit)
	return collect(rows, err, func(r *sql.Rows) (HostCopies, error) {
		var x HostCopies
		return x, r.Scan(&x.Host, &x.Authorised, &x.Unauthorised)
	})
}

// AgentFilter selects agents; empty fields select all.
type AgentFilter struct {
	After string // id: the page after that agent
	Limit int
	Show  string // "silent", "gaps", "faults", "behind", "revoked", "cloned", "active"
	Host  string // begins with
	Epoch int64  // newest, for "behind"
}

// AgentList lists agents by id.
func (s *Store) AgentList(ctx context.Context, f AgentFilter) ([]Agent, error) {
	where, args := []string{"id > ?"}, []any{f.After}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	switch f.Show {
	case "silent":
		add("state = 'active' AND seen < ?", micros(s.now().Add(-SilentAfter)))
	case "gaps":
		add("state = 'active' AND gaps > 0")
	case "faults":
		add("state = 'active' AND problems > 0")
	case "behind":
		add("state = 'active' AND snapshot < ?", f.Epoch)
	case AgentRevoked, AgentCloned, AgentActive:
		add("state = ?", f.Show)
	}
	if f.Host != "" {
		cond, a := prefix("host", f.Host)
		add(cond, a...)
	}
	rows, err := s.query(ctx, "SELECT "+agentColumns+" FROM agent WHERE "+strings.Join(where, " AND ")+" ORDER BY id LIMIT ?", append(args, f.Limit)...)
	return collect(rows, err, func(r *sql.Rows) (Agent, error) { return scanAgent(r) })
}

// prefix is a condition that an index on the column can serve.
func prefix(column, value string) (string, []any) {
	return column + " >= ? AND " + column + " < ? AND " + column + ` LIKE ? ESCAPE '\'`, []any{value, value + "\U0010FFFF", escapeLike(value) + "%"}
}

// Found is what a search found, a few of each kind.
type Found struct {
	Agents []Agent
	Models []NameCount // with the number of versions
	Users  []string    // of alerts
	Files  []Hit       // hits on files of the name
	Same   []Hit       // hits on the content
	Owned  []Owned     // registered artifacts of the content
}

// Owned is a registered artifact.
type Owned struct{ Model, Version, Name, Content string }

// Find looks a text up as the beginning of a host, model, user or file name, and,
// where it may be one, as a content digest. Each look-up is served by an index.
func (s *Store) Find(ctx context.Context, text string, limit int) (Found, error) {
	var f Found
	var err error
	if f.Agents, err = s.AgentList(ctx, AgentFilter{Host: text, Limit: limit}); err != nil {
		return f, err
	}
	cond, args := prefix("name", text)
	f.Models, err = s.counts(ctx, "SELECT name, (SELECT COUNT(*) FROM model_version v WHERE v.model = model.name) FROM model WHERE "+cond+" ORDER BY name LIMIT ?", append(args, limit)...)
	if err != nil {
		return f, err
	}
	cond, args = prefix("user_name", text)
	rows, err := s.query(ctx, "SELECT DISTINCT user_name FROM alert WHERE "+cond+" ORDER BY user_name LIMIT ?", append(args, limit)...)
	f.Users, err = collect(rows, err, func(r *sql.Rows) (string, error) {
		var name string
		return name, r.Scan(&name)
	})
	if err != nil {
		return f, err
	}
	cond, args = prefix("file_name", fileName(text))
	if f.Files, err = s.findHits(ctx, cond+" ORDER BY file_name, id DESC", append(args, limit)...); err != nil {
		return f, err
	}
	return f, s.findContent(ctx, strings.ToLower(text), limit, &f)
}

func (s *Store) findHits(ctx context.Context, cond string, args ...any) ([]Hit, error) {
	rows, err := s.query(ctx, "SELECT "+hitColumns+" FROM hit WHERE "+cond+" LIMIT ?", args...)
	return collect(rows, err, func(r *sql.Rows) (Hit, error) { return scanHit(r) })
}

func (s *Store) findContent(ctx context.Context, digest string, limit int, f *Found) error {
	if len(digest) < 8 || len(digest) > 128 || strings.Trim(digest, "0123456789abcdef") != "" {
		return nil
	}
	cond, args := prefix("content", digest)
	var err error
	if f.Same, err = s.findHits(ctx, cond+" ORDER BY content, id DESC", append(args, limit)...); err != nil {
		return err
	}
	cond, args = prefix("content", digest)
	rows, err := s.query(ctx, "SELECT model, version, name, content FROM artifact WHERE "+cond+" ORDER BY content LIMIT ?", append(args, limit)...)
	f.Owned, err = collect(rows, err, func(r *sql.Rows) (Owned, error) {
		var x Owned
		return x, r.Scan(&x.Model, &x.Version, &x.Name, &x.Content)
	})
	return err
}

// Missed lists active agents that have not done their part of a sweep.
func (s *Store) Missed(ctx context.Context, sweep string, limit int) ([]Agent, error) {
	rows, err := s.query(ctx, "SELECT "+agentColumns+` FROM agent WHERE state = 'active' AND NOT EXISTS
		(SELECT 1 FROM sweep_agent x WHERE x.sweep = ? AND x.agent = agent.id AND x.done > 0) ORDER BY host LIMIT ?`, sweep, limit)
	return collect(rows, err, func(r *sql.Rows) (Agent, error) { return scanAgent(r) })
}

// AgentLabels counts active agents by their labels, as JSON.
func (s *Store) AgentLabels(ctx context.Context) ([]NameCount, error) {
	return s.counts(ctx, "SELECT labels, COUNT(*) FROM agent WHERE state = 'active' GROUP BY labels")
}

// Sessions lists the live sessions of the console, newest first.
func (s *Store) Sessions(ctx context.Context) ([]Session, error) {
	rows, err := s.query(ctx, "SELECT subject, name, roles, token_id, created, expires FROM session WHERE expires > ? ORDER BY created DESC LIMIT 200", micros(s.now()))
	return collect(rows, err, func(r *sql.Rows) (Session, error) {
		var x Session
		var roles string
		var created, expires int64
		err := r.Scan(&x.Subject, &x.Name, &roles, &x.TokenID, &created, &expires)
		x.Roles, x.Created, x.Expires = strings.Split(roles, ","), fromMicros(created), fromMicros(expires)
		return x, err
	})
}

// EndSessions ends every session of a subject.
func (s *Store) EndSessions(ctx context.Context, by Actor, subject string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "DELETE FROM session WHERE subject = ?", subject)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "session.end", subject, map[string]any{"sessions": n})
	})
}

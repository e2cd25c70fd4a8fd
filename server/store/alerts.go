package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/techniques"
)

// AlertWindow is how long hits of one key join the same alert, from its first hit.
const AlertWindow = 24 * time.Hour

// States of an alert.
const (
	AlertOpen         = "open"
	AlertAcknowledged = "acknowledged"
	AlertClosed       = "closed"
)

// Severities, also of cases: the P1 to P4 of incident handling.
const (
	SeverityCritical = 1
	SeverityHigh     = 2
	SeverityMedium   = 3
	SeverityLow      = 4
)

// Alert is a group of hits of one model version by one user on one machine to one
// class of destination.
type Alert struct {
	ID           string
	DedupKey     string
	State        string
	Severity     int // 1 critical .. 4 low; may rise, never falls by itself
	Model        string
	Version      string
	Kind         string
	Agent        string
	Host         string
	User         string
	DestClass    string
	Verdict      api.Word // of the worst hit
	Coverage     float64
	Path         string // of the newest hit
	Process      string
	FirstHit     string
	LastHit      string
	Hits         int64
	FirstSeen    time.Time
	LastSeen     time.Time
	Owner        string
	Resolution   string // of a closed alert: "true_positive", "false_positive", "authorised", "test"
	Note         string
	Acknowledged time.Time
	Closed       time.Time
	CaseID       string
}

// dedupKey joins what makes two hits one alert. The parts are quoted so that no
// file or host name can pretend to be another key.
func dedupKey(agent string, h *api.Hit) string {
	return fmt.Sprintf("%q %q %q %q %q", h.Verdict.Model, h.Verdict.ModelVersion, agent, h.User.Name, h.Destination.Class)
}

func (t *Tx) joinAlert(ctx context.Context, agent, hit, process string, h *api.Hit, severity int) (string, error) {
	now, key, v := micros(t.s.now()), dedupKey(agent, h), &h.Verdict
	if _, err := t.exec(ctx, "UPDATE alert SET open_key = NULL WHERE open_key = ? AND first_seen < ?", textKey(key), now-AlertWindow.Microseconds()); err != nil {
		return "", err
	}
	var id string
	var hits int
	err := t.queryRow(ctx, `INSERT INTO alert (id, open_key, dedup_key, state, severity, model, version, kind, agent, host, user_name, dest_class, verdict,
		coverage, path, process, first_hit, last_hit, hits, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
		ON CONFLICT (open_key) DO UPDATE SET hits = alert.hits + 1, last_seen = excluded.last_seen, last_hit = excluded.last_hit, path = excluded.path,
		process = excluded.process, verdict = CASE WHEN excluded.coverage > alert.coverage THEN excluded.verdict ELSE alert.verdict END,
		severity = CASE WHEN excluded.severity < alert.severity THEN excluded.severity ELSE alert.severity END,
		coverage = CASE WHEN excluded.coverage > alert.coverage THEN excluded.coverage ELSE alert.coverage END RETURNING id, hits`,
		NewID(), textKey(key), key, AlertOpen, severity, v.Model, v.ModelVersion, v.Kind, agent, h.Host.Name, h.User.Name, h.Destination.Class, string(v.Verdict),
		v.Coverage.Bytes, v.Path, process, hit, hit, now, now).Scan(&id, &hits)
	if err == nil && hits == 1 {
		err = t.enqueue(ctx, EventOpened, id)
	}
	return id, err
}

// AlertFilter selects alerts; empty fields select all.
type AlertFilter struct {
	Before   string // id: the page after that alert
	Limit    int
	State    string // "active": open or acknowledged
	Severity int
	Model    string
	Host     string
	User     string
	Owner    string
	Case     string
	Verdict  string
	Class    string // destination
	Text     string
	Since    time.Time // first seen
	Worst    bool      // by severity, then newest first; Before goes with After
	After    int       // severity of the alert Before
}

const alertColumns = `id, dedup_key, state, severity, model, version, kind, agent, host, user_name, dest_class, verdict, coverage, path, process,
	first_hit, last_hit, hits, first_seen, last_seen, owner, resolution, note, acknowledged, closed, case_id`

func (f AlertFilter) where() (string, []any) {
	where, args := []string{"1=1"}, []any{}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	for _, c := range []struct{ column, value string }{{"model", f.Model}, {"host", f.Host}, {"user_name", f.User}, {"owner", f.Owner}, {"case_id", f.Case},
		{"verdict", f.Verdict}, {"dest_class", f.Class}} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	switch f.State {
	case "":
	case "active":
		add("state <> 'closed'") // literals, as the partial indexes have them
	case AlertOpen:
		add("state = 'open'")
	default:
		add("state = ?", f.State)
	}
	if f.Severity != 0 {
		add("severity = ?", f.Severity)
	}
	if !f.Since.IsZero() {
		add("first_seen >= ?", micros(f.Since))
	}
	switch {
	case f.Before == "":
	case f.Worst:
		add("severity >= ? AND (severity > ? OR id < ?)", f.After, f.After, f.Before)
	default:
		add("id < ?", f.Before)
	}
	if f.Text != "" {
		like := "%" + escapeLike(strings.ToLower(f.Text)) + "%"
		add(`(LOWER(path) LIKE ? ESCAPE '\' OR LOWER(host) LIKE ? ESCAPE '\' OR LOWER(user_name) LIKE ? ESCAPE '\' OR LOWER(model) LIKE ? ESCAPE '\')`, like, like, like, like)
	}
	return strings.Join(where, " AND "), args
}

func scanAlert(row interface{ Scan(...any) error }) (Alert, error) {
	var a Alert
	var first, last, ack, closed int64
	err := row.Scan(&a.ID, &a.DedupKey, &a.State, &a.Severity, &a.Model, &a.Version, &a.Kind, &a.Agent, &a.Host, &a.User, &a.DestClass, &a.Verdict,
		&a.Coverage, &a.Path, &a.Process, &a.FirstHit, &a.LastHit, &a.Hits, &first, &last, &a.Owner, &a.Resolution, &a.Note, &ack, &closed, &a.CaseID)
	a.FirstSeen, a.LastSeen, a.Acknowledged, a.Closed = fromMicros(first), fromMicros(last), fromMicros(ack), fromMicros(closed)
	return a, err
}

// Alerts lists alerts, newest first unless the filter asks for the worst first.
func (s *Store) Alerts(ctx context.Context, f AlertFilter) ([]Alert, error) {
	where, args := f.where()
	order := "id DESC"
	if f.Worst {
		order = "severity, id DESC"
	}
	rows, err := s.query(ctx, "SELECT "+alertColumns+" FROM alert WHERE "+where+" ORDER BY "+order+" LIMIT ?", append(args, f.Limit)...)
	return collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
}

// EachAlert calls fn with every alert that a filter selects, newest first, in pages:
// a long export holds no transaction open.
func (s *Store) EachAlert(ctx context.Context, f AlertFilter, fn func(Alert) error) error {
	f.Limit = 1000
	for {
		list, err := s.Alerts(ctx, f)
		if err != nil {
			return err
		}
		for _, a := range list {
			if err := fn(a); err != nil {
				return err
			}
		}
		if len(list) < f.Limit {
			return nil
		}
		f.Before = list[len(list)-1].ID
	}
}

// Facts are what an alert tells of techniques.
func (a *Alert) Facts() techniques.Facts {
	return techniques.Facts{Verdict: a.Verdict, Kind: a.Kind, Destination: a.DestClass, Path: a.Path, Process: a.Process, Hits: a.Hits}
}

// CountAlerts returns how many alerts a filter selects, counting at most limit.
func (s *Store) CountAlerts(ctx context.Context, f AlertFilter, limit int) (int, error) {
	where, args := f.where()
	var n int
	err := s.queryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM alert WHERE "+where+" LIMIT ?) AS part", append(args, limit)...).Scan(&n)
	return n, err
}

// Alert returns one alert.
func (s *Store) Alert(ctx context.Context, id string) (Alert, error) {
	a, err := scanAlert(s.queryRow(ctx, "SELECT "+alertColumns+" FROM alert WHERE id = ?", id))
	return a, notFound(err, "alert", id)
}

// AlertCounts returns how many alerts that are not closed there are of each
// severity; index 0 is unused.
func (s *Store) AlertCounts(ctx context.Context) ([5]int, error) {
	var counts [5]int
	rows, err := s.query(ctx, "SELECT severity, COUNT(*) FROM alert WHERE state <> 'closed' GROUP BY severity")
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var severity, n int
		err := r.Scan(&severity, &n)
		if severity >= 1 && severity <= 4 {
			counts[severity] = n
		}
		return struct{}{}, err
	})
	return counts, err
}

// AlertChange is what a person does to an alert; nil fields stay as they are.
type AlertChange struct {
	State      *string
	Severity   *int
	Owner      *string
	Resolution *string
	Note       *string
	CaseID     *string
}

// ChangeAlert applies a change. Closing an alert lets the next hit open a new one.
func (s *Store) ChangeAlert(ctx context.Context, by Actor, id string, c AlertChange) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error { return tx.changeAlert(ctx, by, id, c) })
}

func (t *Tx) changeAlert(ctx context.Context, by Actor, id string, c AlertChange) error {
	a, err := scanAlert(t.queryRow(ctx, "SELECT "+alertColumns+" FROM alert WHERE id = ?", id))
	if err != nil {
		return notFound(err, "alert", id)
	}
	detail := map[string]any{}
	set(detail, "state", &a.State, c.State)
	set(detail, "severity", &a.Severity, c.Severity)
	set(detail, "owner", &a.Owner, c.Owner)
	set(detail, "resolution", &a.Resolution, c.Resolution)
	set(detail, "note", &a.Note, c.Note)
	set(detail, "case", &a.CaseID, c.CaseID)
	if a.State != AlertOpen && a.Acknowledged.IsZero() {
		a.Acknowledged = t.s.now()
	}
	if a.State == AlertClosed {
		a.Closed = t.s.now()
	} else {
		a.Closed = time.Time{}
	}
	q := "UPDATE alert SET state = ?, severity = ?, owner = ?, resolution = ?, note = ?, case_id = ?, acknowledged = ?, closed = ?"
	args := []any{a.State, a.Severity, a.Owner, a.Resolution, a.Note, a.CaseID, micros(a.Acknowledged), micros(a.Closed)}
	if a.State == AlertClosed {
		q += ", open_key = NULL"
	}
	if _, err := t.exec(ctx, q+" WHERE id = ?", append(args, id)...); err != nil {
		return err
	}
	if c.State != nil && a.State == AlertClosed {
		if err := t.enqueue(ctx, EventClosed, id); err != nil {
			return err
		}
	}
	return t.Audit(ctx, by, "alert.change", id, detail)
}

func set[T any](detail map[string]any, name string, field, value *T) {
	if value != nil {
		*field = *value
		detail[name] = *value
	}
}

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Target is a place that is told of alerts.
type Target struct {
	ID           string
	Name         string
	Kind         string // "webhook", "syslog"
	URL          string
	Format       string // "native", "ocsf", "ecs", "cef", "slack", "teams", "pagerduty"
	Secret       []byte // signs webhooks, or PagerDuty's routing key; kept readable, since it must be used
	AllowPrivate bool   // may lie in a private network
	Created      time.Time
	Failures     int // in a row
	PausedUntil  time.Time
	LastError    string
	Recipients   []string // whom it reaches ("CISO", "Legal"): it gets what is for them and nothing else
}

// Events that targets are told of.
const (
	EventOpened = "alert.opened"
	EventClosed = "alert.closed"
)

// Delivery is one message to one target. It stays until it is delivered.
type Delivery struct {
	ID         string
	Target     Target
	Event      string
	Alert      string
	Notice     *Notice     // of a case; nil for an alert
	Checkpoint *Checkpoint // of EventCheckpoint
	Created    time.Time
	Attempts   int
	Delivered  time.Time
	Error      string
}

// AddTarget stores a target.
func (s *Store) AddTarget(ctx context.Context, by Actor, t Target) (Target, error) {
	t.ID, t.Created = NewID(), s.now().UTC()
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO target (id, name, kind, url, format, secret, allow_private, created, recipients) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.ID, t.Name, t.Kind, t.URL, t.Format, t.Secret, boolInt(t.AllowPrivate), micros(t.Created), strings.Join(t.Recipients, ","))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "target.add", t.ID, map[string]any{"name": t.Name, "kind": t.Kind, "url": origin(t.URL), "format": t.Format, "allow_private": t.AllowPrivate, "recipients": t.Recipients})
	})
	return t, err
}

// origin is what the audit log keeps of an address: who has one of Slack's or Teams's
// may write there, and auditors and witnesses read the log.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// DeleteTarget removes a target with what waits for it.
func (s *Store) DeleteTarget(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.exec(ctx, "DELETE FROM outbox WHERE target = ?", id); err != nil {
			return err
		}
		n, err := tx.exec(ctx, "DELETE FROM target WHERE id = ?", id)
		if err == nil && n == 0 {
			err = fmt.Errorf("target %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "target.delete", id, nil)
	})
}

const targetColumns = "t.id, t.name, t.kind, t.url, t.format, t.secret, t.allow_private, t.created, t.failures, t.paused_until, t.last_error, t.recipients"

func scanTarget(row interface{ Scan(...any) error }, more ...any) (Target, error) {
	var t Target
	var private, created, paused int64
	var recipients string
	err := row.Scan(append([]any{&t.ID, &t.Name, &t.Kind, &t.URL, &t.Format, &t.Secret, &private, &created, &t.Failures, &paused, &t.LastError, &recipients}, more...)...)
	if recipients != "" {
		t.Recipients = strings.Split(recipients, ",")
	}
	t.AllowPrivate, t.Created, t.PausedUntil = private != 0, fromMicros(created), fromMicros(paused)
	return t, err
}

// Targets lists all targets with how many messages wait for each.
func (s *Store) Targets(ctx context.Context) ([]Target, map[string]int, error) {
	waiting := map[string]int{}
	rows, err := s.query(ctx, "SELECT "+targetColumns+", (SELECT COUNT(*) FROM outbox o WHERE o.target = t.id AND o.delivered = 0) FROM target t ORDER BY t.id")
	list, err := collect(rows, err, func(r *sql.Rows) (Target, error) {
		var n int
		t, err := scanTarget(r, &n)
		waiting[t.ID] = n
		return t, err
	})
	return list, waiting, err
}

// enqueue tells every target of an alert, in the transaction of its cause, but for
// those that only reach named people. An alert on the subject of a restricted case
// is told to no queue that his team may read: the case's timeline has it.
func (t *Tx) enqueue(ctx context.Context, event, alert string) error {
	var user string
	if err := t.queryRow(ctx, "SELECT user_name FROM alert WHERE id = ?", alert).Scan(&user); err != nil {
		return notFound(err, "alert", alert)
	}
	quiet, err := t.quietCase(ctx, user)
	if err != nil {
		return err
	}
	if quiet != "" {
		return t.tellQuietly(ctx, quiet, alert)
	}
	rows, err := t.query(ctx, "SELECT id FROM target WHERE recipients = ''")
	ids, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
	if err != nil {
		return err
	}
	now := micros(t.s.now())
	for _, id := range ids {
		if _, err := t.exec(ctx, "INSERT INTO outbox (id, target, event, alert, created, due) VALUES (?, ?, ?, ?, ?, ?)", NewID(), id, event, alert, now, now); err != nil {
			return err
		}
	}
	return nil
}

// ClaimDeliveries takes up to limit messages that are due and hides them from
// other servers for the time of the lease. Whoever dies with them only delays them.
func (s *Store) ClaimDeliveries(ctx context.Context, limit int, lease time.Duration) ([]Delivery, error) {
	var out []Delivery
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		now := s.now()
		q := "SELECT " + targetColumns + `, o.id, o.event, o.alert, o.created, o.attempts, o.notice FROM outbox o JOIN target t ON t.id = o.target
			WHERE o.delivered = 0 AND o.due <= ? AND t.paused_until <= ? ORDER BY o.due LIMIT ?`
		if s.postgres {
			q += " FOR UPDATE OF o SKIP LOCKED"
		}
		rows, err := tx.query(ctx, q, micros(now), micros(now), limit)
		out, err = collect(rows, err, func(r *sql.Rows) (Delivery, error) {
			var d Delivery
			var created int64
			var err error
			var notice []byte
			d.Target, err = scanTarget(r, &d.ID, &d.Event, &d.Alert, &created, &d.Attempts, &notice)
			d.Created = fromMicros(created)
			if err == nil && d.Event == EventCheckpoint {
				err = json.Unmarshal(notice, &d.Checkpoint)
			} else if err == nil && len(notice) > 0 {
				err = json.Unmarshal(notice, &d.Notice)
			}
			return d, err
		})
		for _, d := range out {
			if err != nil {
				break
			}
			_, err = tx.exec(ctx, "UPDATE outbox SET due = ? WHERE id = ?", micros(now.Add(lease)), d.ID)
		}
		return err
	})
	return out, err
}

// SettleDelivery records how a delivery went. After failures in a row the whole
// target pauses, twice as long each time up to an hour, so that one that is down
// costs little; nothing is given up.
func (s *Store) SettleDelivery(ctx context.Context, d Delivery, failure error) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		now := s.now()
		if failure == nil {
			if _, err := tx.exec(ctx, "UPDATE outbox SET delivered = ?, attempts = attempts + 1, error = '' WHERE id = ?", micros(now), d.ID); err != nil {
				return err
			}
			_, err := tx.exec(ctx, "UPDATE target SET failures = 0, paused_until = 0, last_error = '' WHERE id = ?", d.Target.ID)
			return err
		}
		text := cut(failure.Error(), 500)
		if _, err := tx.exec(ctx, "UPDATE outbox SET due = ?, attempts = attempts + 1, error = ? WHERE id = ?", micros(now.Add(retryAfter(d.Attempts))), text, d.ID); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "UPDATE target SET failures = failures + 1, paused_until = ?, last_error = ? WHERE id = ?",
			micros(now.Add(retryAfter(d.Target.Failures))), text, d.Target.ID)
		return err
	})
}

// retryAfter is 2 s, 4 s, ... up to an hour.
func retryAfter(failures int) time.Duration {
	return min(2*time.Second<<min(failures, 12), time.Hour)
}

// Deliveries lists the newest messages to a target.
func (s *Store) Deliveries(ctx context.Context, target string, limit int) ([]Delivery, error) {
	rows, err := s.query(ctx, "SELECT id, event, alert, created, attempts, delivered, error FROM outbox WHERE target = ? ORDER BY id DESC LIMIT ?", target, limit)
	return collect(rows, err, func(r *sql.Rows) (Delivery, error) {
		var d Delivery
		var created, delivered int64
		err := r.Scan(&d.ID, &d.Event, &d.Alert, &created, &d.Attempts, &delivered, &d.Error)
		d.Created, d.Delivered = fromMicros(created), fromMicros(delivered)
		return d, err
	})
}

// Replay sends what was delivered to a target since a time once more.
func (s *Store) Replay(ctx context.Context, by Actor, target string, since time.Time) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE outbox SET delivered = 0, due = ?, attempts = 0 WHERE target = ? AND delivered > 0 AND created >= ?", micros(s.now()), target, micros(since))
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE target SET failures = 0, paused_until = 0 WHERE id = ?", target); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "target.replay", target, map[string]any{"since": since, "messages": n})
	})
}

// OutboxState says how many messages wait and how old the oldest is.
func (s *Store) OutboxState(ctx context.Context) (waiting int64, oldest time.Duration, err error) {
	var since int64
	err = s.queryRow(ctx, "SELECT COUNT(*), COALESCE(MIN(created), 0) FROM outbox WHERE delivered = 0").Scan(&waiting, &since)
	if waiting > 0 {
		oldest = max(0, s.now().Sub(fromMicros(since)))
	}
	return waiting, oldest, err
}

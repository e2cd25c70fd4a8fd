package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Retention says for how many days each kind of record is kept after it was made
// or last changed; 0 keeps it for ever. The audit log is always kept, and so is
// what is held, what belongs to a case and what is not closed.
type Retention struct {
	Hits       int `json:"hits"`
	Alerts     int `json:"alerts"`     // closed ones
	Copies     int `json:"copies"`     // since they were last seen
	Deliveries int `json:"deliveries"` // delivered messages to targets
	Sweeps     int `json:"sweeps"`
}

const retentionKey = "retention"

// Retention returns the setting; everything is kept until somebody sets it.
func (s *Store) Retention(ctx context.Context) (Retention, error) {
	var r Retention
	b, err := s.Meta(ctx, retentionKey)
	if errors.Is(err, ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// SetRetention changes the setting.
func (s *Store) SetRetention(ctx context.Context, by Actor, r Retention) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", retentionKey, b)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "retention.set", "retention", map[string]any{"days": r})
	})
}

// What a hold can protect.
const (
	HoldHit   = "hit"
	HoldAlert = "alert"
	HoldModel = "model"
	HoldAgent = "agent"
	HoldUser  = "user"
	HoldCase  = "case"
)

// HoldKinds lists what a hold can protect.
func HoldKinds() []string {
	return []string{HoldHit, HoldAlert, HoldModel, HoldAgent, HoldUser, HoldCase}
}

// Hold is a legal hold: what it protects is not purged while it is in force.
type Hold struct {
	ID        string
	Kind      string
	Ref       string // id or name
	Reason    string
	Created   time.Time
	CreatedBy string
	Lifted    time.Time
	LiftedBy  string
}

// AddHold puts a hold in force.
func (s *Store) AddHold(ctx context.Context, by Actor, h Hold) (Hold, error) {
	if !slices.Contains(HoldKinds(), h.Kind) {
		return h, fmt.Errorf("hold on %.40q: %w", h.Kind, ErrNotFound)
	}
	h.ID, h.Created, h.CreatedBy = NewID(), s.now().UTC().Truncate(time.Microsecond), by.ID
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO hold (id, kind, ref, reason, created, created_by) VALUES (?, ?, ?, ?, ?, ?)", h.ID, h.Kind, h.Ref, h.Reason, micros(h.Created), h.CreatedBy)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "hold.add", h.ID, map[string]any{"kind": h.Kind, "ref": h.Ref, "reason": h.Reason})
	})
	return h, err
}

// LiftHold ends a hold. It takes somebody else than who put it in force.
func (s *Store) LiftHold(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		ok, err := tx.second(ctx, by, "SELECT created_by FROM hold WHERE id = ? AND lifted = 0", id)
		if err == nil && ok {
			_, err = tx.exec(ctx, "UPDATE hold SET lifted = ?, lifted_by = ? WHERE id = ? AND lifted = 0", micros(s.now()), by.ID, id)
		} else if err == nil {
			err = fmt.Errorf("hold %.100q is not in force, or was put in force by you and takes somebody else to lift: %w", id, ErrConflict)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "hold.lift", id, nil)
	})
}

// Holds lists every hold, newest first, lifted ones too.
func (s *Store) Holds(ctx context.Context) ([]Hold, error) {
	rows, err := s.query(ctx, "SELECT id, kind, ref, reason, created, created_by, lifted, lifted_by FROM hold ORDER BY id DESC")
	return collect(rows, err, func(r *sql.Rows) (Hold, error) {
		var h Hold
		var created, lifted int64
		err := r.Scan(&h.ID, &h.Kind, &h.Ref, &h.Reason, &created, &h.CreatedBy, &lifted, &h.LiftedBy)
		h.Created, h.Lifted = fromMicros(created), fromMicros(lifted)
		return h, err
	})
}

// purgeStep is one kind of record: which of them go, in SQL.
type purgeStep struct {
	name, table, key string
	days             int
	where            string
	cut              any
}

// notHeld is the condition that no hold in force protects a row; pairs are kinds
// and the columns with what they name.
func notHeld(pairs ...string) string {
	var or []string
	for i := 0; i < len(pairs); i += 2 {
		or = append(or, "x.kind = '"+pairs[i]+"' AND x.ref = "+pairs[i+1])
	}
	return "NOT EXISTS (SELECT 1 FROM hold x WHERE x.lifted = 0 AND (" + strings.Join(or, " OR ") + "))"
}

// inNoCase is the condition that an alert belongs to no case. The alerts of a restricted
// one do not name it.
func inNoCase(alert string) string {
	return "NOT EXISTS (SELECT 1 FROM case_alert y WHERE y.alert_id = " + alert + ")"
}

func (r Retention) steps(now time.Time) []purgeStep {
	before := func(days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
	return []purgeStep{
		// Hits have ids that sort by the time of their arrival.
		{"hits", "hit", "id", r.Hits, `id < ? AND hold = 0 AND NOT EXISTS (SELECT 1 FROM alert a WHERE a.id = hit.alert_id AND (a.state <> 'closed' OR a.case_id <> ''))
			AND ` + inNoCase("hit.alert_id") + " AND " + notHeld(HoldHit, "hit.id", HoldAlert, "hit.alert_id", HoldModel, "hit.model", HoldAgent, "hit.agent", HoldUser, "hit.user_name"), firstID(before(r.Hits))},
		{"alerts", "alert", "id", r.Alerts, `closed > 0 AND closed < ? AND state = 'closed' AND case_id = '' AND ` + inNoCase("alert.id") + " AND " +
			notHeld(HoldAlert, "alert.id", HoldModel, "alert.model", HoldAgent, "alert.agent", HoldUser, "alert.user_name", HoldCase, "alert.case_id") +
			` AND NOT EXISTS (SELECT 1 FROM hit h WHERE h.alert_id = alert.id) AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.alert = alert.id AND o.delivered = 0)`, micros(before(r.Alerts))},
		{"copies", "copy", "last_hit", r.Copies, "last_seen < ? AND " + notHeld(HoldModel, "copy.model", HoldAgent, "copy.agent", HoldUser, "copy.user_name", HoldHit, "copy.last_hit"), micros(before(r.Copies))},
		{"deliveries", "outbox", "id", r.Deliveries, "delivered > 0 AND delivered < ?", micros(before(r.Deliveries))},
		{"sweeps", "sweep", "id", r.Sweeps, "ends < ?", micros(before(r.Sweeps))},
	}
}

// firstID is the smallest id that is made at a time.
func firstID(t time.Time) string {
	var u uuid.UUID
	ms := t.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = 0x70
	return u.String()
}

// purgeBatch bounds the rows of one transaction, so that hits never wait long.
const purgeBatch = 500

// Purge deletes what is past its time at now, writes in the audit log how much of what,
// and returns the counts by kind. Several servers may run it at once.
func (s *Store) Purge(ctx context.Context, by Actor, now time.Time) (map[string]int64, error) {
	r, err := s.Retention(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, step := range r.steps(now) {
		for step.days > 0 {
			n, err := s.purgeSome(ctx, by, step)
			if err != nil {
				return counts, fmt.Errorf("purge %s: %w", step.name, err)
			}
			counts[step.name] += n
			if n < purgeBatch {
				break
			}
		}
	}
	if err := s.purgeDeliveries(ctx); err != nil {
		return counts, err
	}
	n, err := s.purgeBlobs(ctx)
	if n > 0 {
		counts["snapshot_parts"] = n
	}
	return counts, err
}

// Which epochs keep their blobs: agents ask for the newest only; the others are for deltas, for downloads under way
// and for looking back.
const (
	keptBlobs      = 20
	keptBlobsLarge = 2       // of these many the size does not matter
	keptBlobBytes  = 4 << 30 // of all that are kept
)

func (s *Store) purgeBlobs(ctx context.Context) (n int64, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var err error
		// Deltas lead to the newest epoch; those of the one before may be under way.
		if _, err = tx.exec(ctx, "DELETE FROM snapshot_delta WHERE epoch < (SELECT MAX(epoch) - 1 FROM snapshot)"); err != nil {
			return err
		}
		n, err = tx.exec(ctx, `DELETE FROM blob_part WHERE digest NOT IN (SELECT digest FROM
				(SELECT digest, SUM(bytes) OVER (ORDER BY epoch DESC) AS total, ROW_NUMBER() OVER (ORDER BY epoch DESC) AS age FROM snapshot) AS epochs
				WHERE age <= ? AND (age <= ? OR total <= ?))
			AND digest NOT IN (SELECT digest FROM snapshot_delta)`, keptBlobs, keptBlobsLarge, int64(keptBlobBytes))
		return err
	})
	return n, err
}

func (s *Store) purgeSome(ctx context.Context, by Actor, step purgeStep) (n int64, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		q := fmt.Sprintf("DELETE FROM %s WHERE %s IN (SELECT %s FROM %s WHERE %s LIMIT %d)", step.table, step.key, step.key, step.table, step.where, purgeBatch)
		var err error
		if n, err = tx.exec(ctx, q, step.cut); err != nil || n == 0 {
			return err
		}
		return tx.Audit(ctx, by, "retention.purge", step.name, map[string]any{"deleted": n, "days": step.days})
	})
	return n, err
}

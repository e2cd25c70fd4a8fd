package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DayCount is how many alerts of each severity began on a day (UTC); index 0 is
// unused.
type DayCount struct {
	Day    time.Time
	Counts [5]int
}

// AlertTrend counts alerts by the day that they began on, from the day of since on.
// Days without any are there.
func (s *Store) AlertTrend(ctx context.Context, since time.Time) ([]DayCount, error) {
	const day = 24 * time.Hour
	first := since.UTC().Truncate(day)
	var out []DayCount
	for t := first; !t.After(s.now()); t = t.Add(day) {
		out = append(out, DayCount{Day: t})
	}
	rows, err := s.query(ctx, "SELECT (first_seen - ?) / ?, severity, COUNT(*) FROM alert WHERE first_seen >= ? GROUP BY 1, 2", micros(first), day.Microseconds(), micros(first))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var at, severity, n int
		err := r.Scan(&at, &severity, &n)
		if at >= 0 && at < len(out) && severity >= 1 && severity <= 4 {
			out[at].Counts[severity] = n
		}
		return struct{}{}, err
	})
	return out, err
}

// NameCount is how often a name occurs.
type NameCount struct {
	Name  string
	Count int
}

// TopActive counts alerts that are not closed by one of their columns, most first:
// "model", "dest_class" or "host".
func (s *Store) TopActive(ctx context.Context, column string, limit int) ([]NameCount, error) {
	switch column {
	case "model", "dest_class", "host":
	default:
		return nil, fmt.Errorf("alerts are not counted by %.40q", column)
	}
	return s.counts(ctx, "SELECT "+column+", COUNT(*) FROM alert WHERE state <> 'closed' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?", limit)
}

func (s *Store) counts(ctx context.Context, q string, args ...any) ([]NameCount, error) {
	rows, err := s.query(ctx, q, args...)
	return collect(rows, err, func(r *sql.Rows) (NameCount, error) {
		var n NameCount
		return n, r.Scan(&n.Name, &n.Count)
	})
}

// Late counts open alerts of each severity that began before a time of their own, of
// each at most limit.
func (s *Store) Late(ctx context.Context, before [5]time.Time, limit int) ([5]int, error) {
	var out [5]int
	for severity := 1; severity <= 4; severity++ {
		err := s.queryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM alert WHERE state = 'open' AND severity = ? AND first_seen < ? LIMIT ?) AS part`,
			severity, micros(before[severity]), limit).Scan(&out[severity])
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// Waiting lists open alerts: of each severity, worst first, those that wait longest.
func (s *Store) Waiting(ctx context.Context, limit int) ([]Alert, error) {
	rows, err := s.query(ctx, "SELECT "+alertColumns+" FROM alert WHERE state = 'open' ORDER BY severity, first_seen LIMIT ?", limit)
	return collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
}

// SnapshotCount is how many active agents hold a snapshot of the registry.
type SnapshotCount struct {
	Epoch  int64
	Agents int
}

// SnapshotSpread counts active agents by the snapshot that they hold, newest first.
func (s *Store) SnapshotSpread(ctx context.Context) ([]SnapshotCount, error) {
	rows, err := s.query(ctx, "SELECT snapshot, COUNT(*) FROM agent WHERE state = 'active' GROUP BY 1 ORDER BY 1 DESC LIMIT 50")
	return collect(rows, err, func(r *sql.Rows) (SnapshotCount, error) {
		var n SnapshotCount
		return n, r.Scan(&n.Epoch, &n.Agents)
	})
}

// Sight says of how many active agents something keeps copies from being noticed.
// An agent counts under the first reason that holds.
type Sight struct {
	Full    int // heard, no open gap, no fault, newest snapshot
	Silent  int
	Gaps    int // open ones
	Faults  int // health conditions
	Behind  int // an older snapshot
	Agents  int // active ones
	Waiting int64
}

// Sight sums up what of the fleet can be seen.
func (s *Store) Sight(ctx context.Context, epoch int64) (Sight, error) {
	var out Sight
	rows, err := s.query(ctx, `SELECT CASE WHEN seen < ? THEN 1 WHEN gaps > 0 THEN 2 WHEN problems > 0 THEN 3 WHEN snapshot < ? THEN 4 ELSE 0 END, COUNT(*), SUM(pending)
		FROM agent WHERE state = 'active' GROUP BY 1`, micros(s.now().Add(-SilentAfter)), epoch)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var reason, n int
		var waiting int64
		err := r.Scan(&reason, &n, &waiting)
		*[]*int{&out.Full, &out.Silent, &out.Gaps, &out.Faults, &out.Behind}[reason] += n
		out.Agents += n
		out.Waiting += waiting
		return struct{}{}, err
	})
	return out, err
}

// ChangeAlerts applies one change to several alerts in one transaction and says how
// many there were. Ids that are not there are left out.
func (s *Store) ChangeAlerts(ctx context.Context, by Actor, ids []string, c AlertChange) (changed int, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		changed = 0
		for _, id := range ids {
			err := tx.changeAlert(ctx, by, id, c)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			changed++
		}
		return nil
	})
	return changed, err
}

// View is a filter of a page that a person keeps under a name.
type View struct {
	ID, Page, Name, Query string
}

// maxViews bounds what one person keeps for one page.
const maxViews = 40

// SaveView keeps a view; one of the same name is replaced.
func (s *Store) SaveView(ctx context.Context, subject string, v View) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var n int
		if err := tx.queryRow(ctx, "SELECT COUNT(*) FROM saved_view WHERE subject = ? AND page = ?", subject, v.Page).Scan(&n); err != nil {
			return err
		}
		if n >= maxViews {
			return fmt.Errorf("%d views of this page are kept already: %w", n, ErrConflict)
		}
		_, err := tx.exec(ctx, `INSERT INTO saved_view (id, subject, page, name, query, created) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (subject, page, name) DO UPDATE SET query = excluded.query`, NewID(), subject, v.Page, v.Name, v.Query, micros(s.now()))
		return err
	})
}

// Views lists a person's views of a page by name.
func (s *Store) Views(ctx context.Context, subject, page string) ([]View, error) {
	rows, err := s.query(ctx, "SELECT id, page, name, query FROM saved_view WHERE subject = ? AND page = ? ORDER BY name", subject, page)
	return collect(rows, err, func(r *sql.Rows) (View, error) {
		var v View
		return v, r.Scan(&v.ID, &v.Page, &v.Name, &v.Query)
	})
}

// DeleteView forgets a person's view.
func (s *Store) DeleteView(ctx context.Context, subject, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM saved_view WHERE subject = ? AND id = ?", subject, id)
		return err
	})
}

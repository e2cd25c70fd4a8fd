package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weightwarden/server/cases"
)

// TickCases does what time asks of cases: it notes the marks of clocks that came
// by now, tells whom they concern, and lets cases learn of hits that joined their
// alerts. Everything it needs is stored, so that it may run on any server, after
// any pause, and twice: each mark is noted once.
//
// now may be later than the wall clock, see cases.Steady.
func (s *Store) TickCases(ctx context.Context, pb *cases.Playbook, now time.Time) (marked int, err error) {
	ids, err := s.casesDue(ctx, now)
	for _, id := range ids {
		if err != nil {
			break
		}
		var n int
		err = s.Write(ctx, func(ctx context.Context, tx *Tx) (err error) {
			n, err = tx.tickCase(ctx, pb, id, now)
			return err
		})
		marked += n
	}
	return marked, err
}

// tickBatch bounds the work of one tick; the rest waits for the next, a second later.
const tickBatch = 500

func (s *Store) casesDue(ctx context.Context, now time.Time) ([]string, error) {
	rows, err := s.query(ctx, `SELECT DISTINCT case_id FROM case_clock WHERE next_mark > 0 AND next_mark <= ?
		UNION SELECT DISTINCT x.case_id FROM alert a JOIN case_alert x ON x.alert_id = a.id JOIN case_file c ON c.id = x.case_id
		WHERE a.last_seen > ? AND a.hits > x.hits AND c.closed = 0 LIMIT ?`, micros(now), micros(now.Add(-learnBack)), tickBatch)
	return collect(rows, err, func(r *sql.Rows) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
}

// learnBack is how old a hit may be that a case has not heard of: longer than any
// stop of a server, short enough for the index.
const learnBack = 7 * 24 * time.Hour

func (t *Tx) tickCase(ctx context.Context, pb *cases.Playbook, id string, now time.Time) (int, error) {
	by := ServerActor()
	by.Name = "weightwarden"
	w, err := t.loadWork(ctx, by, pb, id)
	if errors.Is(err, ErrNotFound) {
		return 0, nil // deleted since
	}
	if err != nil {
		return 0, err
	}
	w.Now = now.UTC()
	before := copyWork(w)
	marked := 0
	for i := range w.Clocks {
		c := &w.Clocks[i]
		m, ok := w.MarkClock(c)
		if !ok {
			continue
		}
		marked++
		if err := t.tellMark(ctx, w.Case, c, m); err != nil {
			return 0, err
		}
	}
	if err := t.learnNew(ctx, w); err != nil {
		return 0, err
	}
	if len(w.Events) == 0 && marked == 0 {
		return 0, nil
	}
	if err := t.saveWork(ctx, w, before); err != nil {
		return 0, err
	}
	if marked == 0 {
		return 0, nil
	}
	return marked, t.Audit(ctx, by, "case.clock", id, caseDetail(w.Case, map[string]any{"marks": marked}))
}

// tellMark warns the roles of a clock when half its time is used, at 80 %, and when
// it ran out.
func (t *Tx) tellMark(ctx context.Context, c *cases.Case, k *cases.Clock, m cases.Mark) error {
	event, text := EventWarning, fmt.Sprintf("%s: %d %% of the time used: %s", c.Ref(), m.Percent, k.Title)
	if m.Percent == 100 {
		event, text = EventBreach, fmt.Sprintf("%s: time ran out: %s", c.Ref(), k.Title)
	}
	for _, role := range k.Roles {
		if _, err := t.tellDue(ctx, role, event, c, text, k.Due); err != nil {
			return err
		}
	}
	return nil
}

// learnNew takes in hits that joined the case's alerts since it last looked.
func (t *Tx) learnNew(ctx context.Context, w *cases.Work) error {
	var fresh int64
	err := t.queryRow(ctx, "SELECT COALESCE(SUM(a.hits - x.hits), 0) FROM alert a JOIN case_alert x ON x.alert_id = a.id WHERE x.case_id = ?", w.Case.ID).Scan(&fresh)
	if err != nil || fresh <= 0 || !w.Case.Open() {
		return err
	}
	_, err = t.exec(ctx, "UPDATE case_alert SET hits = (SELECT a.hits FROM alert a WHERE a.id = case_alert.alert_id) WHERE case_id = ?", w.Case.ID)
	if err != nil {
		return err
	}
	if err := w.Remark(fmt.Sprintf("%d more hit(s) on the case's alerts", fresh), time.Time{}); err != nil {
		return err
	}
	return t.learn(ctx, w)
}

// SLA counts clocks that ended.
type SLA struct {
	Metric string
	Kept   int
	Missed int
}

// CaseFigures are what the KPIs of a time are made of; restricted cases count, but
// nothing names them.
type CaseFigures struct {
	Cases []cases.Times // opened in the time
	SLA   []SLA
	Alert map[string]int // closed alerts by resolution
}

// CaseFigures reads the figures of the time since from.
func (s *Store) CaseFigures(ctx context.Context, from time.Time) (CaseFigures, error) {
	f := CaseFigures{Alert: map[string]int{}}
	rows, err := s.query(ctx, "SELECT severity, occurred, detected, opened, acknowledged, contained, closed FROM case_file WHERE opened >= ?", micros(from))
	if f.Cases, err = collect(rows, err, scanTimes); err != nil {
		return f, err
	}
	rows, err = s.query(ctx, `SELECT metric, COALESCE(SUM(CASE WHEN stopped > 0 AND (stopped <= due OR paused > 0) THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN breached > 0 OR (stopped > due AND paused = 0) THEN 1 ELSE 0 END), 0) FROM case_clock WHERE started >= ? GROUP BY metric ORDER BY metric`, micros(from))
	if f.SLA, err = collect(rows, err, func(r *sql.Rows) (SLA, error) {
		var x SLA
		err := r.Scan(&x.Metric, &x.Kept, &x.Missed)
		return x, err
	}); err != nil {
		return f, err
	}
	rows, err = s.query(ctx, "SELECT resolution, COUNT(*) FROM alert WHERE state = 'closed' AND closed >= ? GROUP BY resolution", micros(from))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var resolution string
		var n int
		err := r.Scan(&resolution, &n)
		f.Alert[resolution] = n
		return struct{}{}, err
	})
	return f, err
}

func scanTimes(r *sql.Rows) (cases.Times, error) {
	var t cases.Times
	var occurred, detected, opened, acknowledged, contained, closed int64
	err := r.Scan(&t.Severity, &occurred, &detected, &opened, &acknowledged, &contained, &closed)
	t.Occurred, t.Detected, t.Opened = fromMicros(occurred), fromMicros(detected), fromMicros(opened)
	t.Acknowledged, t.Contained, t.Closed = fromMicros(acknowledged), fromMicros(contained), fromMicros(closed)
	return t, err
}

package store

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/cases"
)

// Limits of what a case takes in.
const (
	learnedHits = 500
	shownEvents = 2000
	shownCopies = 40 // of each model; the inventory has them all
)

// NewCase is what somebody opens a case with.
type NewCase struct {
	Title      string
	Severity   int // 0: that of the worst alert
	Vector     string
	TLP        string
	Restricted bool
	Subject    string
	Members    []cases.Member // beside who opens it; of a restricted case
	Alerts     []string
	Signal     *Signal
}

// CaseFile is a case with all that belongs to it.
type CaseFile struct {
	cases.Case
	Tasks       []cases.TaskItem
	Clocks      []cases.Clock
	Notices     []cases.Notice
	Events      []cases.Event
	Observables []cases.Observable
	Custody     []cases.Custody
	Members     []cases.Member
	Approvals   []cases.Approval
	Alerts      []Alert
	Signals     []Signal
	Copies      []Copy
	State       cases.State
	Seen        cases.Seen
}

// OpenCase opens a case and joins its alerts.
func (s *Store) OpenCase(ctx context.Context, by Actor, pb *cases.Playbook, n NewCase) (string, error) {
	id := NewID()
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error { return tx.openCase(ctx, by, pb, id, n) })
	return id, err
}

func (t *Tx) openCase(ctx context.Context, by Actor, pb *cases.Playbook, id string, n NewCase) error {
	if err := t.lockCases(ctx); err != nil {
		return err
	}
	c := &cases.Case{ID: id, Title: n.Title, Playbook: pb.ID, PlaybookVersion: pb.Version, Phase: pb.Phases[0].ID, Severity: n.Severity, Vector: n.Vector, TLP: n.TLP,
		Restricted: n.Restricted, Subject: n.Subject, Actor: cases.ActorUnknown, OpenedBy: by.Name, Opened: t.s.now().UTC(), Facts: cases.Facts{}}
	if err := t.queryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM case_file").Scan(&c.Number); err != nil {
		return err
	}
	if c.Severity == 0 {
		if err := t.worstSeverity(ctx, c, n.Alerts); err != nil {
			return err
		}
	}
	for _, m := range append([]cases.Member{{Actor: by.ID, Name: by.Name}}, n.Members...) {
		if err := t.addMember(ctx, by, c, m); err != nil {
			return err
		}
	}
	for _, a := range n.Alerts {
		if err := t.linkAlert(ctx, c, a); err != nil {
			return err
		}
	}
	if n.Signal != nil {
		if err := t.putSignal(ctx, id, n.Signal); err != nil {
			return err
		}
	}
	w := &cases.Work{Playbook: pb, Case: c, Now: c.Opened, By: by.Name, ByID: by.ID}
	w.Begin()
	if err := t.learn(ctx, w); err != nil {
		return err
	}
	if err := t.saveWork(ctx, w, &cases.Work{Case: &cases.Case{}}); err != nil {
		return err
	}
	if err := t.subjectIsOutside(ctx, c); err != nil {
		return err
	}
	return t.Audit(ctx, by, "case.open", id, caseDetail(c, map[string]any{"alerts": n.Alerts}))
}

// lockCases gives case numbers out one at a time over all servers.
func (t *Tx) lockCases(ctx context.Context) error {
	if !t.s.postgres {
		return nil
	}
	_, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(7305002)")
	return err
}

func (t *Tx) worstSeverity(ctx context.Context, c *cases.Case, alerts []string) error {
	c.Severity = SeverityLow
	for _, id := range alerts {
		var n int
		if err := t.queryRow(ctx, "SELECT severity FROM alert WHERE id = ?", id).Scan(&n); err != nil {
			return notFound(err, "alert", id)
		}
		c.Severity = min(c.Severity, n)
	}
	return nil
}

// caseDetail is what the audit log keeps of a case. Of a restricted one it names
// neither title nor subject: auditors are not its members.
func caseDetail(c *cases.Case, more map[string]any) map[string]any {
	out := map[string]any{"case": c.Ref()}
	if c.Restricted {
		out["restricted"] = true
		return out
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// linkAlert joins an alert to a case. An alert of a restricted case does not name
// it, so that nobody learns of the case from the queue.
func (t *Tx) linkAlert(ctx context.Context, c *cases.Case, alert string) error {
	a, err := scanAlert(t.queryRow(ctx, "SELECT "+alertColumns+" FROM alert WHERE id = ?", alert))
	if err != nil {
		return notFound(err, "alert", alert)
	}
	_, err = t.exec(ctx, "INSERT INTO case_alert (case_id, alert_id, added, hits) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", c.ID, alert, micros(t.s.now()), a.Hits)
	if err != nil || c.Restricted {
		return err
	}
	_, err = t.exec(ctx, `UPDATE alert SET case_id = ?, state = CASE WHEN state = 'open' THEN 'acknowledged' ELSE state END,
		acknowledged = CASE WHEN acknowledged = 0 THEN ? ELSE acknowledged END WHERE id = ?`, c.ID, micros(t.s.now()), alert)
	return err
}

// learn takes in what the hits of the case's alerts show.
func (t *Tx) learn(ctx context.Context, w *cases.Work) error {
	hits, err := caseHits(ctx, t, w.Case.ID, learnedHits)
	if err != nil || len(hits) == 0 {
		return err
	}
	known, err := modelsOf(ctx, t, hits)
	if err != nil {
		return err
	}
	w.Learn(cases.Look(hits, known))
	for _, o := range cases.Observables(hits) {
		if err := t.putObservable(ctx, w.Case.ID, &o); err != nil {
			return err
		}
	}
	return nil
}

// modelsOf reads what the registry says of the models in hits.
func modelsOf(ctx context.Context, q querier, hits []cases.Hit) (map[string]api.Model, error) {
	out := map[string]api.Model{}
	for _, h := range hits {
		name := h.Body.Verdict.Model
		if _, ok := out[name]; ok || name == "" {
			continue
		}
		var m api.Model
		var regulated int64
		err := q.queryRow(ctx, "SELECT name, kind, owner, tier, regulated, note FROM model WHERE name = ?", name).Scan(&m.Name, &m.Kind, &m.Owner, &m.Tier, &regulated, &m.Note)
		if err != nil && err != sql.ErrNoRows { // Scan returns it as it is
			return nil, err
		}
		m.Regulated = regulated != 0
		out[name] = m
	}
	return out, nil
}

// saveWork stores what differs from before.
func (t *Tx) saveWork(ctx context.Context, w, before *cases.Work) error {
	w.Case.Updated = w.Now.UTC()
	w.Case.Revision = before.Case.Revision + 1
	if err := t.putCase(ctx, w.Case); err != nil {
		return err
	}
	for i := range w.Tasks {
		if w.Tasks[i].ID == "" {
			w.Tasks[i].ID = NewID()
		} else if i < len(before.Tasks) && reflect.DeepEqual(w.Tasks[i], before.Tasks[i]) {
			continue
		}
		if err := t.putTask(ctx, &w.Tasks[i]); err != nil {
			return err
		}
	}
	for i := range w.Clocks {
		if w.Clocks[i].ID == "" {
			w.Clocks[i].ID = NewID()
		} else if i < len(before.Clocks) && reflect.DeepEqual(w.Clocks[i], before.Clocks[i]) {
			continue
		}
		if err := t.putClock(ctx, &w.Clocks[i]); err != nil {
			return err
		}
	}
	if err := t.saveNotices(ctx, w, before); err != nil {
		return err
	}
	for i := range w.Events {
		if err := t.addEvent(ctx, &w.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) saveNotices(ctx context.Context, w, before *cases.Work) error {
	for i := range w.Notices {
		n := &w.Notices[i]
		if n.ID != "" {
			if reflect.DeepEqual(*n, before.Notices[i]) {
				continue
			}
		} else {
			n.ID = NewID()
			sent, err := t.tell(ctx, n.Recipient, EventNotice, w.Case, n.Text)
			if err != nil {
				return err
			}
			n.Targets = sent
		}
		if err := t.putNotice(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// sees is the condition for cases that an actor may know of.
const sees = "(c.restricted = 0 OR EXISTS (SELECT 1 FROM case_member m WHERE m.case_id = c.id AND m.actor = ?))"

// loadWork reads a case for a change by somebody who may know of it.
func (t *Tx) loadWork(ctx context.Context, by Actor, pb *cases.Playbook, id string) (*cases.Work, error) {
	q := "SELECT " + caseColumns + " FROM case_file c WHERE c.id = ? AND " + sees
	if by.Kind == "server" {
		q = "SELECT " + caseColumns + " FROM case_file c WHERE c.id = ? AND ? <> ''"
	}
	if t.s.postgres {
		q += " FOR UPDATE OF c"
	}
	c, err := scanCase(t.queryRow(ctx, q, id, by.ID))
	if err != nil {
		return nil, notFound(err, "case", id)
	}
	w := &cases.Work{Playbook: pb, Case: &c, Now: t.s.now().UTC(), By: by.Name, ByID: by.ID}
	if w.By == "" {
		w.By = by.ID
	}
	if w.Tasks, err = caseTasks(ctx, t, id); err != nil {
		return nil, err
	}
	if w.Clocks, err = caseClocks(ctx, t, id); err != nil {
		return nil, err
	}
	w.Notices, err = caseNotices(ctx, t, id)
	return w, err
}

func copyWork(w *cases.Work) *cases.Work {
	c := *w.Case
	return &cases.Work{Case: &c, Tasks: slices.Clone(w.Tasks), Clocks: slices.Clone(w.Clocks), Notices: slices.Clone(w.Notices)}
}

// CaseChange is one change of a case.
type CaseChange struct {
	Case     string
	Revision int64  // the revision that was seen; 0: whatever it is
	Action   string // for the audit log: "case.fact", ...
	Detail   map[string]any
	Do       func(w *cases.Work, s *cases.State) error
}

// ChangeCase applies a change by the playbook's rules, in one transaction with the
// timeline, what follows from it, and the audit entry. It fails with ErrConflict
// if somebody else changed the case since the revision named.
func (s *Store) ChangeCase(ctx context.Context, by Actor, pb *cases.Playbook, ch CaseChange) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		w, err := tx.loadWork(ctx, by, pb, ch.Case)
		if err != nil {
			return err
		}
		if ch.Revision != 0 && ch.Revision != w.Case.Revision {
			return fmt.Errorf("%s was changed meanwhile (revision %d, you saw %d): %w", w.Case.Ref(), w.Case.Revision, ch.Revision, ErrConflict)
		}
		before := copyWork(w)
		state, err := caseState(ctx, tx, w)
		if err != nil {
			return err
		}
		if err := ch.Do(w, state); err != nil {
			return err
		}
		if err := tx.saveWork(ctx, w, before); err != nil {
			return err
		}
		if err := tx.afterChange(ctx, by, w, before); err != nil {
			return err
		}
		return tx.Audit(ctx, by, ch.Action, ch.Case, caseDetail(w.Case, ch.Detail))
	})
}

// afterChange keeps the alerts in step: a case that closes closes them, one that
// becomes restricted is named by none.
func (t *Tx) afterChange(ctx context.Context, by Actor, w, before *cases.Work) error {
	c := w.Case
	if c.Subject != before.Case.Subject || c.Restricted != before.Case.Restricted {
		if err := t.subjectIsOutside(ctx, c); err != nil {
			return err
		}
	}
	if c.Restricted && !before.Case.Restricted {
		if _, err := t.exec(ctx, "UPDATE alert SET case_id = '' WHERE case_id = ?", c.ID); err != nil {
			return err
		}
		return t.addMember(ctx, by, c, cases.Member{Actor: by.ID, Name: by.Name})
	}
	if c.Open() || !before.Case.Open() {
		return nil
	}
	note := "closed with " + c.Ref()
	if c.Restricted {
		note = "closed"
	}
	_, err := t.exec(ctx, `UPDATE alert SET state = 'closed', resolution = ?, note = CASE WHEN note = '' THEN ? ELSE note END, closed = ?, open_key = NULL
		WHERE state <> 'closed' AND id IN (SELECT alert_id FROM case_alert WHERE case_id = ?)`, c.Resolution, note, micros(w.Now), c.ID)
	return err
}

func caseState(ctx context.Context, q querier, w *cases.Work) (*cases.State, error) {
	s := &cases.State{Case: w.Case, Tasks: w.Tasks, Clocks: w.Clocks}
	err := q.queryRow(ctx, "SELECT (SELECT COUNT(*) FROM case_alert WHERE case_id = ?), (SELECT COUNT(*) FROM case_signal WHERE case_id = ?)", w.Case.ID, w.Case.ID).
		Scan(&s.Alerts, &s.Signals)
	if err != nil {
		return nil, err
	}
	approvals, err := caseApprovals(ctx, q, w.Case.ID)
	if err != nil {
		return nil, err
	}
	var begun sql.NullInt64 // when the case was opened, or opened again: what was agreed before is settled
	if err := q.queryRow(ctx, "SELECT MAX(noted) FROM case_event WHERE case_id = ? AND kind = 'opened'", w.Case.ID).Scan(&begun); err != nil {
		return nil, err
	}
	for _, a := range approvals {
		if a.Approved && !a.Decided.Before(fromMicros(begun.Int64)) {
			s.Agreed = append(s.Agreed, a.Action)
		}
	}
	for _, m := range w.Case.Models {
		var n int64
		if err := q.queryRow(ctx, "SELECT COUNT(*) FROM copy WHERE model = ? AND authorised = '' AND gone = 0", m).Scan(&n); err != nil {
			return nil, err
		}
		s.Copies += n
	}
	rows, err := q.query(ctx, "SELECT "+sweepColumns+" FROM sweep s WHERE s.created >= ? ORDER BY s.id DESC LIMIT 100", micros(w.Case.Opened))
	sweeps, err := collect(rows, err, func(r *sql.Rows) (Sweep, error) { return scanSweep(r) })
	for _, x := range sweeps {
		if x.Model == "" || slices.Contains(w.Case.Models, x.Model) {
			s.Sweeps = append(s.Sweeps, cases.SweepState{ID: x.ID, Model: x.Model, Agents: x.Agents, Done: x.Done, Ended: w.Now.After(x.Ends)})
		}
	}
	return s, err
}

// CaseFilter selects cases; empty fields select all.
type CaseFilter struct {
	State    string // "open" or "closed"
	Severity int
	Phase    string
	Owner    string
	Text     string // within title, subject or a model's name, or a reference ("WW-12")
	Before   int64  // number: the page after that case
	Limit    int
}

// CaseRow is a line of the list of cases.
type CaseRow struct {
	cases.Case
	NextDue time.Time // of the clocks that run; zero: none
	Since   time.Time // when that clock began
	Late    int       // clocks that ran out
	ToDo    int       // tasks
	Tasks   int
}

// Cases lists what an actor may know of, newest first.
func (s *Store) Cases(ctx context.Context, by Actor, f CaseFilter) ([]CaseRow, error) {
	where, args := caseWhere(by, f)
	rows, err := s.query(ctx, "SELECT "+caseColumns+`,
		COALESCE((SELECT MIN(k.due) FROM case_clock k WHERE k.case_id = c.id AND k.stopped = 0 AND k.paused = 0), 0),
		COALESCE((SELECT MIN(k.started) FROM case_clock k WHERE k.case_id = c.id AND k.stopped = 0 AND k.paused = 0 AND
			k.due = (SELECT MIN(j.due) FROM case_clock j WHERE j.case_id = c.id AND j.stopped = 0 AND j.paused = 0)), 0),
		(SELECT COUNT(*) FROM case_clock k WHERE k.case_id = c.id AND k.breached > 0),
		(SELECT COUNT(*) FROM case_task k WHERE k.case_id = c.id AND k.state = 'open'), (SELECT COUNT(*) FROM case_task k WHERE k.case_id = c.id)
		FROM (SELECT * FROM case_file c WHERE `+where+" ORDER BY c.number DESC LIMIT ?) c ORDER BY c.number DESC", append(args, f.Limit)...)
	return collect(rows, err, func(r *sql.Rows) (CaseRow, error) {
		var row CaseRow
		var due, since int64
		var err error
		row.Case, err = scanCase(r, &due, &since, &row.Late, &row.ToDo, &row.Tasks)
		row.NextDue, row.Since = fromMicros(due), fromMicros(since)
		return row, err
	})
}

func caseWhere(by Actor, f CaseFilter) (string, []any) {
	where, args := []string{sees}, []any{by.ID}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	switch f.State {
	case "open":
		add("c.closed = 0")
	case "closed":
		add("c.closed > 0")
	}
	if f.Severity != 0 {
		add("c.severity = ?", f.Severity)
	}
	if f.Phase != "" {
		add("c.phase = ?", f.Phase)
	}
	if f.Owner != "" {
		add("(c.owner = ? OR c.owner_name = ?)", f.Owner, f.Owner)
	}
	if f.Before > 0 {
		add("c.number < ?", f.Before)
	}
	if f.Text != "" {
		like := "%" + escapeLike(strings.ToLower(f.Text)) + "%"
		add(`(c.number = ? OR LOWER(c.title) LIKE ? ESCAPE '\' OR LOWER(c.subject) LIKE ? ESCAPE '\' OR LOWER(c.models) LIKE ? ESCAPE '\')`, cases.Number(f.Text), like, like, like)
	}
	return strings.Join(where, " AND "), args
}

// CaseCounts says how many open cases of each severity an actor may know of, and
// how many of them have a clock that ran out; index 0 is unused.
func (s *Store) CaseCounts(ctx context.Context, by Actor) (open, late [5]int, err error) {
	rows, err := s.query(ctx, `SELECT c.severity, COUNT(*), COALESCE(SUM(CASE WHEN EXISTS (SELECT 1 FROM case_clock k WHERE k.case_id = c.id AND k.breached > 0 AND k.stopped = 0)
		THEN 1 ELSE 0 END), 0) FROM case_file c WHERE c.closed = 0 AND `+sees+" GROUP BY c.severity", by.ID)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var severity, n, l int
		err := r.Scan(&severity, &n, &l)
		if severity >= 1 && severity <= 4 {
			open[severity], late[severity] = n, l
		}
		return struct{}{}, err
	})
	return open, late, err
}

// CaseID finds a case by its id or its number for people ("WW-12").
func (s *Store) CaseID(ctx context.Context, by Actor, ref string) (string, error) {
	text, ok := strings.CutPrefix(strings.ToUpper(ref), "WW-")
	if !ok {
		return ref, nil
	}
	var id string
	err := s.queryRow(ctx, "SELECT c.id FROM case_file c WHERE CAST(c.number AS TEXT) = ? AND "+sees, text, by.ID).Scan(&id)
	return id, notFound(err, "case", ref)
}

// Case reads a case with all that belongs to it. That somebody read a restricted
// case is written to the audit log first.
func (s *Store) Case(ctx context.Context, by Actor, pb *cases.Playbook, id string) (*CaseFile, error) {
	c, err := scanCase(s.queryRow(ctx, "SELECT "+caseColumns+" FROM case_file c WHERE c.id = ? AND "+sees, id, by.ID))
	if err != nil {
		return nil, notFound(err, "case", id)
	}
	if c.Restricted {
		err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
			return tx.Audit(ctx, by, "case.read", id, caseDetail(&c, nil))
		})
		if err != nil {
			return nil, err
		}
	}
	f := &CaseFile{Case: c}
	return f, s.fillCase(ctx, f)
}

func (s *Store) fillCase(ctx context.Context, f *CaseFile) (err error) {
	id := f.ID
	steps := []func() error{
		func() error { f.Tasks, err = caseTasks(ctx, s, id); return err },
		func() error { f.Clocks, err = caseClocks(ctx, s, id); return err },
		func() error { f.Notices, err = caseNotices(ctx, s, id); return err },
		func() error { f.Events, err = caseEvents(ctx, s, id, shownEvents); return err },
		func() error { f.Observables, err = caseObservables(ctx, s, id); return err },
		func() error { f.Custody, err = caseCustody(ctx, s, id); return err },
		func() error { f.Members, err = caseMembers(ctx, s, id); return err },
		func() error { f.Approvals, err = caseApprovals(ctx, s, id); return err },
		func() error { f.Signals, err = caseSignals(ctx, s, id); return err },
		func() error { f.Alerts, err = s.caseAlerts(ctx, id); return err },
		func() error { f.Copies, err = s.caseCopies(ctx, f.Models); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	w := &cases.Work{Case: &f.Case, Tasks: f.Tasks, Clocks: f.Clocks, Now: s.now().UTC()}
	state, err := caseState(ctx, s, w)
	if err != nil {
		return err
	}
	f.State = *state
	hits, err := caseHits(ctx, s, id, learnedHits)
	if err != nil {
		return err
	}
	known, err := modelsOf(ctx, s, hits)
	f.Seen = cases.Look(hits, known)
	return err
}

func (s *Store) caseAlerts(ctx context.Context, id string) ([]Alert, error) {
	rows, err := s.query(ctx, "SELECT "+prefixed("a", strings.ReplaceAll(alertColumns, "\n\t", " "))+" FROM alert a JOIN case_alert x ON x.alert_id = a.id WHERE x.case_id = ? ORDER BY a.id LIMIT 500", id)
	return collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
}

// caseCopies lists where copies of the models lie that are not authorised, first
// those that are not gone, the newest of each model.
func (s *Store) caseCopies(ctx context.Context, models []string) ([]Copy, error) {
	var out []Copy
	for _, m := range models {
		rows, err := s.query(ctx, "SELECT "+copyColumns+" FROM copy WHERE model = ? AND authorised = '' ORDER BY gone, last_seen DESC LIMIT ?", m, shownCopies)
		list, err := collect(rows, err, scanCopy)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// CaseHits returns the hits of a case's alerts, oldest first, for evidence.
func (s *Store) CaseHits(ctx context.Context, id string, limit int) ([]cases.Hit, error) {
	return caseHits(ctx, s, id, limit)
}

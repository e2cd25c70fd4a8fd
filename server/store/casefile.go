package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"weightwarden/server/cases"
)

const caseColumns = `c.id, c.number, c.title, c.playbook, c.playbook_version, c.phase, c.severity, c.vector, c.tlp, c.restricted, c.hold, c.subject, c.actor,
	c.actor_reason, c.owner, c.owner_name, c.summary, c.root_cause, c.lessons, c.models, c.facts, c.overrides, c.resolution, c.opened_by, c.occurred,
	c.detected, c.opened, c.acknowledged, c.triaged, c.contained, c.closed, c.updated, c.revision, c.worst`

func scanCase(row interface{ Scan(...any) error }, more ...any) (cases.Case, error) {
	var c cases.Case
	var restricted, hold, occurred, detected, opened, ack, triaged, contained, closed, updated int64
	var models, facts, overrides string
	err := row.Scan(append([]any{&c.ID, &c.Number, &c.Title, &c.Playbook, &c.PlaybookVersion, &c.Phase, &c.Severity, &c.Vector, &c.TLP, &restricted, &hold, &c.Subject,
		&c.Actor, &c.ActorReason, &c.Owner, &c.OwnerName, &c.Summary, &c.RootCause, &c.Lessons, &models, &facts, &overrides, &c.Resolution, &c.OpenedBy, &occurred,
		&detected, &opened, &ack, &triaged, &contained, &closed, &updated, &c.Revision, &c.Worst}, more...)...)
	if err != nil {
		return c, err
	}
	c.Restricted, c.Hold = restricted != 0, hold != 0
	c.Occurred, c.Detected, c.Opened, c.Acknowledged = fromMicros(occurred), fromMicros(detected), fromMicros(opened), fromMicros(ack)
	c.Triaged, c.Contained, c.Closed, c.Updated = fromMicros(triaged), fromMicros(contained), fromMicros(closed), fromMicros(updated)
	for _, f := range []struct {
		text string
		to   any
	}{{models, &c.Models}, {facts, &c.Facts}, {overrides, &c.Override}} {
		if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
			return c, fmt.Errorf("case %s: %w", c.ID, err)
		}
	}
	return c, nil
}

// jsonText is a value as a column keeps it.
func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func (t *Tx) putCase(ctx context.Context, c *cases.Case) error {
	models, err1 := jsonText(c.Models)
	facts, err2 := jsonText(c.Facts)
	overrides, err3 := jsonText(c.Override)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	args := []any{c.ID, c.Number, c.Title, c.Playbook, c.PlaybookVersion, c.Phase, c.Severity, c.Vector, c.TLP, boolInt(c.Restricted), boolInt(c.Hold), c.Subject, c.Actor,
		c.ActorReason, c.Owner, c.OwnerName, c.Summary, c.RootCause, c.Lessons, models, facts, overrides, c.Resolution, c.OpenedBy, micros(c.Occurred),
		micros(c.Detected), micros(c.Opened), micros(c.Acknowledged), micros(c.Triaged), micros(c.Contained), micros(c.Closed), micros(c.Updated), c.Revision, c.Severity}
	_, err := t.exec(ctx, `INSERT INTO case_file (id, number, title, playbook, playbook_version, phase, severity, vector, tlp, restricted, hold, subject, actor,
		actor_reason, owner, owner_name, summary, root_cause, lessons, models, facts, overrides, resolution, opened_by, occurred, detected, opened, acknowledged,
		triaged, contained, closed, updated, revision, worst) VALUES (`+marks(len(args))+`) ON CONFLICT (id) DO UPDATE SET title = excluded.title, phase = excluded.phase,
		severity = excluded.severity, vector = excluded.vector, tlp = excluded.tlp, restricted = excluded.restricted, hold = excluded.hold, subject = excluded.subject,
		actor = excluded.actor, actor_reason = excluded.actor_reason, owner = excluded.owner, owner_name = excluded.owner_name, summary = excluded.summary,
		root_cause = excluded.root_cause, lessons = excluded.lessons, models = excluded.models, facts = excluded.facts, overrides = excluded.overrides,
		resolution = excluded.resolution, occurred = excluded.occurred, detected = excluded.detected, acknowledged = excluded.acknowledged,
		triaged = excluded.triaged, contained = excluded.contained, closed = excluded.closed, updated = excluded.updated, revision = excluded.revision,
		worst = CASE WHEN excluded.worst < case_file.worst THEN excluded.worst ELSE case_file.worst END`, args...)
	return err
}

// marks is "?, ?, ?" for n values.
func marks(n int) string {
	out := make([]byte, 0, 3*n)
	for i := range n {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, '?')
	}
	return string(out)
}

const taskColumns = "id, case_id, task_key, task_group, phase, text, tool, roles, assignee, state, proof, reason, needs_why, position, created, done, done_by"

func scanTask(r *sql.Rows) (cases.TaskItem, error) {
	var t cases.TaskItem
	var roles string
	var why, created, done int64
	err := r.Scan(&t.ID, &t.Case, &t.Key, &t.Group, &t.Phase, &t.Text, &t.Tool, &roles, &t.Assignee, &t.State, &t.Proof, &t.Reason, &why, &t.Position, &created, &done, &t.DoneBy)
	if err == nil {
		err = json.Unmarshal([]byte(roles), &t.Roles)
	}
	t.NeedsWhy, t.Created, t.Done = why != 0, fromMicros(created), fromMicros(done)
	return t, err
}

func caseTasks(ctx context.Context, q querier, id string) ([]cases.TaskItem, error) {
	rows, err := q.query(ctx, "SELECT "+taskColumns+" FROM case_task WHERE case_id = ? ORDER BY position, id", id)
	return collect(rows, err, scanTask)
}

func (t *Tx) putTask(ctx context.Context, k *cases.TaskItem) error {
	roles, err := jsonText(k.Roles)
	if err != nil {
		return err
	}
	args := []any{k.ID, k.Case, k.Key, k.Group, k.Phase, k.Text, k.Tool, roles, k.Assignee, k.State, k.Proof, k.Reason, boolInt(k.NeedsWhy), k.Position,
		micros(k.Created), micros(k.Done), k.DoneBy}
	_, err = t.exec(ctx, "INSERT INTO case_task ("+taskColumns+") VALUES ("+marks(len(args))+`) ON CONFLICT (id) DO UPDATE SET text = excluded.text,
		assignee = excluded.assignee, state = excluded.state, proof = excluded.proof, reason = excluded.reason, done = excluded.done, done_by = excluded.done_by`, args...)
	return err
}

const clockColumns = "id, case_id, task_key, metric, title, roles, calendar, started, due, paused, pause_reason, pauses, stopped, marks, breached"

func scanClock(r *sql.Rows) (cases.Clock, error) {
	var c cases.Clock
	var roles, pauses string
	var started, due, paused, stopped, breached int64
	err := r.Scan(&c.ID, &c.Case, &c.Task, &c.Metric, &c.Title, &roles, &c.Calendar, &started, &due, &paused, &c.PauseReason, &pauses, &stopped, &c.Marks, &breached)
	if err == nil {
		err = json.Unmarshal([]byte(roles), &c.Roles)
	}
	if err == nil {
		err = json.Unmarshal([]byte(pauses), &c.Pauses)
	}
	c.Started, c.Due, c.PausedAt, c.Stopped, c.Breached = fromMicros(started), fromMicros(due), fromMicros(paused), fromMicros(stopped), fromMicros(breached)
	return c, err
}

func caseClocks(ctx context.Context, q querier, id string) ([]cases.Clock, error) {
	rows, err := q.query(ctx, "SELECT "+clockColumns+" FROM case_clock WHERE case_id = ? ORDER BY started, id", id)
	return collect(rows, err, scanClock)
}

func (t *Tx) putClock(ctx context.Context, c *cases.Clock) error {
	roles, err := jsonText(c.Roles)
	if err != nil {
		return err
	}
	pauses, err := jsonText(c.Pauses)
	if err != nil {
		return err
	}
	next := int64(0)
	if m, ok := c.NextMark(); ok {
		next = micros(m.At)
	}
	args := []any{c.ID, c.Case, c.Task, c.Metric, c.Title, roles, string(c.Calendar), micros(c.Started), micros(c.Due), micros(c.PausedAt), c.PauseReason, pauses,
		micros(c.Stopped), c.Marks, micros(c.Breached), next}
	_, err = t.exec(ctx, "INSERT INTO case_clock ("+clockColumns+", next_mark) VALUES ("+marks(len(args))+`) ON CONFLICT (id) DO UPDATE SET calendar = excluded.calendar,
		due = excluded.due, paused = excluded.paused, pause_reason = excluded.pause_reason, pauses = excluded.pauses, stopped = excluded.stopped,
		marks = excluded.marks, breached = excluded.breached, next_mark = excluded.next_mark`, args...)
	return err
}

func caseNotices(ctx context.Context, q querier, id string) ([]cases.Notice, error) {
	rows, err := q.query(ctx, `SELECT id, case_id, fact, recipient, text, created, targets, acknowledged, acknowledged_by, how FROM case_notice WHERE case_id = ?
		ORDER BY created, id`, id)
	return collect(rows, err, func(r *sql.Rows) (cases.Notice, error) {
		var n cases.Notice
		var created, ack int64
		err := r.Scan(&n.ID, &n.Case, &n.Fact, &n.Recipient, &n.Text, &created, &n.Targets, &ack, &n.AcknowledgedBy, &n.How)
		n.Created, n.Acknowledged = fromMicros(created), fromMicros(ack)
		return n, err
	})
}

func (t *Tx) putNotice(ctx context.Context, n *cases.Notice) error {
	_, err := t.exec(ctx, `INSERT INTO case_notice (id, case_id, fact, recipient, text, created, targets, acknowledged, acknowledged_by, how)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET acknowledged = excluded.acknowledged, acknowledged_by = excluded.acknowledged_by,
		how = excluded.how`, n.ID, n.Case, n.Fact, n.Recipient, n.Text, micros(n.Created), n.Targets, micros(n.Acknowledged), n.AcknowledgedBy, n.How)
	return err
}

func (t *Tx) addEvent(ctx context.Context, e *cases.Event) error {
	_, err := t.exec(ctx, "INSERT INTO case_event (id, case_id, at, noted, who, kind, text, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		NewID(), e.Case, micros(e.At), micros(e.Noted), e.By, e.Kind, cut(e.Text, maxEventText), e.Detail)
	return err
}

// maxEventText bounds a line of the timeline; longer words are cut.
const maxEventText = 8 << 10

func caseEvents(ctx context.Context, q querier, id string, limit int) ([]cases.Event, error) {
	rows, err := q.query(ctx, "SELECT id, case_id, at, noted, who, kind, text, detail FROM case_event WHERE case_id = ? ORDER BY at, id LIMIT ?", id, limit)
	return collect(rows, err, func(r *sql.Rows) (cases.Event, error) {
		var e cases.Event
		var at, noted int64
		err := r.Scan(&e.ID, &e.Case, &at, &noted, &e.By, &e.Kind, &e.Text, &e.Detail)
		e.At, e.Noted = fromMicros(at), fromMicros(noted)
		return e, err
	})
}

func (t *Tx) putObservable(ctx context.Context, caseID string, o *cases.Observable) error {
	_, err := t.exec(ctx, `INSERT INTO case_observable (id, case_id, type, value, value_key, source, first_seen, last_seen, sensitive, note)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (case_id, type, value_key) DO UPDATE SET
		first_seen = CASE WHEN excluded.first_seen < case_observable.first_seen THEN excluded.first_seen ELSE case_observable.first_seen END,
		last_seen = CASE WHEN excluded.last_seen > case_observable.last_seen THEN excluded.last_seen ELSE case_observable.last_seen END`,
		NewID(), caseID, o.Type, o.Value, textKey(o.Value), o.Source, micros(o.FirstSeen), micros(o.LastSeen), boolInt(o.Sensitive), o.Note)
	return err
}

func caseObservables(ctx context.Context, q querier, id string) ([]cases.Observable, error) {
	rows, err := q.query(ctx, `SELECT id, case_id, type, value, source, first_seen, last_seen, sensitive, note FROM case_observable WHERE case_id = ?
		ORDER BY type, first_seen, id`, id)
	return collect(rows, err, func(r *sql.Rows) (cases.Observable, error) {
		var o cases.Observable
		var first, last, sensitive int64
		err := r.Scan(&o.ID, &o.Case, &o.Type, &o.Value, &o.Source, &first, &last, &sensitive, &o.Note)
		o.FirstSeen, o.LastSeen, o.Sensitive = fromMicros(first), fromMicros(last), sensitive != 0
		return o, err
	})
}

func caseCustody(ctx context.Context, q querier, id string) ([]cases.Custody, error) {
	rows, err := q.query(ctx, "SELECT id, case_id, at, who, action, item, sha256, to_whom, purpose FROM case_custody WHERE case_id = ? ORDER BY id", id)
	return collect(rows, err, func(r *sql.Rows) (cases.Custody, error) {
		var c cases.Custody
		var at int64
		err := r.Scan(&c.ID, &c.Case, &at, &c.By, &c.Action, &c.Item, &c.SHA256, &c.To, &c.Purpose)
		c.At = fromMicros(at)
		return c, err
	})
}

func caseMembers(ctx context.Context, q querier, id string) ([]cases.Member, error) {
	rows, err := q.query(ctx, "SELECT actor, name, added, added_by FROM case_member WHERE case_id = ? ORDER BY added, actor", id)
	return collect(rows, err, func(r *sql.Rows) (cases.Member, error) {
		var m cases.Member
		var added int64
		err := r.Scan(&m.Actor, &m.Name, &added, &m.AddedBy)
		m.Added = fromMicros(added)
		return m, err
	})
}

func caseApprovals(ctx context.Context, q querier, id string) ([]cases.Approval, error) {
	rows, err := q.query(ctx, "SELECT id, case_id, action, reason, asked, asked_by, asked_name, decided, decided_by, approved FROM case_approval WHERE case_id = ? ORDER BY id", id)
	return collect(rows, err, func(r *sql.Rows) (cases.Approval, error) {
		var a cases.Approval
		var asked, decided, approved int64
		err := r.Scan(&a.ID, &a.Case, &a.Action, &a.Reason, &asked, &a.AskedBy, &a.AskedName, &decided, &a.DecidedBy, &approved)
		a.Asked, a.Decided, a.Approved = fromMicros(asked), fromMicros(decided), approved != 0
		return a, err
	})
}

// caseHits returns what a case learns from: the hits of its alerts, oldest first.
func caseHits(ctx context.Context, q querier, id string, limit int) ([]cases.Hit, error) {
	rows, err := q.query(ctx, `SELECT h.id, h.received, h.path, h.body FROM hit h JOIN case_alert x ON x.alert_id = h.alert_id WHERE x.case_id = ?
		ORDER BY h.id LIMIT ?`, id, limit)
	return collect(rows, err, func(r *sql.Rows) (cases.Hit, error) {
		var h cases.Hit
		var received int64
		var body []byte
		err := r.Scan(&h.ID, &received, &h.Path, &body)
		h.Received = fromMicros(received)
		if err == nil {
			err = json.Unmarshal(body, &h.Body)
		}
		return h, err
	})
}

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"weightwarden/server/cases"
)

// Events of cases that targets are told of.
const (
	EventNotice  = "case.notice"  // somebody must be told
	EventWarning = "case.warning" // a clock has used 50 or 80 % of its time
	EventBreach  = "case.breach"  // a clock ran out
	EventQuiet   = "case.update"  // a hit that only the members of a restricted case may know of
)

// Notice is a message to people that tells of a case.
type Notice struct {
	Case       string    `json:"case,omitempty"`  // id
	Agent      string    `json:"agent,omitempty"` // of EventRegistryRefused, which is of no case
	Ref        string    `json:"ref"`
	Severity   int       `json:"severity"`
	Text       string    `json:"text"`
	Recipient  string    `json:"recipient,omitempty"`
	Due        time.Time `json:"due,omitzero"`
	Restricted bool      `json:"restricted,omitempty"`
}

// tell puts a message for a recipient of the playbook into the outbox of every
// target that reaches him, and returns how many there are. A restricted case is
// told of in words that say nothing.
func (t *Tx) tell(ctx context.Context, recipient, event string, c *cases.Case, text string) (int, error) {
	return t.tellDue(ctx, recipient, event, c, text, time.Time{})
}

func (t *Tx) tellDue(ctx context.Context, recipient, event string, c *cases.Case, text string, due time.Time) (int, error) {
	n := Notice{Case: c.ID, Ref: c.Ref(), Severity: c.Severity, Text: text, Recipient: recipient, Due: due, Restricted: c.Restricted}
	if c.Restricted {
		n.Text, n.Severity = "Matter "+c.Ref()+" needs you. Sign in to read it.", 0
	}
	body, err := json.Marshal(n)
	if err != nil {
		return 0, err
	}
	// Names of recipients hold no comma.
	rows, err := t.query(ctx, "SELECT id FROM target WHERE ',' || recipients || ',' LIKE ? ESCAPE '\\'", "%,"+escapeLike(recipient)+",%")
	ids, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
	if err != nil {
		return 0, err
	}
	now := micros(t.s.now())
	for _, id := range ids {
		_, err := t.exec(ctx, "INSERT INTO outbox (id, target, event, alert, created, due, notice) VALUES (?, ?, ?, '', ?, ?, ?)", NewID(), id, event, now, now, body)
		if err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// quietCase returns the open restricted case whose subject a user is, or "": what
// he does is told to its members only.
func (t *Tx) quietCase(ctx context.Context, user string) (string, error) {
	if user == "" {
		return "", nil
	}
	rows, err := t.query(ctx, "SELECT id, subject FROM case_file WHERE subject <> '' AND closed = 0 AND restricted = 1 ORDER BY number")
	open, err := collect(rows, err, func(r *sql.Rows) (c cases.Case, err error) {
		return c, r.Scan(&c.ID, &c.Subject)
	})
	for _, c := range open {
		if cases.SamePerson(user, c.Subject) {
			return c.ID, err
		}
	}
	return "", err
}

// tellQuietly joins an alert to a restricted case and tells who works on it.
func (t *Tx) tellQuietly(ctx context.Context, id, alert string) error {
	c, err := scanCase(t.queryRow(ctx, "SELECT "+caseColumns+" FROM case_file c WHERE c.id = ?", id))
	if err != nil {
		return err
	}
	// Zero hits are known, so that the case learns from this one with the next tick.
	if _, err := t.exec(ctx, "INSERT INTO case_alert (case_id, alert_id, added, hits) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", id, alert, micros(t.s.now())); err != nil {
		return err
	}
	_, err = t.tell(ctx, "SOC Manager", EventQuiet, &c, "")
	return err
}

// addMember lets somebody know of a case; its subject never can.
func (t *Tx) addMember(ctx context.Context, by Actor, c *cases.Case, m cases.Member) error {
	if cases.SamePerson(m.Name, c.Subject) || cases.SamePerson(m.Actor, c.Subject) {
		return fmt.Errorf("the case concerns %.80q, who may not know of it: %w", m.Name, ErrConflict)
	}
	_, err := t.exec(ctx, "INSERT INTO case_member (case_id, actor, name, added, added_by) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		c.ID, m.Actor, m.Name, micros(t.s.now()), by.ID)
	return err
}

// subjectIsOutside refuses a restricted case whose subject, which its hits may have
// named only now, is one of its members.
func (t *Tx) subjectIsOutside(ctx context.Context, c *cases.Case) error {
	if !c.Restricted || c.Subject == "" {
		return nil
	}
	rows, err := t.query(ctx, "SELECT actor, name FROM case_member WHERE case_id = ?", c.ID)
	members, err := collect(rows, err, func(r *sql.Rows) (m cases.Member, err error) {
		return m, r.Scan(&m.Actor, &m.Name)
	})
	for _, m := range members {
		if cases.SamePerson(m.Name, c.Subject) || cases.SamePerson(m.Actor, c.Subject) {
			return fmt.Errorf("the case concerns %.80q, who is a member of it: %w", c.Subject, ErrConflict)
		}
	}
	return err
}

// within runs fn with a case that an actor may know of, and audits it.
func (s *Store) within(ctx context.Context, by Actor, id, action string, fn func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error)) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		c, err := scanCase(tx.queryRow(ctx, "SELECT "+caseColumns+" FROM case_file c WHERE c.id = ? AND "+sees, id, by.ID))
		if err != nil {
			return notFound(err, "case", id)
		}
		detail, err := fn(ctx, tx, &c)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, action, id, caseDetail(&c, detail))
	})
}

func (t *Tx) noteCase(ctx context.Context, by Actor, c *cases.Case, kind, text string) error {
	now := t.s.now().UTC()
	return t.addEvent(ctx, &cases.Event{Case: c.ID, At: now, Noted: now, By: by.Name, Kind: kind, Text: text})
}

// AddCaseMember lets somebody know of a case.
func (s *Store) AddCaseMember(ctx context.Context, by Actor, id string, m cases.Member) error {
	return s.within(ctx, by, id, "case.member.add", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		if err := tx.addMember(ctx, by, c, m); err != nil {
			return nil, err
		}
		return map[string]any{"member": m.Actor}, tx.noteCase(ctx, by, c, "member", m.Name+" may know of the case")
	})
}

// RemoveCaseMember takes it back. The last member stays: a restricted case without
// one could never be read again.
func (s *Store) RemoveCaseMember(ctx context.Context, by Actor, id, actor string) error {
	return s.within(ctx, by, id, "case.member.remove", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		n, err := tx.exec(ctx, "DELETE FROM case_member WHERE case_id = ? AND actor = ? AND (SELECT COUNT(*) FROM case_member WHERE case_id = ?) > 1", id, actor, id)
		if err == nil && n == 0 {
			err = fmt.Errorf("%.80q is no member, or the last one: %w", actor, ErrConflict)
		}
		if err != nil {
			return nil, err
		}
		return map[string]any{"member": actor}, tx.noteCase(ctx, by, c, "member", "a member was removed")
	})
}

// JoinAlerts joins alerts to an open case, which learns from their hits.
func (s *Store) JoinAlerts(ctx context.Context, by Actor, pb *cases.Playbook, id string, alerts []string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		w, err := tx.loadWork(ctx, by, pb, id)
		if err != nil {
			return err
		}
		if !w.Case.Open() {
			return fmt.Errorf("%s is closed: %w", w.Case.Ref(), ErrConflict)
		}
		before := copyWork(w)
		for _, a := range alerts {
			if err := tx.linkAlert(ctx, w.Case, a); err != nil {
				return err
			}
		}
		if err := w.Remark(fmt.Sprintf("%d alert(s) joined", len(alerts)), time.Time{}); err != nil {
			return err
		}
		if err := tx.learn(ctx, w); err != nil {
			return err
		}
		if err := tx.saveWork(ctx, w, before); err != nil {
			return err
		}
		if err := tx.subjectIsOutside(ctx, w.Case); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "case.alerts", id, caseDetail(w.Case, map[string]any{"alerts": alerts}))
	})
}

// AddObservable adds an indicator by hand.
func (s *Store) AddObservable(ctx context.Context, by Actor, id string, o cases.Observable) error {
	return s.within(ctx, by, id, "case.observable", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		if err := tx.putObservable(ctx, id, &o); err != nil {
			return nil, err
		}
		return map[string]any{"type": o.Type}, tx.noteCase(ctx, by, c, "observable", "Indicator added: "+o.Type)
	})
}

// AddCustody writes a line of the chain of custody.
func (s *Store) AddCustody(ctx context.Context, by Actor, id string, e cases.Custody) error {
	return s.within(ctx, by, id, "case.custody", func(ctx context.Context, tx *Tx, _ *cases.Case) (map[string]any, error) {
		_, err := tx.exec(ctx, "INSERT INTO case_custody (id, case_id, at, who, action, item, sha256, to_whom, purpose) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			NewID(), id, micros(tx.s.now()), by.Name, e.Action, e.Item, e.SHA256, e.To, e.Purpose)
		return map[string]any{"action": e.Action, "item": e.Item, "sha256": e.SHA256, "to": e.To, "purpose": e.Purpose}, err
	})
}

// AskApproval asks for a second person.
func (s *Store) AskApproval(ctx context.Context, by Actor, id, action, reason string) (string, error) {
	approval := NewID()
	return approval, s.within(ctx, by, id, "case.approval.ask", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		_, err := tx.exec(ctx, `INSERT INTO case_approval (id, case_id, action, reason, asked, asked_by, asked_name, decided, decided_by, approved)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', 0)`, approval, id, action, reason, micros(tx.s.now()), by.ID, by.Name)
		if err != nil {
			return nil, err
		}
		return map[string]any{"action": action, "reason": reason}, tx.noteCase(ctx, by, c, "approval", "Asked for a second person: "+action+". "+reason)
	})
}

// DecideApproval is the second person's word; it cannot be the first's. Lifting a
// legal hold takes effect with it.
func (s *Store) DecideApproval(ctx context.Context, by Actor, id, approval string, approved bool) error {
	return s.within(ctx, by, id, "case.approval.decide", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		var action string
		err := tx.queryRow(ctx, "SELECT action FROM case_approval WHERE id = ? AND case_id = ?", approval, id).Scan(&action)
		if err != nil {
			return nil, notFound(err, "approval", approval)
		}
		ok, err := tx.second(ctx, by, "SELECT asked_by FROM case_approval WHERE id = ? AND decided = 0", approval)
		if err == nil && ok {
			_, err = tx.exec(ctx, "UPDATE case_approval SET decided = ?, decided_by = ?, approved = ? WHERE id = ? AND decided = 0",
				micros(tx.s.now()), by.Name, boolInt(approved), approval)
		} else if err == nil {
			err = fmt.Errorf("this needs somebody else than who asked, and is decided once: %w", ErrConflict)
		}
		if err != nil {
			return nil, err
		}
		word := map[bool]string{true: "Approved: ", false: "Refused: "}[approved]
		if approved && action == cases.ApproveLiftHold {
			if err := tx.setHold(ctx, c, false); err != nil {
				return nil, err
			}
		}
		return map[string]any{"action": action, "approved": approved}, tx.noteCase(ctx, by, c, "approval", word+action)
	})
}

// HoldCase puts a case and its hits under legal hold: nothing of it is deleted
// until two people lift it.
func (s *Store) HoldCase(ctx context.Context, by Actor, id, reason string) error {
	return s.within(ctx, by, id, "case.hold", func(ctx context.Context, tx *Tx, c *cases.Case) (map[string]any, error) {
		if err := tx.setHold(ctx, c, true); err != nil {
			return nil, err
		}
		return map[string]any{"reason": reason}, tx.noteCase(ctx, by, c, "hold", "Legal hold. "+reason)
	})
}

func (t *Tx) setHold(ctx context.Context, c *cases.Case, on bool) error {
	if _, err := t.exec(ctx, "UPDATE case_file SET hold = ?, revision = revision + 1 WHERE id = ?", boolInt(on), c.ID); err != nil {
		return err
	}
	if on {
		_, err := t.exec(ctx, "UPDATE hit SET hold = 1 WHERE alert_id IN (SELECT alert_id FROM case_alert WHERE case_id = ?)", c.ID)
		return err
	}
	// A hit that another case holds stays.
	_, err := t.exec(ctx, `UPDATE hit SET hold = 0 WHERE alert_id IN (SELECT alert_id FROM case_alert WHERE case_id = ?) AND alert_id NOT IN
		(SELECT x.alert_id FROM case_alert x JOIN case_file f ON f.id = x.case_id WHERE f.hold = 1)`, c.ID)
	return err
}

// RemoveCopy notes that a copy is gone, with what shows it. If it is seen again it
// is back.
func (s *Store) RemoveCopy(ctx context.Context, by Actor, agent, path, proof string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE copy SET gone = ?, gone_by = ?, gone_proof = ? WHERE agent = ? AND path_key = ?", micros(tx.s.now()), by.Name, proof, agent, textKey(path))
		if err == nil && n == 0 {
			err = fmt.Errorf("copy %.100q: %w", path, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "copy.gone", agent, map[string]any{"path": cut(path, 4096), "proof": proof})
	})
}

// Signal is what another system says of a person or a model: a UEBA or HR system,
// a gateway, a DLP product.
type Signal struct {
	ID       string
	Case     string
	Kind     string // "insider", "api_volume", "api_pattern", "ip_alert"
	Source   string
	Subject  string
	Model    string
	Text     string
	Received time.Time
}

func (t *Tx) putSignal(ctx context.Context, caseID string, g *Signal) error {
	_, err := t.exec(ctx, "INSERT INTO case_signal (id, case_id, kind, source, subject, model, text, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		NewID(), caseID, g.Kind, g.Source, g.Subject, g.Model, g.Text, micros(t.s.now()))
	return err
}

func caseSignals(ctx context.Context, q querier, id string) ([]Signal, error) {
	rows, err := q.query(ctx, "SELECT id, case_id, kind, source, subject, model, text, received FROM case_signal WHERE case_id = ? ORDER BY id", id)
	return collect(rows, err, func(r *sql.Rows) (Signal, error) {
		var g Signal
		var received int64
		err := r.Scan(&g.ID, &g.Case, &g.Kind, &g.Source, &g.Subject, &g.Model, &g.Text, &received)
		g.Received = fromMicros(received)
		return g, err
	})
}

// TakeSignal joins a signal to the open case of its subject or model, or opens a
// case for it with the user's recent alerts. A signal about a person opens a
// restricted case.
func (s *Store) TakeSignal(ctx context.Context, by Actor, pb *cases.Playbook, g Signal, members []cases.Member) (id string, opened bool, err error) {
	fresh := NewID()
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		id, opened = fresh, true
		err := tx.queryRow(ctx, `SELECT id FROM case_file WHERE closed = 0 AND ((? <> '' AND subject = ?) OR (? = '' AND ? <> '' AND models LIKE ? ESCAPE '\'))
			ORDER BY number DESC LIMIT 1`, g.Subject, g.Subject, g.Subject, g.Model, "%"+escapeLike(mustQuote(g.Model))+"%").Scan(&id)
		if err == nil {
			opened = false
			if err := tx.putSignal(ctx, id, &g); err != nil {
				return err
			}
			now := tx.s.now().UTC()
			if err := tx.addEvent(ctx, &cases.Event{Case: id, At: now, Noted: now, By: g.Source, Kind: "signal", Text: g.Text}); err != nil {
				return err
			}
			return tx.Audit(ctx, by, "case.signal", id, map[string]any{"kind": g.Kind})
		}
		if err != sql.ErrNoRows { // Scan returns it as it is
			return err
		}
		return tx.openForSignal(ctx, by, pb, id, &g, members)
	})
	return id, opened, err
}

// mustQuote is a name as a JSON list has it.
func mustQuote(name string) string {
	b, _ := json.Marshal(name) // a string always marshals
	return string(b)
}

func (t *Tx) openForSignal(ctx context.Context, by Actor, pb *cases.Playbook, id string, g *Signal, members []cases.Member) error {
	rows, err := t.query(ctx, "SELECT id FROM alert WHERE state <> 'closed' AND case_id = '' AND ? <> '' AND user_name = ? ORDER BY id DESC LIMIT 50", g.Subject, g.Subject)
	alerts, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var a string
		err := r.Scan(&a)
		return a, err
	})
	if err != nil {
		return err
	}
	n := NewCase{Title: "Told by " + cut(g.Source, 100), Severity: SeverityHigh, TLP: "AMBER", Subject: g.Subject, Members: members, Alerts: alerts, Signal: g}
	if g.Kind == "insider" {
		n.Restricted, n.TLP = true, "RED"
	}
	return t.openCase(ctx, by, pb, id, n)
}

package cases

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Work is a case with all that one change of it may touch. Its methods are what
// people do to a case; each checks the playbook's rules, changes the parts and
// writes the timeline. The store loads it, and saves what changed in one
// transaction.
type Work struct {
	Playbook *Playbook
	Case     *Case
	Tasks    []TaskItem
	Clocks   []Clock
	Notices  []Notice
	Events   []Event // new ones, for the timeline
	Now      time.Time
	By       string // name, for the timeline
	ByID     string
}

func (w *Work) note(kind, format string, args ...any) {
	w.Events = append(w.Events, Event{Case: w.Case.ID, At: w.Now, Noted: w.Now, By: w.By, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (w *Work) open() error {
	if !w.Case.Open() {
		return refused("the case is closed; reopen it first")
	}
	return nil
}

// Begin gives a new case its clocks, and whatever its first facts bring.
func (w *Work) Begin() {
	w.Clocks = append(w.Clocks, w.Playbook.CaseClocks(w.Case)...)
	w.note("opened", "Case opened: %s", w.Case.Title)
	w.settle()
}

// settle adds what the playbook asks for and is not there.
func (w *Work) settle() {
	plan := w.Playbook.Missing(w.Case, w.Tasks, w.Notices)
	for _, key := range plan.Moot {
		i := slices.IndexFunc(w.Tasks, func(t TaskItem) bool { return t.Key == key })
		w.Tasks[i].State, w.Tasks[i].Reason, w.Tasks[i].Done, w.Tasks[i].DoneBy = TaskNA, "the facts no longer ask for it", w.Now, "weightwarden"
		w.stopTask(key)
		w.note("decision", "No longer decided: %s", w.Tasks[i].Text)
	}
	for _, t := range plan.Tasks {
		t.Case, t.Created = w.Case.ID, w.Now
		w.Tasks = append(w.Tasks, t.TaskItem)
		if t.Group == "decide" {
			w.note("decision", "Decided: %s (%s)", t.Text, strings.Join(t.Roles, " + "))
		}
		if t.Timed() {
			w.startClock(t)
		}
	}
	for _, n := range plan.Notices {
		w.Notices = append(w.Notices, Notice{Case: w.Case.ID, Fact: n.Fact, Recipient: n.Recipient, Text: n.Text, Created: w.Now})
		w.note("notice", "To be told: %s", n.Recipient)
	}
}

// startClock uses the task's key as the reference; the store gives both their ids.
func (w *Work) startClock(t PlannedTask) {
	due, ok := t.Calendar.Due(w.Now, t.Time)
	if ok {
		w.Clocks = append(w.Clocks, Clock{Case: w.Case.ID, Task: t.Key, Metric: Task, Title: t.Text, Roles: t.Roles, Calendar: t.Calendar, Started: w.Now, Due: due})
	}
}

func (w *Work) stopTask(key string) {
	for i := range w.Clocks {
		if w.Clocks[i].Task == key {
			w.Clocks[i].Stop(w.Now)
		}
	}
}

func (w *Work) stopMetric(metric string) {
	for i := range w.Clocks {
		if w.Clocks[i].Metric == metric {
			w.Clocks[i].Stop(w.Now)
		}
	}
}

// Take makes somebody the owner; the first owner acknowledges the case.
func (w *Work) Take(id, name string) error {
	if err := w.open(); err != nil {
		return err
	}
	if SamePerson(name, w.Case.Subject) {
		return refused("the case concerns %q, who cannot own it", name)
	}
	w.Case.Owner, w.Case.OwnerName = id, name
	if w.Case.Acknowledged.IsZero() {
		w.Case.Acknowledged = w.Now
		w.stopMetric(Acknowledge)
	}
	w.note("owner", "Owner: %s", name)
	return nil
}

// Classify sets the theft vector, and with it the severity that the playbook gives.
func (w *Work) Classify(vector string) error {
	if err := w.open(); err != nil {
		return err
	}
	v, ok := w.Playbook.Vector(vector)
	if !ok {
		return refused("%.40q is no vector of the playbook", vector)
	}
	w.Case.Vector = vector
	w.note("vector", "Vector: %s", v.Name)
	if v.Severity < w.Case.Severity {
		w.setSeverity(v.Severity, "the playbook's for this vector")
	}
	w.settle()
	return nil
}

// SetSeverity changes the severity with a reason. Clocks that run get the targets
// of the new one, counted from the same start.
func (w *Work) SetSeverity(n int, reason string) error {
	if err := w.open(); err != nil {
		return err
	}
	if n < 1 || n > 4 || reason == "" {
		return refused("a severity is 1 (critical) to 4 (low) and needs a reason")
	}
	w.setSeverity(n, reason)
	return nil
}

func (w *Work) setSeverity(n int, reason string) {
	w.note("severity", "Severity %s to %s: %s", SeverityName(w.Case.Severity), SeverityName(n), reason)
	w.Case.Severity = n
	fresh := w.Playbook.CaseClocks(w.Case)
	for i := range w.Clocks {
		c := &w.Clocks[i]
		j := slices.IndexFunc(fresh, func(f Clock) bool { return f.Metric == c.Metric })
		if j < 0 || !c.Stopped.IsZero() || !c.PausedAt.IsZero() || c.Marks == 100 {
			continue
		}
		c.Calendar, c.Due = fresh[j].Calendar, fresh[j].Due
		for _, p := range c.Pauses {
			c.Due, _ = c.Calendar.Due(c.Due, c.Calendar.Spent(p.From, p.To)) // never Policy
		}
		c.Marks = 0
	}
}

// Judge says whether an insider or an external attacker did it.
func (w *Work) Judge(actor, reason string) error {
	if err := w.open(); err != nil {
		return err
	}
	if !slices.Contains([]string{ActorUnknown, ActorExternal, ActorInsider}, actor) {
		return refused("actor %.40q: want unknown, external or insider", actor)
	}
	if actor != ActorUnknown && reason == "" {
		return refused("say why it is %s", actor)
	}
	w.Case.Actor, w.Case.ActorReason = actor, reason
	w.note("actor", "Actor: %s. %s", actor, reason)
	return nil
}

// SetFact finds a statement true or false; what follows of it happens at once.
func (w *Work) SetFact(id string, value bool, reason string) error {
	if err := w.open(); err != nil {
		return err
	}
	rule, ok := w.Playbook.Fact(id)
	if !ok {
		return refused("%.40q is no fact of the playbook", id)
	}
	if reason == "" {
		return refused("say what shows that this is so: %s", rule.Text)
	}
	if w.Case.Facts == nil {
		w.Case.Facts = Facts{}
	}
	w.Case.Facts[id] = Fact{Value: value, Reason: reason, By: w.By, At: w.Now}
	word := map[bool]string{true: "True", false: "Not so"}[value]
	w.note("fact", "%s: %s. %s", word, rule.Text, reason)
	if id == "insider" && value && w.Case.Actor != ActorInsider {
		if err := w.Judge(ActorInsider, reason); err != nil {
			return err
		}
	}
	w.settle()
	return nil
}

// OverrideRow puts the analyst's own decision, or the time of the organisation's
// policy, in the place of the matrix's.
func (w *Work) OverrideRow(row string, o Override) error {
	if err := w.open(); err != nil {
		return err
	}
	i := slices.IndexFunc(w.Playbook.Matrix, func(r Row) bool { return r.ID == row })
	if i < 0 {
		return refused("%.40q is no row of the decision matrix", row)
	}
	if o.Reason == "" || o.Minutes < 0 || o.Minutes > 60*24*90 {
		return refused("an own decision needs a reason, and at most 90 days")
	}
	r := w.Playbook.Matrix[i]
	if o.Decision == "" {
		o.Decision = r.Decision
	}
	o.By, o.At = w.By, w.Now
	if w.Case.Override == nil {
		w.Case.Override = map[string]Override{}
	}
	w.Case.Override[row] = o
	key := "decide." + row
	j := slices.IndexFunc(w.Tasks, func(t TaskItem) bool { return t.Key == key && t.State == TaskOpen })
	if j >= 0 {
		w.Tasks[j].Text = o.Decision
		w.retime(key, w.Tasks[j], o.Minutes)
	}
	w.note("decision", "Decided otherwise: %s. %s", o.Decision, o.Reason)
	return nil
}

// retime gives an open task a new time, counted from now.
func (w *Work) retime(key string, t TaskItem, minutes int) {
	if minutes == 0 {
		return
	}
	w.stopTask(key)
	w.startClock(PlannedTask{TaskItem: t, Calendar: Always, Time: time.Duration(minutes) * time.Minute})
}

// SettleTask ends or reopens a task.
func (w *Work) SettleTask(id, state, proof, reason string) error {
	if err := w.open(); err != nil {
		return err
	}
	t, err := w.task(id)
	if err != nil {
		return err
	}
	if err := t.Settle(state, proof, reason, w.By, w.Now); err != nil {
		return err
	}
	if state == TaskOpen {
		w.note("task", "Reopened: %s", t.Text)
		return nil
	}
	w.stopTask(t.Key)
	if t.State == TaskDone {
		w.note("task", "Done: %s. %s", t.Text, t.Proof)
	} else {
		w.note("task", "Does not apply: %s. %s", t.Text, t.Reason)
	}
	return nil
}

// Assign gives a task to somebody.
func (w *Work) Assign(id, to string) error {
	t, err := w.task(id)
	if err != nil {
		return err
	}
	t.Assignee = to
	w.note("task", "%s: assigned to %s", t.Text, to)
	return nil
}

// AddTask adds an own task to a phase, with a time in minutes if not 0.
func (w *Work) AddTask(phase, text string, minutes int) error {
	if err := w.open(); err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" || !w.Playbook.HasPhase(phase) || minutes < 0 || minutes > 60*24*90 {
		return refused("an own task needs a text, a phase of the playbook, and at most 90 days")
	}
	t := PlannedTask{Calendar: Always, Time: time.Duration(minutes) * time.Minute,
		TaskItem: TaskItem{Case: w.Case.ID, Key: fmt.Sprintf("own.%d", len(w.Tasks)), Group: "own." + phase, Phase: phase, Text: text, State: TaskOpen, Position: len(w.Tasks), Created: w.Now}}
	w.Tasks = append(w.Tasks, t.TaskItem)
	if t.Timed() {
		w.startClock(t)
	}
	w.note("task", "Added: %s", text)
	return nil
}

func (w *Work) task(id string) (*TaskItem, error) {
	i := slices.IndexFunc(w.Tasks, func(t TaskItem) bool { return t.ID == id || t.Key == id })
	if i < 0 {
		return nil, refused("the case has no task %.80q", id)
	}
	return &w.Tasks[i], nil
}

// clock finds a clock by its id.
func (w *Work) clock(id string) (*Clock, error) {
	i := slices.IndexFunc(w.Clocks, func(c Clock) bool { return c.ID == id })
	if i < 0 {
		return nil, refused("the case has no clock %.80q", id)
	}
	return &w.Clocks[i], nil
}

// Pause lets a clock stand still for one of the listed reasons.
func (w *Work) Pause(clock, reason string) error {
	c, err := w.clock(clock)
	if err == nil {
		err = c.Pause(w.Now, reason)
	}
	if err == nil {
		w.note("clock", "Paused: %s. %s", c.Title, reason)
	}
	return err
}

// Resume lets a paused clock run again.
func (w *Work) Resume(clock string) error {
	c, err := w.clock(clock)
	if err == nil {
		err = c.Resume(w.Now)
	}
	if err == nil {
		w.note("clock", "Runs again: %s, due %s UTC", c.Title, c.Due.UTC().Format("2006-01-02 15:04"))
	}
	return err
}

// Advance moves the case to the next phase if the checks of this one are met, or if
// somebody says why it must move all the same.
func (w *Work) Advance(s *State, because string) error {
	if err := w.open(); err != nil {
		return err
	}
	next := w.Playbook.NextPhase(w.Case.Phase)
	if next == "" {
		return refused("this is the last phase: close the case")
	}
	unmet := Unmet(w.Playbook.ExitChecks(w.Case.Phase, s))
	if len(unmet) > 0 && because == "" {
		return refused("not yet: %s", strings.Join(unmet, "; "))
	}
	if len(unmet) > 0 {
		w.note("phase", "Moved on without: %s. %s", strings.Join(unmet, "; "), because)
	}
	switch w.Case.Phase {
	case "analyze":
		w.Case.Triaged = w.Now
		w.stopMetric(Triage)
	case "contain":
		w.Case.Contained = w.Now
		w.stopMetric(Contain)
	}
	w.Case.Phase = next
	w.note("phase", "Phase: %s", w.Playbook.PhaseName(next))
	w.settle()
	return nil
}

// Back returns to an earlier phase with a reason.
func (w *Work) Back(phase, because string) error {
	if err := w.open(); err != nil {
		return err
	}
	to, at := w.Playbook.phase(phase), w.Playbook.phase(w.Case.Phase)
	if to < 0 || to >= at || because == "" {
		return refused("going back needs an earlier phase and a reason")
	}
	w.Case.Phase = phase
	w.note("phase", "Back to %s: %s", w.Playbook.PhaseName(phase), because)
	return nil
}

// Close ends the case.
func (w *Work) Close(resolution string, s *State) error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.Playbook.CanClose(resolution, s); err != nil {
		return err
	}
	w.Case.Resolution, w.Case.Closed = resolution, w.Now
	for i := range w.Clocks {
		w.Clocks[i].Stop(w.Now)
	}
	w.note("closed", "Closed: %s", strings.ReplaceAll(resolution, "_", " "))
	return nil
}

// Reopen opens a closed case again, in the phase in which it ended.
func (w *Work) Reopen(because string) error {
	if w.Case.Open() {
		return refused("the case is open")
	}
	if because == "" {
		return refused("say why it is opened again")
	}
	w.Case.Closed, w.Case.Resolution = time.Time{}, ""
	w.note("opened", "Opened again: %s", because)
	return nil
}

// Write sets the texts of the report; nil leaves one as it is.
func (w *Work) Write(summary, rootCause, lessons *string) {
	for _, f := range []struct {
		name  string
		field *string
		value *string
	}{{"summary", &w.Case.Summary, summary}, {"root cause", &w.Case.RootCause, rootCause}, {"lessons", &w.Case.Lessons, lessons}} {
		if f.value != nil && *f.value != *f.field {
			*f.field = *f.value
			w.note("text", "Wrote the %s", f.name)
		}
	}
}

// Acknowledge notes that a recipient has been told.
func (w *Work) Acknowledge(notice, how string) error {
	i := slices.IndexFunc(w.Notices, func(n Notice) bool { return n.ID == notice })
	if i < 0 || how == "" {
		return refused("name the notice and how the recipient was told")
	}
	n := &w.Notices[i]
	n.Acknowledged, n.AcknowledgedBy, n.How = w.Now, w.By, how
	w.note("notice", "%s was told: %s", n.Recipient, how)
	return nil
}

// Remark adds a line to the timeline. at is when it happened, zero for now.
func (w *Work) Remark(text string, at time.Time) error {
	if strings.TrimSpace(text) == "" || at.After(w.Now.Add(time.Minute)) {
		return refused("a note needs a text, and happened already")
	}
	w.note("note", "%s", text)
	if !at.IsZero() {
		w.Events[len(w.Events)-1].At = at.UTC()
	}
	return nil
}

// Learn takes what new hits show: facts that nobody has judged yet, models, times.
func (w *Work) Learn(s Seen) {
	c := w.Case
	if c.Facts == nil {
		c.Facts = Facts{}
	}
	shown := s.Facts(w.Now)
	for _, rule := range w.Playbook.Facts {
		f, ok := shown[rule.ID]
		if _, judged := c.Facts[rule.ID]; judged || !ok {
			continue
		}
		c.Facts[rule.ID] = f
		w.note("fact", "True: %s. %s", rule.Text, f.Reason)
	}
	for _, m := range s.Models {
		addOnce(&c.Models, m.Name)
	}
	c.Occurred, _ = span(c.Occurred, c.Occurred, s.First)
	c.Detected, _ = span(c.Detected, c.Detected, s.Received)
	if c.Subject == "" && len(s.Users) == 1 {
		c.Subject = s.Users[0]
	}
	if c.Vector == "" {
		if v, why := s.Vector(); v != "" {
			c.Vector = v
			rule, _ := w.Playbook.Vector(v) // proposed by this package
			w.note("vector", "Vector: %s, since %s", rule.Name, why)
		}
	}
	w.settle()
}

// MarkClock notes the marks of a clock that have come by now, each once, and
// returns the highest.
func (w *Work) MarkClock(c *Clock) (Mark, bool) {
	var last Mark
	found := false
	for {
		m, ok := c.NextMark()
		if !ok || m.At.After(w.Now) {
			return last, found
		}
		c.Marks, last, found = m.Percent, m, true
		if m.Percent < 100 {
			w.note("clock", "%d %% of the time used: %s, due %s UTC", m.Percent, c.Title, c.Due.UTC().Format("2006-01-02 15:04:05"))
			continue
		}
		c.Breached = w.Now
		w.note("breach", "Time ran out: %s, was due %s UTC", c.Title, c.Due.UTC().Format("2006-01-02 15:04:05"))
	}
}

package cases

import (
	"slices"
	"strings"
	"time"
)

// Action is one thing that a person does to a case, as the API and the console's
// forms send it. Do names it; the other fields are used as each says.
type Action struct {
	Do      string    `json:"do"`
	Value   string    `json:"value,omitempty"`   // vector, actor, state, resolution, level, name
	Reason  string    `json:"reason,omitempty"`  // why
	Text    string    `json:"text,omitempty"`    // of a note, a task, a decision
	Task    string    `json:"task,omitempty"`    // id or key
	Clock   string    `json:"clock,omitempty"`   // id
	Fact    string    `json:"fact,omitempty"`    // id of the playbook
	Row     string    `json:"row,omitempty"`     // id of the matrix
	Phase   string    `json:"phase,omitempty"`   // id
	Notice  string    `json:"notice,omitempty"`  // id
	Proof   string    `json:"proof,omitempty"`   // what shows that a task is done
	Minutes int       `json:"minutes,omitempty"` // time given
	True    *bool     `json:"true,omitempty"`    // of a fact
	At      time.Time `json:"at,omitzero"`       // when a noted thing happened

	Summary   *string `json:"summary,omitempty"`
	RootCause *string `json:"root_cause,omitempty"`
	Lessons   *string `json:"lessons,omitempty"`
}

// Limits of what people write.
const (
	maxLine = 4 << 10
	maxText = 64 << 10
)

// Check refuses an action that is too long for any use.
func (a *Action) Check() error {
	for _, s := range []string{a.Value, a.Reason, a.Task, a.Clock, a.Fact, a.Row, a.Phase, a.Notice, a.Proof} {
		if len(s) > maxLine {
			return refused("a field has %d bytes, at most %d are kept", len(s), maxLine)
		}
	}
	for _, s := range []*string{&a.Text, a.Summary, a.RootCause, a.Lessons} {
		if s != nil && len(*s) > maxText {
			return refused("a text has %d bytes, at most %d are kept", len(*s), maxText)
		}
	}
	return nil
}

// Actions lists what Apply knows.
func Actions() []string {
	return []string{"take", "vector", "severity", "actor", "fact", "decide", "task", "assign", "add_task", "pause", "resume", "advance", "back", "close", "reopen",
		"write", "note", "acknowledge", "tlp", "restrict", "title", "subject"}
}

// Apply does an action.
func (a *Action) Apply(w *Work, s *State) error {
	if err := a.Check(); err != nil {
		return err
	}
	switch a.Do {
	case "take":
		return w.Take(w.ByID, w.By)
	case "vector":
		return w.Classify(a.Value)
	case "severity":
		return w.SetSeverity(slices.Index([]string{"", "critical", "high", "medium", "low"}, a.Value), a.Reason)
	case "actor":
		return w.Judge(a.Value, a.Reason)
	case "fact":
		if a.True == nil {
			return refused("say whether the fact is true")
		}
		return w.SetFact(a.Fact, *a.True, a.Reason)
	case "decide":
		return w.OverrideRow(a.Row, Override{Decision: a.Text, Reason: a.Reason, Minutes: a.Minutes})
	case "task":
		return w.SettleTask(a.Task, a.Value, a.Proof, a.Reason)
	case "assign":
		return w.Assign(a.Task, a.Value)
	case "add_task":
		return w.AddTask(a.Phase, a.Text, a.Minutes)
	case "pause":
		return w.Pause(a.Clock, a.Reason)
	case "resume":
		return w.Resume(a.Clock)
	}
	return a.applyToCase(w, s)
}

func (a *Action) applyToCase(w *Work, s *State) error {
	switch a.Do {
	case "advance":
		return w.Advance(s, a.Reason)
	case "back":
		return w.Back(a.Phase, a.Reason)
	case "close":
		return w.Close(a.Value, s)
	case "reopen":
		return w.Reopen(a.Reason)
	case "write":
		w.Write(a.Summary, a.RootCause, a.Lessons)
		return nil
	case "note":
		return w.Remark(a.Text, a.At)
	case "acknowledge":
		return w.Acknowledge(a.Notice, a.Value)
	case "tlp":
		if !slices.Contains(TLPs(), a.Value) {
			return refused("TLP %.40q: want one of %q", a.Value, TLPs())
		}
		w.Case.TLP = a.Value
		w.note("tlp", "TLP:%s", a.Value)
		return nil
	case "restrict":
		return w.Restrict(a.Reason)
	case "title":
		if strings.TrimSpace(a.Value) == "" {
			return refused("a case needs a title")
		}
		w.Case.Title = a.Value
		w.note("title", "Title: %s", a.Value)
		return nil
	case "subject":
		if SamePerson(a.Value, w.Case.OwnerName) {
			return refused("%.80q owns the case and cannot be its subject", a.Value)
		}
		w.Case.Subject = a.Value
		w.note("subject", "Subject: %s", a.Value)
		return nil
	}
	return refused("%.40q: want one of %q", a.Do, Actions())
}

// Restrict keeps the case to its members from now on. There is no way back: what
// was kept from people cannot become known by a click.
func (w *Work) Restrict(because string) error {
	if w.Case.Restricted || because == "" {
		return refused("the case is restricted already, or the reason is missing")
	}
	w.Case.Restricted, w.Case.TLP = true, "RED"
	w.note("restricted", "Restricted to its members: %s", because)
	return nil
}

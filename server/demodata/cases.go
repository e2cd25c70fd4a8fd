package demodata

import (
	"strings"
	"time"

	"weightwarden/server/cases"
	"weightwarden/server/store"
)

// plot is how a made-up case goes.
type plot struct {
	ago        time.Duration // before the end of the fortnight
	title      string
	restricted bool
	take       time.Duration // after opening; 0: nobody has taken it
	reach      string        // phase; "closed"
	resolution string
	pace       time.Duration // from phase to phase after containment
	slow       bool          // containment takes as long as the rest
	facts      []string
}

func plots() []plot {
	const day = 24 * time.Hour
	return []plot{
		{12 * day, "Checkpoint on a private stick", false, 3 * time.Minute, "closed", "true_positive", 40 * time.Minute, false, []string{"weights_stolen", "insider"}},
		{11 * day, "Nightly backup that carried weights", false, 9 * time.Minute, "closed", "false_positive", 20 * time.Minute, true, nil},
		{9*day + 5*time.Hour, "Quantised copy in a synchronised folder", false, 4 * time.Minute, "closed", "true_positive", 55 * time.Minute, false, nil},
		{7 * day, "Red team exercise", false, 2 * time.Minute, "closed", "test", 15 * time.Minute, false, nil},
		{5*day + 2*time.Hour, "Weights pushed to an outside repository", false, 4 * time.Minute, "recover", "", 3 * time.Hour, true, []string{"weights_stolen", "competitor"}},
		{30 * time.Hour, "A matter of the people team", true, 6 * time.Minute, "contain", "", 2 * time.Hour, false, []string{"insider"}},
		{5 * time.Hour, "Merged model leaves by a network share", false, 5 * time.Minute, "contain", "", 30 * time.Minute, false, nil},
		{70 * time.Minute, "Regulated model in a download folder", false, 4 * time.Minute, "analyze", "", 20 * time.Minute, false, []string{"regulated"}},
		{4 * time.Minute, "Copy to a phone", false, 0, "detect", "", 0, false, nil},
	}
}

// caseEvents are cases in every phase, with clocks that were kept and missed.
func (w *world) caseEvents() ([]event, error) {
	pb, err := cases.PB53()
	if err != nil {
		return nil, err
	}
	var out []event
	for i, p := range plots() {
		out = append(out, w.caseOf(pb, i, p)...)
	}
	return out, nil
}

func (w *world) caseOf(pb *cases.Playbook, n int, p plot) []event {
	who := w.people[[]string{analyst, analyst2}[n%2]]
	start, id := w.now.Add(-p.ago), ""
	out := []event{{start, func() (err error) {
		id, err = w.openCase(pb, who, p)
		return err
	}}}
	at := func(after time.Duration, a cases.Action) {
		out = append(out, event{start.Add(after), func() error { return w.act(pb, who, id, a) }})
	}
	if p.take > 0 {
		at(p.take, cases.Action{Do: "take"})
	}
	yes := true
	for i, f := range p.facts {
		at(p.take+time.Duration(2+i)*time.Minute, cases.Action{Do: "fact", Fact: f, True: &yes, Reason: "Seen in the hits and confirmed by the owner of the model."})
	}
	out = append(out, w.phases(pb, who, p, start, &id)...)
	// Ticks where clocks of a case reach their marks, as a server's own would.
	for _, m := range []float64{2.5, 4, 5, 7.5, 12, 15, 24, 30, 120, 192, 240, 480, 1440, 4320} {
		out = append(out, event{start.Add(time.Duration(m*60)*time.Second + time.Second), func() error {
			_, err := w.Store.TickCases(w.ctx, pb, w.Clock.Now())
			return err
		}})
	}
	return out
}

// phases takes the case as far as its plot goes.
func (w *world) phases(pb *cases.Playbook, who store.Actor, p plot, start time.Time, id *string) []event {
	var out []event
	do := func(after time.Duration, run func() error) { out = append(out, event{start.Add(after), run}) }
	after := p.take
	for _, ph := range pb.Phases {
		if ph.ID == p.reach || p.take == 0 {
			break
		}
		if p.reach == "closed" && p.resolution != "true_positive" && ph.ID == "contain" {
			break
		}
		step := p.pace
		if quick := map[string]time.Duration{"detect": time.Minute, "analyze": 5 * time.Minute, "contain": 3 * time.Minute}[ph.ID]; quick > 0 && !p.slow {
			step = quick
		}
		after += step
		do(after, func() error { return w.settle(pb, who, *id, ph.ID) })
		if ph.ID != "lessons" {
			do(after+time.Minute, func() error {
				return w.act(pb, who, *id, cases.Action{Do: "advance", Reason: "The rest is tracked with the storage team."})
			})
		}
	}
	if p.reach == "closed" {
		summary, cause, lessons := "What was found is in the alerts. The copy was removed in the presence of its owner, and the fleet was searched.", "Removable media were not blocked on research machines.",
			"Policy \"lockdown\" for the research label; new starters are told on their first day."
		do(after+2*time.Minute, func() error {
			return w.act(pb, who, *id, cases.Action{Do: "write", Summary: &summary, RootCause: &cause, Lessons: &lessons})
		})
		if p.resolution == "false_positive" || p.resolution == "test" {
			do(after+3*time.Minute, func() error { return w.agree(who, *id) })
		}
		do(after+5*time.Minute, func() error { return w.act(pb, who, *id, cases.Action{Do: "close", Value: p.resolution}) })
	}
	return out
}

// openCase opens a case on the newest alert that is in none.
func (w *world) openCase(pb *cases.Playbook, who store.Actor, p plot) (string, error) {
	list, err := w.Store.Alerts(w.ctx, store.AlertFilter{State: "active", Limit: 200})
	if err != nil {
		return "", err
	}
	n := store.NewCase{Title: p.title, TLP: "AMBER", Restricted: p.restricted, Severity: store.SeverityCritical}
	if p.restricted {
		// Who looks at the demo is the first administrator; he shall find it.
		n.TLP, n.Members = "RED", w.administrators()
	}
	for _, a := range list {
		if a.CaseID == "" && a.Severity <= store.SeverityHigh {
			n.Alerts = []string{a.ID}
			break
		}
	}
	return w.Store.OpenCase(w.ctx, who, pb, n)
}

func (w *world) administrators() []cases.Member {
	tokens, err := w.Store.Tokens(w.ctx)
	if err != nil {
		return nil
	}
	for _, t := range tokens {
		if strings.Contains(t.Name, "administrator") {
			return []cases.Member{{Actor: t.ID, Name: t.Name}}
		}
	}
	return nil
}

func (w *world) act(pb *cases.Playbook, who store.Actor, id string, a cases.Action) error {
	return w.Store.ChangeCase(w.ctx, who, pb, store.ActionChange(id, 0, &a))
}

// settle ends the tasks of a phase and answers what it asks.
func (w *world) settle(pb *cases.Playbook, who store.Actor, id, phase string) error {
	f, err := w.Store.Case(w.ctx, who, pb, id)
	if err != nil {
		return err
	}
	if phase == "analyze" {
		a := cases.Action{Do: "actor", Value: cases.ActorInsider, Reason: "An account of ours on a machine of ours."}
		if err := w.act(pb, who, id, a); err != nil {
			return err
		}
		for _, d := range pb.Decide(&f.Case) {
			if d.Calendar == cases.Policy {
				if err := w.act(pb, who, id, cases.Action{Do: "decide", Row: d.ID, Minutes: 240, Reason: "Incident policy, section 4."}); err != nil {
					return err
				}
			}
		}
	}
	for i, t := range f.Tasks {
		if t.State != cases.TaskOpen || t.Phase != phase && !(phase == "contain" && t.Group == "decide") {
			continue
		}
		a := cases.Action{Do: "task", Task: t.ID, Value: cases.TaskDone, Proof: []string{"Ticket SEC-2210.", "Seen in the IAM log.", "Confirmed by the owner."}[i%3]}
		if strings.Contains(strings.ToLower(t.Text), "api") {
			a = cases.Action{Do: "task", Task: t.ID, Value: cases.TaskNA, Reason: "No API is involved."}
		}
		if err := w.act(pb, who, id, a); err != nil {
			return err
		}
	}
	return nil
}

// agree lets a second person agree to closing a critical case as a false alarm.
func (w *world) agree(who store.Actor, id string) error {
	ask, err := w.Store.AskApproval(w.ctx, who, id, cases.ApproveFalsePositive, "The backup job is known and will be authorised.")
	if err != nil {
		return err
	}
	return w.Store.DecideApproval(w.ctx, w.people[lead], id, ask, true)
}

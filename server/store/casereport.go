package store

import (
	"time"

	"weightwarden/server/cases"
	"weightwarden/server/techniques"
)

// ActionChange is a person's action as a change of a case.
func ActionChange(id string, revision int64, a *cases.Action) CaseChange {
	detail := map[string]any{"do": a.Do}
	for name, v := range map[string]string{"value": a.Value, "task": a.Task, "fact": a.Fact, "row": a.Row, "phase": a.Phase, "clock": a.Clock, "notice": a.Notice} {
		if v != "" {
			detail[name] = cut(v, 200)
		}
	}
	return CaseChange{Case: id, Revision: revision, Action: "case." + cut(a.Do, 40), Detail: detail, Do: a.Apply}
}

// Report puts a case together for its incident report.
func (f *CaseFile) Report(pb *cases.Playbook, now time.Time, by, program string) cases.Report {
	r := cases.Report{Made: now.UTC(), MadeBy: by, Program: program, Case: f.Case, Seen: f.Seen, Tasks: f.Tasks, Clocks: f.Clocks, Notices: f.Notices, Timeline: f.Events,
		Observables: f.Observables, Custody: f.Custody, Sweeps: f.State.Sweeps, Copies: f.State.Copies, Techniques: f.Techniques(pb)}
	for _, a := range f.Alerts {
		r.Alerts = append(r.Alerts, cases.AlertLine{ID: a.ID, Severity: a.Severity, Verdict: string(a.Verdict), Model: a.Model + " " + a.Version, Host: a.Host, User: a.User,
			Place: a.DestClass, Path: a.Path, Coverage: a.Coverage, Hits: a.Hits})
	}
	return pb.NewReport(r)
}

// Techniques are those of the case's vector and of its alerts, each once.
func (f *CaseFile) Techniques(pb *cases.Playbook) []cases.Technique {
	var out []cases.Technique
	seen := map[string]bool{}
	add := func(t techniques.Technique) {
		if !seen[t.ID] {
			seen[t.ID] = true
			out = append(out, cases.Technique{ID: t.ID, Name: t.Name, Framework: t.Framework + " " + t.Version})
		}
	}
	if v, ok := pb.Vector(f.Vector); ok {
		for _, id := range v.Techniques {
			if t, ok := techniques.Find(id); ok {
				add(t)
			}
		}
	}
	for _, a := range f.Alerts {
		for _, t := range techniques.For(a.Facts()) {
			add(t)
		}
	}
	return out
}

// Measure computes the KPIs of the figures.
func (f *CaseFigures) Measure() cases.Figures {
	out := cases.Measure(f.Cases, f.Alert)
	for _, x := range f.SLA {
		out.Metrics = append(out.Metrics, cases.MetricShare{Metric: x.Metric, Share: cases.Share{Part: x.Kept, Whole: x.Kept + x.Missed}})
	}
	return out
}

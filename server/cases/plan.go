package cases

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Decision is a row of the matrix that holds for a case now.
type Decision struct {
	Row
	Override *Override // the analyst's own, nil for the playbook's
}

// Decide returns the rows that hold for a case, in the playbook's order.
func (p *Playbook) Decide(c *Case) []Decision {
	var out []Decision
	for _, row := range p.Matrix {
		if !c.Facts.True(row.Any...) || c.Facts.True(row.Unless...) {
			continue
		}
		d := Decision{Row: row}
		if o, ok := c.Override[row.ID]; ok {
			d.Override = &o
		}
		out = append(out, d)
	}
	return out
}

// Plan is what a case must have beside what it has.
type Plan struct {
	Tasks   []PlannedTask
	Notices []PlannedNotice
	Moot    []string // keys of open decision tasks whose row holds no more
}

// PlannedTask is a task with its clock, if it has one.
type PlannedTask struct {
	TaskItem
	Calendar Calendar
	Time     time.Duration // 0 and a calendar other than Shift: no clock
}

// Timed reports whether the task has a clock.
func (t *PlannedTask) Timed() bool { return t.Time > 0 || t.Calendar == Shift }

// PlannedNotice is a message that a fact asks for.
type PlannedNotice struct {
	Fact      string
	Recipient string
	Text      string
}

// Missing compares a case with the playbook: the tasks that its phase, vector,
// facts and decisions bring, and the notices that its facts ask for, less what is
// there already. It may be called after every change and adds nothing twice.
func (p *Playbook) Missing(c *Case, tasks []TaskItem, notices []Notice) Plan {
	have := make(map[string]*TaskItem, len(tasks))
	for i := range tasks {
		have[tasks[i].Key] = &tasks[i]
	}
	var out Plan
	decisions := p.Decide(c)
	for _, d := range decisions {
		if have["decide."+d.ID] == nil {
			out.Tasks = append(out.Tasks, decisionTask(d, len(tasks)+len(out.Tasks)))
		}
	}
	for _, id := range p.groupsOf(c, decisions) {
		g, ok := p.Group(id)
		if !ok {
			continue
		}
		for _, t := range g.Tasks {
			if key := g.ID + "." + t.ID; have[key] == nil {
				out.Tasks = append(out.Tasks, plannedTask(g, t, key, len(tasks)+len(out.Tasks)))
			}
		}
	}
	for key, t := range have {
		row, ok := strings.CutPrefix(key, "decide.")
		if ok && t.State == TaskOpen && !slices.ContainsFunc(decisions, func(d Decision) bool { return d.ID == row }) {
			out.Moot = append(out.Moot, key)
		}
	}
	slices.Sort(out.Moot)
	out.Notices = p.notices(c, notices)
	return out
}

func decisionTask(d Decision, position int) PlannedTask {
	text, minutes := d.Decision, d.Minutes
	if d.Override != nil {
		text, minutes = d.Override.Decision, d.Override.Minutes
	}
	calendar := d.Calendar
	if minutes > 0 && calendar == Policy {
		calendar = Always
	}
	return PlannedTask{Calendar: calendar, Time: time.Duration(minutes) * time.Minute,
		TaskItem: TaskItem{Key: "decide." + d.ID, Group: "decide", Phase: "contain", Text: text, Tool: "Decision matrix", Roles: d.Owners, State: TaskOpen, NeedsWhy: true, Position: position}}
}

func plannedTask(g Group, t TaskRule, key string, position int) PlannedTask {
	text := t.Text
	if t.How != "" {
		text += ": " + strings.ToLower(t.How[:1]) + t.How[1:]
	}
	return PlannedTask{Calendar: g.Calendar, Time: time.Duration(g.Minutes) * time.Minute,
		TaskItem: TaskItem{Key: key, Group: g.ID, Phase: g.Phase, Text: text, Tool: t.Tool, Roles: t.Roles, State: TaskOpen, NeedsWhy: g.Proof, Position: position}}
}

// groupsOf lists the groups of tasks that a case has, without repetition: the
// triage from the start, containment by decisions, vector and facts, and the lists
// of the phases that it has reached.
func (p *Playbook) groupsOf(c *Case, decisions []Decision) []string {
	out := []string{"triage"}
	add := func(ids []string) {
		for _, id := range ids {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	for _, d := range decisions {
		add(d.Groups)
	}
	if v, ok := p.Vector(c.Vector); ok {
		add(v.Groups)
	}
	for _, f := range p.Facts {
		if c.Facts.True(f.ID) {
			add(f.Groups)
		}
	}
	reached := p.phase(c.Phase)
	for _, g := range p.Groups {
		if at := p.phase(g.Phase); at > p.phase("contain") && at <= reached {
			add([]string{g.ID})
		}
	}
	return out
}

func (p *Playbook) notices(c *Case, have []Notice) []PlannedNotice {
	var out []PlannedNotice
	for _, f := range p.Facts {
		if !c.Facts.True(f.ID) {
			continue
		}
		for _, to := range f.Notify {
			if !slices.ContainsFunc(have, func(n Notice) bool { return n.Fact == f.ID && n.Recipient == to }) {
				out = append(out, PlannedNotice{Fact: f.ID, Recipient: to, Text: c.noticeText(f)})
			}
		}
	}
	return out
}

// noticeText is neutral where the case is restricted: it names neither person nor
// model nor what happened.
func (c *Case) noticeText(f FactRule) string {
	if c.Restricted {
		return fmt.Sprintf("Matter %s needs you. Sign in to read it.", c.Ref())
	}
	return fmt.Sprintf("%s, severity %s: %s. Models: %s.", c.Ref(), SeverityName(c.Severity), f.Text, strings.Join(orNone(c.Models), ", "))
}

func orNone(list []string) []string {
	if len(list) == 0 {
		return []string{"not known yet"}
	}
	return list
}

// Ref is the case's name among people: "WW-12".
func (c *Case) Ref() string { return fmt.Sprintf("WW-%d", c.Number) }

// Number is the number of the case that a reference names, in either case of
// letters; 0 for any other text.
func Number(ref string) int64 {
	digits, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(ref)), "WW-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}

// SeverityName is "critical", "high", "medium" or "low".
func SeverityName(n int) string {
	return []string{"unknown", "critical", "high", "medium", "low"}[min(max(n, 0), 4)]
}

// CaseClocks are the clocks of a new case after its severity's targets.
func (p *Playbook) CaseClocks(c *Case) []Clock {
	t := p.Targets[fmt.Sprint(c.Severity)]
	var out []Clock
	for _, m := range []struct {
		metric, title string
		minutes       int
		roles         []string
	}{
		{Acknowledge, "Acknowledge the case", t.Acknowledge, []string{"SOC Analyst"}},
		{Triage, "Finish the triage", t.Triage, []string{"SOC Analyst"}},
		{Contain, "Contain", t.Contain, []string{"IR Engineer"}},
		{Resolve, "Resolve", t.Resolve, []string{"SOC Manager"}},
	} {
		due, ok := t.Calendar.Due(c.Opened, time.Duration(m.minutes)*time.Minute)
		if ok {
			out = append(out, Clock{Case: c.ID, Metric: m.metric, Title: m.title, Roles: m.roles, Calendar: t.Calendar, Started: c.Opened, Due: due})
		}
	}
	return out
}

package cases

import (
	"fmt"
	"slices"
	"strings"
)

// State is what the checks of a phase look at.
type State struct {
	Case    *Case
	Tasks   []TaskItem
	Clocks  []Clock
	Alerts  int   // joined to the case
	Signals int   // told by other systems
	Copies  int64 // places that hold a copy of its models and may not
	Sweeps  []SweepState
	Agreed  []string // actions to which a second person has agreed
}

// SweepState is how far a sweep for a model of the case came.
type SweepState struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Agents int64  `json:"agents"` // active ones
	Done   int64  `json:"done"`   // that looked at everything they watch
	Ended  bool   `json:"ended"`
}

// Check is one condition for the end of a phase.
type Check struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Met  bool   `json:"met"`
	Why  string `json:"why"` // what is missing
}

// ExitChecks says what a phase needs before it ends, and whether it has it.
func (p *Playbook) ExitChecks(phase string, s *State) []Check {
	i := p.phase(phase)
	if i < 0 {
		return nil
	}
	var out []Check
	for _, id := range p.Phases[i].Exit {
		out = append(out, p.check1(id, s))
	}
	return out
}

// Unmet returns what is missing of a list of checks.
func Unmet(checks []Check) []string {
	var out []string
	for _, c := range checks {
		if !c.Met {
			out = append(out, c.Text+" ("+c.Why+")")
		}
	}
	return out
}

func (p *Playbook) check1(id string, s *State) Check {
	c := s.Case
	switch id {
	case "owner":
		return check(id, "Somebody owns the case", c.Owner != "", "take it")
	case "source":
		return check(id, "An alert or a report stands behind it", s.Alerts+s.Signals > 0, "join an alert")
	case "vector":
		return check(id, "The theft vector is classified", c.Vector != "", "choose one of the five")
	case "actor":
		return check(id, "External or insider: judged, with a reason", c.Actor != ActorUnknown && c.ActorReason != "", "say which and why")
	case "policy_time":
		return p.policyTime(s)
	case "triage":
		return settled(id, "Every question of the triage is answered", s.Tasks, "triage")
	case "contained":
		return settled(id, "Every containment task is done or does not apply", s.Tasks, "contain.", "decide")
	case "eradicated":
		ch := settled(id, "Copies are removed, returned or authorised", s.Tasks, "eradicate")
		if ch.Met && s.Copies > 0 {
			ch.Met, ch.Why = false, fmt.Sprintf("the inventory still shows %d", s.Copies)
		}
		return ch
	case "swept":
		return swept(id, s)
	case "recovered":
		return settled(id, "The recovery list is worked off", s.Tasks, "recovery")
	case "reviewed":
		return settled(id, "The post-incident list is worked off", s.Tasks, "post")
	case "root_cause":
		return check(id, "The root cause is written down", strings.TrimSpace(c.RootCause) != "", "write it")
	case "lessons":
		return check(id, "The lessons are written down", strings.TrimSpace(c.Lessons) != "", "write them")
	}
	return check(id, "Unknown check "+id, false, "the playbook names a check that this version does not know")
}

func check(id, text string, met bool, why string) Check {
	if met {
		why = ""
	}
	return Check{id, text, met, why}
}

// policyTime holds the playbook to "per incident policy": where a row leaves the
// time to the organisation, somebody has set it.
func (p *Playbook) policyTime(s *State) Check {
	for _, d := range p.Decide(s.Case) {
		if d.Calendar == Policy && (d.Override == nil || d.Override.Minutes <= 0) {
			return check("policy_time", "The time that incident policy gives is set", false, "set the minutes of: "+d.Decision)
		}
	}
	return check("policy_time", "The time that incident policy gives is set", true, "")
}

// settled asks that no task of the groups is open. A name ending in "." stands for
// all groups that begin so.
func settled(id, text string, tasks []TaskItem, groups ...string) Check {
	open, all := 0, 0
	for _, t := range tasks {
		in := slices.ContainsFunc(groups, func(g string) bool {
			return t.Group == g || strings.HasSuffix(g, ".") && strings.HasPrefix(t.Group, g)
		})
		if !in {
			continue
		}
		all++
		if t.State == TaskOpen {
			open++
		}
	}
	if all == 0 {
		return check(id, text, true, "")
	}
	return check(id, text, open == 0, fmt.Sprintf("%d of %d open", open, all))
}

// swept asks for an answer of the fleet: for each model of the case a sweep that
// ended. It does not ask that every agent was reached; the coverage is shown.
func swept(id string, s *State) Check {
	const text = "The fleet was searched for the models"
	for _, m := range s.Case.Models {
		i := slices.IndexFunc(s.Sweeps, func(w SweepState) bool {
			return (w.Model == m || w.Model == "") && (w.Ended || w.Done == w.Agents && w.Agents > 0)
		})
		if i < 0 {
			return check(id, text, false, fmt.Sprintf("no ended sweep for %.80q", m))
		}
	}
	return check(id, text, true, "")
}

// CanClose says whether a case may be closed with a resolution now. A case in its
// last phase needs that phase's checks; a false alarm, an authorised copy or a
// test may end in any phase once it has an owner and a summary of why.
func (p *Playbook) CanClose(resolution string, s *State) error {
	if !slices.Contains(Resolutions(), resolution) {
		return refused("resolution %.40q: want one of %q", resolution, Resolutions())
	}
	if strings.TrimSpace(s.Case.Summary) == "" {
		return refused("write the summary first: it heads the report")
	}
	if s.Case.Owner == "" {
		return refused("the case has no owner")
	}
	critical := s.Case.Severity == 1 || s.Case.Worst == 1
	if critical && (resolution == "false_positive" || resolution == "test") && !slices.Contains(s.Agreed, ApproveFalsePositive) {
		return refused("closing a case that is or was critical as a false positive or a test needs a second person: ask for approval")
	}
	if resolution != "true_positive" {
		return nil
	}
	if last := p.Phases[len(p.Phases)-1].ID; s.Case.Phase != last {
		return refused("the case is in the phase %q; a theft is closed from %q", s.Case.Phase, last)
	}
	if missing := Unmet(p.ExitChecks(s.Case.Phase, s)); len(missing) > 0 {
		return refused("not yet: %s", strings.Join(missing, "; "))
	}
	return nil
}

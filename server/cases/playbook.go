// Package cases is PB-53, the playbook for stolen models, as rules over data: which
// tasks a case has, what its facts decide and whom they notify, when each clock
// runs out, what a phase needs before it may end, and how a report reads. Nothing
// here stores or sends; server/store keeps what these rules say.
//
// The playbook is pb53.json. Its lines are those of "PB-53 AI Model Theft /
// Exfiltration Response" of the SOC-Standard-Operating-Procedures project
// (revision of 2026-04-26); docs/playbook-pb53.md says of each line what does it.
package cases

import (
	"bytes"
	_ "embed" // the playbook
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed pb53.json
var pb53 []byte

// Playbook is a playbook as data.
type Playbook struct {
	ID          string             `json:"id"`
	Version     string             `json:"version"`
	Title       string             `json:"title"`
	Category    string             `json:"category"`
	Severity    int                `json:"severity"`
	Techniques  []string           `json:"techniques"` // MITRE ATLAS and ATT&CK ids
	Phases      []Phase            `json:"phases"`     // in order
	Vectors     []Vector           `json:"vectors"`
	Facts       []FactRule         `json:"facts"`
	Matrix      []Row              `json:"matrix"`
	Groups      []Group            `json:"groups"`
	Observables []ObservableType   `json:"observables"`
	Targets     map[string]Targets `json:"targets"` // by severity, "1" to "4"
}

// Phase is a step of a case. Exit names the checks that it needs to end.
type Phase struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Exit []string `json:"exit"`
}

// Vector is a way in which a model gets away.
type Vector struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Indicator  string   `json:"indicator"`
	Severity   int      `json:"severity"`
	Assets     []string `json:"assets"` // "weights", "data", "model"
	Groups     []string `json:"groups,omitempty"`
	Techniques []string `json:"techniques"`
}

// FactRule is a statement that people, or the hits, find true or false.
type FactRule struct {
	ID     string   `json:"id"`
	Text   string   `json:"text"`
	Notify []string `json:"notify,omitempty"` // exactly the recipients that the playbook names
	Groups []string `json:"groups,omitempty"` // tasks that it brings
}

// Row is a line of the decision matrix. It holds when any of Any is true and none
// of Unless.
type Row struct {
	ID        string   `json:"id"`
	Any       []string `json:"any"`
	Unless    []string `json:"unless,omitempty"`
	Condition string   `json:"condition"`
	Decision  string   `json:"decision"`
	Owners    []string `json:"owners"`
	SLA       string   `json:"sla"`      // as the playbook words it
	Calendar  Calendar `json:"calendar"` // Policy: no time before somebody sets one
	Minutes   int      `json:"minutes,omitempty"`
	Groups    []string `json:"groups,omitempty"`
}

// Group is a list of tasks with a common clock.
type Group struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Phase    string     `json:"phase"`
	Minutes  int        `json:"minutes,omitempty"` // 0: no clock
	Calendar Calendar   `json:"calendar,omitempty"`
	Proof    bool       `json:"proof,omitempty"` // done needs proof: a log event, a ticket, an upload
	Tasks    []TaskRule `json:"tasks"`
}

// TaskRule is one line of a list.
type TaskRule struct {
	ID    string   `json:"id"`
	Text  string   `json:"text"`
	How   string   `json:"how,omitempty"`
	Tool  string   `json:"tool,omitempty"`
	Kind  string   `json:"kind"` // "do": the software does or shows it; "feed": it tells another system; "task": people do it elsewhere
	Roles []string `json:"roles,omitempty"`
	Link  string   `json:"link,omitempty"` // page that shows or does it; {model}, {user}, {case} are filled in
}

// ObservableType is a line of the playbook's table of indicators.
type ObservableType struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Source    string `json:"source"`
	Sensitive bool   `json:"sensitive,omitempty"` // kept to the case, never exported to others
}

// Targets are the service levels of a severity, in minutes of the calendar.
type Targets struct {
	Acknowledge int      `json:"acknowledge"`
	Triage      int      `json:"triage"`
	Contain     int      `json:"contain"`
	Resolve     int      `json:"resolve"`
	Calendar    Calendar `json:"calendar"`
}

// PB53 returns the playbook.
func PB53() (*Playbook, error) { return Parse(pb53) }

// Parse reads a playbook and refuses one whose parts do not fit together.
func Parse(text []byte) (*Playbook, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var p Playbook
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	return &p, p.check()
}

func (p *Playbook) check() error {
	var groups, facts []string
	for _, g := range p.Groups {
		groups = append(groups, g.ID)
		if p.phase(g.Phase) < 0 {
			return fmt.Errorf("playbook: group %q is of the unknown phase %q", g.ID, g.Phase)
		}
		if g.Minutes > 0 && !g.Calendar.known() {
			return fmt.Errorf("playbook: group %q: unknown calendar %q", g.ID, g.Calendar)
		}
	}
	for _, f := range p.Facts {
		facts = append(facts, f.ID)
		if g, ok := missing(f.Groups, groups); ok {
			return fmt.Errorf("playbook: fact %q names the unknown group %q", f.ID, g)
		}
	}
	for _, v := range p.Vectors {
		if g, ok := missing(v.Groups, groups); ok {
			return fmt.Errorf("playbook: vector %q names the unknown group %q", v.ID, g)
		}
	}
	for _, r := range p.Matrix {
		if f, ok := missing(slices.Concat(r.Any, r.Unless), facts); ok {
			return fmt.Errorf("playbook: row %q names the unknown fact %q", r.ID, f)
		}
		if g, ok := missing(r.Groups, groups); ok {
			return fmt.Errorf("playbook: row %q names the unknown group %q", r.ID, g)
		}
		if !r.Calendar.known() || r.Calendar == Always && r.Minutes <= 0 {
			return fmt.Errorf("playbook: row %q has no time", r.ID)
		}
	}
	for _, level := range []string{"1", "2", "3", "4"} {
		if t, ok := p.Targets[level]; !ok || !t.Calendar.known() || t.Acknowledge <= 0 || t.Triage <= 0 || t.Contain <= 0 || t.Resolve <= 0 {
			return fmt.Errorf("playbook: severity %s lacks a target", level)
		}
	}
	return nil
}

// missing returns the first of want that is not in have.
func missing(want, have []string) (string, bool) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return w, true
		}
	}
	return "", false
}

func (p *Playbook) phase(id string) int {
	return slices.IndexFunc(p.Phases, func(ph Phase) bool { return ph.ID == id })
}

// PhaseName returns the name of a phase, or its id if it is none of the playbook.
func (p *Playbook) PhaseName(id string) string {
	if i := p.phase(id); i >= 0 {
		return p.Phases[i].Name
	}
	return id
}

// NextPhase returns the phase after one, "" after the last.
func (p *Playbook) NextPhase(id string) string {
	if i := p.phase(id); i >= 0 && i+1 < len(p.Phases) {
		return p.Phases[i+1].ID
	}
	return ""
}

// HasPhase reports whether id is a phase.
func (p *Playbook) HasPhase(id string) bool { return p.phase(id) >= 0 }

// Vector returns a vector by its id.
func (p *Playbook) Vector(id string) (Vector, bool) {
	i := slices.IndexFunc(p.Vectors, func(v Vector) bool { return v.ID == id })
	if i < 0 {
		return Vector{}, false
	}
	return p.Vectors[i], true
}

// Fact returns the rule of a fact by its id.
func (p *Playbook) Fact(id string) (FactRule, bool) {
	i := slices.IndexFunc(p.Facts, func(f FactRule) bool { return f.ID == id })
	if i < 0 {
		return FactRule{}, false
	}
	return p.Facts[i], true
}

// Group returns a list of tasks by its id.
func (p *Playbook) Group(id string) (Group, bool) {
	i := slices.IndexFunc(p.Groups, func(g Group) bool { return g.ID == id })
	if i < 0 {
		return Group{}, false
	}
	return p.Groups[i], true
}

// TaskRule returns the line of the playbook behind a task's key.
func (p *Playbook) TaskRule(key string) (TaskRule, bool) {
	for _, g := range p.Groups {
		for _, t := range g.Tasks {
			if g.ID+"."+t.ID == key {
				return t, true
			}
		}
	}
	return TaskRule{}, false
}

// ObservableType returns a kind of indicator.
func (p *Playbook) ObservableType(id string) (ObservableType, bool) {
	i := slices.IndexFunc(p.Observables, func(o ObservableType) bool { return o.Type == id })
	if i < 0 {
		return ObservableType{}, false
	}
	return p.Observables[i], true
}

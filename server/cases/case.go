package cases

import (
	"errors"
	"slices"
	"time"
)

// ErrRefused is wrapped by every error that says that a rule of the playbook does
// not allow something.
var ErrRefused = errors.New("the playbook does not allow this")

// Case is the work on one theft, or what may be one.
type Case struct {
	ID              string              `json:"id"`
	Number          int64               `json:"number"` // for people: WW-12
	Title           string              `json:"title"`
	Playbook        string              `json:"playbook"`
	PlaybookVersion string              `json:"playbook_version"`
	Phase           string              `json:"phase"`
	Severity        int                 `json:"severity"` // 1 critical .. 4 low
	Worst           int                 `json:"-"`        // severity it ever had
	Vector          string              `json:"vector"`
	TLP             string              `json:"tlp"`        // traffic light protocol: "RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"
	Restricted      bool                `json:"restricted"` // only its members know of it
	Hold            bool                `json:"hold"`       // legal hold: nothing of it is ever deleted
	Subject         string              `json:"subject"`    // user whom it concerns, as hits name them
	Actor           string              `json:"actor"`      // "unknown", "external", "insider"
	ActorReason     string              `json:"actor_reason"`
	Owner           string              `json:"owner"` // id of a person or token
	OwnerName       string              `json:"owner_name"`
	Summary         string              `json:"summary"`
	RootCause       string              `json:"root_cause"`
	Lessons         string              `json:"lessons"`
	Models          []string            `json:"models"`
	Facts           Facts               `json:"facts"`
	Override        map[string]Override `json:"override,omitzero"` // by row of the matrix
	Resolution      string              `json:"resolution"`        // of a closed case: "true_positive", "false_positive", "authorised", "test"
	OpenedBy        string              `json:"opened_by"`
	Occurred        time.Time           `json:"occurred,omitzero"` // first activity in the hits
	Detected        time.Time           `json:"detected,omitzero"` // first hit received
	Opened          time.Time           `json:"opened,omitzero"`
	Acknowledged    time.Time           `json:"acknowledged,omitzero"`
	Triaged         time.Time           `json:"triaged,omitzero"`
	Contained       time.Time           `json:"contained,omitzero"`
	Closed          time.Time           `json:"closed,omitzero"`
	Updated         time.Time           `json:"updated,omitzero"`
	Revision        int64               `json:"revision"` // rises with every change, for If-Match
}

// States of an actor.
const (
	ActorUnknown  = "unknown"
	ActorExternal = "external"
	ActorInsider  = "insider"
)

// Open reports whether the case is still worked on.
func (c *Case) Open() bool { return c.Closed.IsZero() }

// Fact is what somebody, or the hits, found of a statement.
type Fact struct {
	Value  bool      `json:"value"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Facts are statements by their id in the playbook; a missing one is unknown.
type Facts map[string]Fact

// True reports whether any of the facts is true.
func (f Facts) True(ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return f[id].Value })
}

// Override is a decision that differs from the matrix, with its reason.
type Override struct {
	Decision string    `json:"decision"`
	Reason   string    `json:"reason"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
	Minutes  int       `json:"minutes,omitempty"` // the time of a row that the playbook leaves to policy
}

// States of a task.
const (
	TaskOpen = "open"
	TaskDone = "done"
	TaskNA   = "not_applicable"
)

// TaskItem is one thing to do.
type TaskItem struct {
	ID       string    `json:"id"`
	Case     string    `json:"case"`
	Key      string    `json:"key"` // "GROUP.TASK" of the playbook, "decide.ROW", or "own.N"
	Group    string    `json:"group"`
	Phase    string    `json:"phase"`
	Text     string    `json:"text"`
	Tool     string    `json:"tool"`
	Roles    []string  `json:"roles"` // who is to do it
	Assignee string    `json:"assignee"`
	State    string    `json:"state"`
	Proof    string    `json:"proof"`       // what shows that it was done: a log line, a ticket, a link
	Reason   string    `json:"reason"`      // why it does not apply
	NeedsWhy bool      `json:"needs_proof"` // done needs proof
	Position int       `json:"position"`
	Created  time.Time `json:"created,omitzero"`
	Done     time.Time `json:"done,omitzero"`
	DoneBy   string    `json:"done_by"`
}

// Settle checks and applies a new state of a task. Nothing is done without the
// proof that the playbook asks for, and nothing is waved away without a reason.
func (t *TaskItem) Settle(state, proof, reason, by string, now time.Time) error {
	switch state {
	case TaskOpen:
		t.State, t.Done, t.DoneBy = TaskOpen, time.Time{}, ""
		return nil
	case TaskDone:
		if t.NeedsWhy && proof == "" {
			return refused("%q is done only with proof: name the log event, ticket or file that shows it", t.Text)
		}
	case TaskNA:
		if reason == "" {
			return refused("say why %q does not apply", t.Text)
		}
	default:
		return refused("state %.40q: want open, done or not_applicable", state)
	}
	t.State, t.Proof, t.Reason, t.Done, t.DoneBy = state, proof, reason, now.UTC(), by
	return nil
}

// Event is a line of a case's timeline.
type Event struct {
	ID     string    `json:"id"`
	Case   string    `json:"case"`
	At     time.Time `json:"at,omitzero"`    // when it happened
	Noted  time.Time `json:"noted,omitzero"` // when it was written down
	By     string    `json:"by"`
	Kind   string    `json:"kind"` // "opened", "phase", "fact", "task", "clock", "note", "hit", "notice", ...
	Text   string    `json:"text"`
	Detail string    `json:"detail"`
}

// Observable is an indicator of compromise.
type Observable struct {
	ID        string    `json:"id"`
	Case      string    `json:"case"`
	Type      string    `json:"type"`
	Value     string    `json:"value"`
	Source    string    `json:"source"`
	FirstSeen time.Time `json:"first_seen,omitzero"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	Sensitive bool      `json:"sensitive"` // never leaves the case but in its sealed bundle
	Note      string    `json:"note"`
}

// Notice is a message to a recipient that a fact of the playbook asks for.
type Notice struct {
	ID             string    `json:"id"`
	Case           string    `json:"case"`
	Fact           string    `json:"fact"`
	Recipient      string    `json:"recipient"`
	Text           string    `json:"text"`
	Created        time.Time `json:"created,omitzero"`
	Targets        int       `json:"targets"` // how many outputs carry it; 0: nobody is set up, tell them by hand
	Acknowledged   time.Time `json:"acknowledged,omitzero"`
	AcknowledgedBy string    `json:"acknowledged_by"`
	How            string    `json:"how"` // "phone", "mail", ...; of the acknowledgement
}

// Custody is a line of the chain of custody.
type Custody struct {
	ID      string    `json:"id"`
	Case    string    `json:"case"`
	At      time.Time `json:"at,omitzero"`
	By      string    `json:"by"`
	Action  string    `json:"action"` // "sealed", "downloaded", "transferred", "verified"
	Item    string    `json:"item"`
	SHA256  string    `json:"sha256"`
	To      string    `json:"to"`
	Purpose string    `json:"purpose"`
}

// Member is somebody who may know of a restricted case.
type Member struct {
	Actor   string    `json:"actor"`
	Name    string    `json:"name"`
	Added   time.Time `json:"added,omitzero"`
	AddedBy string    `json:"added_by"`
}

// Approval is something that needs a second person.
type Approval struct {
	ID        string    `json:"id"`
	Case      string    `json:"case"`
	Action    string    `json:"action"` // ApproveFalsePositive, ApproveLiftHold
	Reason    string    `json:"reason"`
	Asked     time.Time `json:"asked,omitzero"`
	AskedBy   string    `json:"asked_by"`
	AskedName string    `json:"asked_name"`
	Decided   time.Time `json:"decided,omitzero"`
	DecidedBy string    `json:"decided_by"`
	Approved  bool      `json:"approved"`
}

// What needs two people.
const (
	ApproveFalsePositive = "close_false_positive" // or as a test, of a case that is or was critical
	ApproveLiftHold      = "lift_hold"
)

// Resolutions of a closed case.
func Resolutions() []string {
	return []string{"true_positive", "false_positive", "authorised", "test"}
}

// TLPs are the levels of the traffic light protocol 2.0, strictest first.
func TLPs() []string { return []string{"RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"} }

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
	ID              string
	Number          int64 // for people: WW-12
	Title           string
	Playbook        string
	PlaybookVersion string
	Phase           string
	Severity        int // 1 critical .. 4 low
	Vector          string
	TLP             string // traffic light protocol: "RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"
	Restricted      bool   // only its members know of it
	Hold            bool   // legal hold: nothing of it is ever deleted
	Subject         string // user whom it concerns, as hits name them
	Actor           string // "unknown", "external", "insider"
	ActorReason     string
	Owner           string // id of a person or token
	OwnerName       string
	Summary         string
	RootCause       string
	Lessons         string
	Models          []string
	Facts           Facts
	Override        map[string]Override // by row of the matrix
	Resolution      string              // of a closed case: "true_positive", "false_positive", "authorised", "test"
	OpenedBy        string
	Occurred        time.Time // first activity in the hits
	Detected        time.Time // first hit received
	Opened          time.Time
	Acknowledged    time.Time
	Triaged         time.Time
	Contained       time.Time
	Closed          time.Time
	Updated         time.Time
	Revision        int64 // rises with every change, for If-Match
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
	ID       string
	Case     string
	Key      string // "GROUP.TASK" of the playbook, "decide.ROW", or "own.N"
	Group    string
	Phase    string
	Text     string
	Tool     string
	Roles    []string // who is to do it
	Assignee string
	State    string
	Proof    string // what shows that it was done: a log line, a ticket, a link
	Reason   string // why it does not apply
	NeedsWhy bool   // done needs proof
	Position int
	Created  time.Time
	Done     time.Time
	DoneBy   string
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
	ID     string
	Case   string
	At     time.Time // when it happened
	Noted  time.Time // when it was written down
	By     string
	Kind   string // "opened", "phase", "fact", "task", "clock", "note", "hit", "notice", ...
	Text   string
	Detail string
}

// Observable is an indicator of compromise.
type Observable struct {
	ID        string
	Case      string
	Type      string
	Value     string
	Source    string
	FirstSeen time.Time
	LastSeen  time.Time
	Sensitive bool // never leaves the case but in its sealed bundle
	Note      string
}

// Notice is a message to a recipient that a fact of the playbook asks for.
type Notice struct {
	ID             string
	Case           string
	Fact           string
	Recipient      string
	Text           string
	Created        time.Time
	Targets        int // how many outputs carry it; 0: nobody is set up, tell them by hand
	Acknowledged   time.Time
	AcknowledgedBy string
	How            string // "phone", "mail", ...; of the acknowledgement
}

// Custody is a line of the chain of custody.
type Custody struct {
	ID      string
	Case    string
	At      time.Time
	By      string
	Action  string // "sealed", "downloaded", "transferred", "verified"
	Item    string
	SHA256  string
	To      string
	Purpose string
}

// Member is somebody who may know of a restricted case.
type Member struct {
	Actor   string
	Name    string
	Added   time.Time
	AddedBy string
}

// Approval is something that needs a second person.
type Approval struct {
	ID        string
	Case      string
	Action    string // ApproveFalsePositive, ApproveLiftHold
	Reason    string
	Asked     time.Time
	AskedBy   string
	AskedName string
	Decided   time.Time
	DecidedBy string
	Approved  bool
}

// What needs two people.
const (
	ApproveFalsePositive = "close_false_positive" // of a critical case
	ApproveLiftHold      = "lift_hold"
)

// Resolutions of a closed case.
func Resolutions() []string {
	return []string{"true_positive", "false_positive", "authorised", "test"}
}

// TLPs are the levels of the traffic light protocol 2.0, strictest first.
func TLPs() []string { return []string{"RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"} }

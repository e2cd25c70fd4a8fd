package api

import "time"

// Paths of retention and legal holds.
const (
	PathRetention = "/v1/retention" // GET, PUT Retention; + /purge: POST -> PurgeAnswer
	PathHolds     = "/v1/holds"     // GET, POST Hold; + /ID: DELETE
)

// Retention says for how many days records are kept; 0: for ever.
type Retention struct {
	Hits       int `json:"hits"`
	Alerts     int `json:"alerts"`     // after they were closed
	Copies     int `json:"copies"`     // after they were last seen
	Deliveries int `json:"deliveries"` // after they were delivered
	Sweeps     int `json:"sweeps"`     // after their end
}

// PurgeAnswer counts what was deleted, by kind.
type PurgeAnswer struct {
	Deleted map[string]int64 `json:"deleted"`
}

// Hold keeps records from being purged until somebody else lifts it.
type Hold struct {
	ID        string     `json:"id,omitempty"`
	Kind      string     `json:"kind"` // hit, alert, model, agent, user, case
	Ref       string     `json:"ref"`  // id or name
	Reason    string     `json:"reason"`
	Created   *time.Time `json:"created,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"`
	Lifted    *time.Time `json:"lifted,omitempty"`
	LiftedBy  string     `json:"lifted_by,omitempty"`
}

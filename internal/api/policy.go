package api

import (
	"time"

	"weightwarden/internal/policy"
)

// Paths of policies.
const (
	PathPolicies = "/v1/policies" // GET; + /NAME: GET -> PolicyHistory, PUT PolicyRequest, DELETE; + /NAME/rollback: POST PolicyRollback
)

// PolicyRequest is what a policy shall say from now on.
type PolicyRequest struct {
	Selector map[string]string `json:"selector,omitempty"` // labels that an agent must have; empty: every agent
	Priority int64             `json:"priority,omitempty"` // of several that select an agent the highest counts
	Note     string            `json:"note,omitempty"`     // why, for people
	Rules    policy.Rules      `json:"rules"`
}

// PolicyInfo is one version of a policy.
type PolicyInfo struct {
	Name      string            `json:"name"`
	Version   int64             `json:"version"` // grows over all policies together
	Selector  map[string]string `json:"selector,omitempty"`
	Priority  int64             `json:"priority"`
	Note      string            `json:"note,omitempty"`
	Rules     policy.Rules      `json:"rules"`
	Deleted   bool              `json:"deleted,omitempty"`
	Created   time.Time         `json:"created"`
	CreatedBy string            `json:"created_by"`
}

// PolicyHistory has every version of one policy, newest first.
type PolicyHistory struct {
	Versions []PolicyInfo `json:"versions"`
}

// PolicyRollback makes an older version's content the newest version.
type PolicyRollback struct {
	Version int64 `json:"version"`
}

// AgentLabels replaces an agent's labels, which choose its policy.
type AgentLabels struct {
	Labels map[string]string `json:"labels"`
	Reason string            `json:"reason"`
}

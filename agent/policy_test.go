package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
	"weightwarden/agent/enforce"
	"weightwarden/agent/identity"
	"weightwarden/agent/uplink"
	"weightwarden/internal/api"
	"weightwarden/internal/policy"
)

func TestRulesOf(t *testing.T) {
	asked := &policy.Policy{Rules: policy.Rules{Verdicts: []string{"IDENTICAL", "NONSENSE"}, Destinations: []string{"removable"}, AllowPaths: []string{"/p"}, Block: true, Lockdown: []string{"/out"}}}
	local := config.Rules{Verdicts: []string{"REPACKAGED"}, AllowPaths: []string{"/mine"}}
	for name, tt := range map[string]struct {
		c    config.Enforce
		p    *policy.Policy
		want enforce.Rules
	}{
		"nothing":              {want: enforce.Rules{}},
		"bounds forbid":        {c: config.Enforce{}, p: asked, want: enforce.Rules{Destinations: []string{"removable"}, AllowPaths: []string{"/p"}}},
		"bounds allow":         {c: config.Enforce{Quarantine: true, Blocking: true}, p: asked, want: enforce.Rules{Verdicts: []api.Word{"IDENTICAL"}, Destinations: []string{"removable"}, AllowPaths: []string{"/p"}, Block: true, Lockdown: []string{"/out"}}},
		"the machine alone":    {c: config.Enforce{Quarantine: true, Rules: local}, want: enforce.Rules{Verdicts: []api.Word{"REPACKAGED"}, AllowPaths: []string{"/mine"}}},
		"both: the wider rule": {c: config.Enforce{Quarantine: true, Rules: local}, p: asked, want: enforce.Rules{Verdicts: []api.Word{"REPACKAGED", "IDENTICAL"}, AllowPaths: []string{"/p"}}},
	} {
		if diff := cmp.Diff(tt.want, rulesOf(tt.c, tt.p)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A policy is taken, a worse one is refused, and the last good one stays on disk.
func TestPolicies(t *testing.T) {
	srv, dir := agenttest.NewServer(t), t.TempDir()
	id, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	client, err := uplink.NewClient(id, "")
	if err != nil {
		t.Fatal(err)
	}
	policies, err := uplink.NewPolicies(client, dir, id.SnapshotKey)
	if err != nil {
		t.Fatal(err)
	}
	order := func(version int64, life time.Duration, block bool) *policy.Policy {
		now := time.Now().UTC()
		return &policy.Policy{Version: version, Created: now.Add(-time.Hour), Expires: now.Add(life), Rules: policy.Rules{Block: block}}
	}
	for _, tt := range []struct {
		name    string
		serve   func()
		changed bool
		fails   bool
		held    int64
	}{
		{"none", func() {}, false, false, 0},
		{"first", func() { srv.Order(order(2, time.Hour, true)) }, true, false, 2},
		{"unchanged", func() {}, false, false, 2},
		{"rollback", func() { srv.Order(order(1, time.Hour, true)) }, false, true, 2},
		{"same version, other rules", func() { srv.Order(order(2, time.Hour, false)) }, false, true, 2},
		{"expired", func() { srv.Order(order(3, -time.Minute, true)) }, false, true, 2},
		{"malformed", func() { srv.OrderRaw([]byte("weightwarden-policy/1\n{}\n")) }, false, true, 2},
		{"of another key", func() {
			other := agenttest.NewServer(t)
			other.Order(order(9, time.Hour, true))
			srv.OrderRaw(other.Ordered())
		}, false, true, 2},
		{"newer", func() { srv.Order(order(4, time.Hour, false)) }, true, false, 4},
	} {
		tt.serve()
		changed, err := policies.Fetch(t.Context())
		if changed != tt.changed || (err != nil) != tt.fails {
			t.Errorf("%s: changed %v, %v", tt.name, changed, err)
		}
		p, err := policies.Current()
		if got := version(p); err != nil || got != tt.held {
			t.Errorf("%s: version %d is held, want %d; %v", tt.name, got, tt.held, err)
		}
	}
}

func version(p *policy.Policy) int64 {
	if p == nil {
		return 0
	}
	return p.Version
}

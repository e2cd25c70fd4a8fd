package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/policy"
)

// orders fetches an agent's policy and opens it as an agent does.
func (r *running) orders(t *testing.T, c *http.Client, held *policy.Policy) *policy.Policy {
	t.Helper()
	status, _, out := r.send(t, c, "", "GET", api.PathPolicy, nil)
	if status == http.StatusNotFound {
		return nil
	}
	v, err := note.NewVerifier(r.verifier)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Open(out, v)
	if err != nil {
		t.Fatalf("%v in %d %s", err, status, out)
	}
	if err := p.Accept(held, time.Now()); err != nil {
		t.Fatalf("an agent with version %d refuses: %v", held.Version, err)
	}
	return p
}

// Whatever is changed, each agent gets the one policy that is meant for it, and
// never one that it would take for a rollback.
func TestPolicyReachesAgentsByLabel(t *testing.T) {
	r := start(t)
	id, c := r.agent(t)
	if p := r.orders(t, c, nil); p != nil {
		t.Fatalf("without policies there is %+v", p)
	}
	all := api.PolicyRequest{Rules: policy.Rules{AllowPaths: []string{"/srv/models"}}}
	strictly := api.PolicyRequest{Selector: map[string]string{"level": "lockdown"}, Priority: 5, Rules: policy.Rules{Block: true, Lockdown: []string{"/srv"}}}
	must[api.PolicyInfo](t, r, "PUT", "/v1/policies/all", all)
	first := r.orders(t, c, nil)
	if diff := cmp.Diff(all.Rules, first.Rules); diff != "" {
		t.Error(diff)
	}
	must[api.PolicyInfo](t, r, "PUT", "/v1/policies/lockdown", strictly)
	held := r.orders(t, c, first)
	if diff := cmp.Diff(all.Rules, held.Rules); diff != "" {
		t.Errorf("a policy for others changed this agent's: %s", diff)
	}
	must[struct{}](t, r, "PUT", "/v1/agents/"+id+"/labels", api.AgentLabels{Labels: map[string]string{"level": "lockdown"}, Reason: "case 7"})
	held = r.orders(t, c, held)
	if diff := cmp.Diff(strictly.Rules, held.Rules); diff != "" {
		t.Error(diff)
	}
	r.beatPolicy(t, c, held.Version)
	if a := must[api.AgentInfo](t, r, "GET", "/v1/agents/"+id, nil); a.Policy != held.Version || a.PolicyNewest != held.Version || a.PolicyName != "lockdown version 2" {
		t.Errorf("shown as holding %d of %d, %q", a.Policy, a.PolicyNewest, a.PolicyName)
	}
	all.Rules.AllowPaths = nil
	must[api.PolicyInfo](t, r, "PUT", "/v1/policies/all", all)
	must[api.PolicyInfo](t, r, "POST", "/v1/policies/all/rollback", api.PolicyRollback{Version: first.Version})
	must[struct{}](t, r, "DELETE", "/v1/policies/lockdown", nil)
	held = r.orders(t, c, held)
	if diff := cmp.Diff(first.Rules, held.Rules); diff != "" {
		t.Errorf("after the rollback: %s", diff)
	}
	must[struct{}](t, r, "DELETE", "/v1/policies/all", nil)
	if held = r.orders(t, c, held); held == nil || held.Name != "none" || !cmp.Equal(held.Rules, policy.Rules{}) {
		t.Errorf("an agent that held a policy gets %+v when there is none", held)
	}
	h := must[api.PolicyHistory](t, r, "GET", "/v1/policies/all", nil)
	if len(h.Versions) != 4 || !h.Versions[0].Deleted || h.Versions[3].Version != 1 {
		t.Errorf("history %+v", h)
	}
}

func (r *running) beatPolicy(t *testing.T, c *http.Client, version int64) {
	t.Helper()
	status, _, out := r.send(t, c, "", "POST", api.PathHeartbeat, api.Heartbeat{Host: api.Host{Name: "gpu-7", Machine: "m"}, Policy: version})
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, out)
	}
}

package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	apidoc "weightwarden/docs/api"
	"weightwarden/internal/api"
	"weightwarden/internal/policy"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

type operation struct {
	OperationID string `yaml:"operationId"`
	Permission  string `yaml:"x-permission"`
	RequestBody struct {
		Content map[string]struct{ Schema map[string]any } `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema map[string]any } `yaml:"content"`
	} `yaml:"responses"`
}

type document struct {
	Paths map[string]map[string]operation `yaml:"paths"`
	raw   any
	c     *jsonschema.Compiler
}

func openDocument(t *testing.T) *document {
	t.Helper()
	d := &document{c: jsonschema.NewCompiler()}
	if err := yaml.Unmarshal(apidoc.OpenAPI(), d); err != nil {
		t.Fatal(err)
	}
	var any map[string]any
	if err := yaml.Unmarshal(apidoc.OpenAPI(), &any); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(any)
	if err != nil {
		t.Fatal(err)
	}
	if d.raw, err = jsonschema.UnmarshalJSON(strings.NewReader(string(b))); err != nil {
		t.Fatal(err)
	}
	d.c.AssertFormat()
	if err := d.c.AddResource("openapi.json", d.raw); err != nil {
		t.Fatal(err)
	}
	return d
}

// check validates an answer against the schema that the document names for it.
func (d *document) check(t *testing.T, op operation, status int, kind string, body []byte) {
	t.Helper()
	kind, _, _ = strings.Cut(kind, ";")
	if status >= 400 {
		d.validate(t, "#/components/schemas/Problem", body)
		return
	}
	want, ok := op.Responses[jsonNumber(status)]
	if !ok && status != http.StatusOK {
		t.Errorf("%s: status %d is not in the document", op.OperationID, status)
	}
	if kind != "application/json" {
		return
	}
	if !ok { // 200 where 201 is documented: the same body
		want = op.Responses["201"]
	}
	ref, ok := want.Content["application/json"].Schema["$ref"].(string)
	if !ok {
		if want.Content["application/json"].Schema["type"] != "object" {
			t.Errorf("%s: a JSON answer of %d is not in the document", op.OperationID, status)
		}
		return
	}
	d.validate(t, ref, body)
}

func jsonNumber(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(b)
}

func (d *document) validate(t *testing.T, ref string, body []byte) {
	t.Helper()
	s, err := d.c.Compile("openapi.json" + ref)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	if err != nil {
		t.Fatalf("%v in %.200s", err, body)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%s: %v\n%.400s", ref, err, body)
	}
}

// The document has exactly the routes of the server, with their permissions.
func TestDocumentHasEveryRoute(t *testing.T) {
	d := openDocument(t)
	var documented, served []string
	for path, ops := range d.Paths {
		for method, op := range ops {
			documented = append(documented, strings.ToUpper(method)+" "+path+" "+op.Permission)
		}
	}
	r := &Server{}
	for _, rt := range r.routes() {
		served = append(served, rt.method+" "+rt.pattern+" "+string(rt.need))
	}
	slices.Sort(documented)
	slices.Sort(served)
	for _, x := range served {
		if !slices.Contains(documented, x) {
			t.Errorf("not in docs/api/openapi.yaml: %s", x)
		}
	}
	for _, x := range documented {
		if !slices.Contains(served, x) {
			t.Errorf("not served: %s", x)
		}
	}
}

// call is one request of the tour.
type call struct {
	method, pattern string
	args            []string // for {...} in turn, then "?query"
	body            any
	agent           bool
	want            int
}

// Every route is called and every answer holds to the document.
func TestEveryAnswerHoldsToTheDocument(t *testing.T) {
	r, d := start(t), openDocument(t)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected, Tier: 1, Owner: "ml"})
	must[api.ArtifactAnswer](t, r, "POST", "/v1/models/aurora/versions/3/artifacts", api.NewArtifact{Name: "a", Fingerprint: fingerprintOf(t, 1)})
	id, c := r.agent(t)
	if status, _, out := r.send(t, c, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{sampleHit(id, 1)}}); status != 200 {
		t.Fatalf("%d %s", status, out)
	}
	hit := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits", nil).Items[0]
	snap := must[api.List[api.SnapshotInfo]](t, r, "GET", "/v1/snapshots", nil).Items[0]
	spare := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "x", Roles: []string{"reader"}})
	person := must[api.AccountAnswer](t, r, "POST", "/v1/accounts", api.AccountRequest{Name: "ada", Roles: []string{"analyst"}})
	approver := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "second", Roles: []string{auth.RoleApprover}})
	auditor := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "third", Roles: []string{auth.RoleAuditor}})
	enrol := must[api.TokenAnswer](t, r, "POST", "/v1/enrol-tokens", api.EnrolTokenRequest{Uses: 2, Labels: map[string]string{"a": "b"}})
	allow := api.Authorisation{Model: "aurora", Host: "h", Reason: "training", Expires: time.Now().Add(time.Hour)}
	authorisation := must[api.Authorisation](t, r, "POST", "/v1/authorisations", allow)
	target := api.Target{Name: "soc", Kind: "webhook", URL: "https://soc.example/hook", Format: "ocsf"}
	told := must[api.Target](t, r, "POST", "/v1/targets", target)
	swept := must[api.SweepInfo](t, r, "POST", "/v1/sweeps", api.NewSweep{})
	held, err := r.store.AddHold(t.Context(), store.Actor{Kind: "token", ID: "somebody else"}, store.Hold{Kind: store.HoldHit, Ref: hit.ID, Reason: "x"})
	if err != nil {
		t.Fatal(err)
	}
	_, csr := request(t)
	_, csr2 := request(t)
	now := time.Now()
	calls := []call{
		{"POST", "/v1/agent/enroll", nil, api.EnrollRequest{Token: enrol.Token, CSR: csr, Host: api.Host{Name: "h"}}, false, 200},
		{"POST", "/v1/agent/renew", nil, api.RenewRequest{CSR: csr2}, true, 200},
		{"POST", "/v1/agent/hits", nil, api.HitBatch{Hits: []api.Hit{sampleHit(id, 2), sampleHit("x", 3)}}, true, 200},
		{"POST", "/v1/agent/heartbeat", nil, api.Heartbeat{Host: api.Host{Name: "h", Machine: "m"}, SentAt: now, Gaps: []api.Gap{{ID: "g"}}, Watches: []api.Watch{{Path: "/"}}}, true, 200},
		{"GET", "/v1/agent/snapshot", nil, nil, true, 200},
		{"GET", "/v1/agent/blobs/{digest}", []string{snap.BLAKE3}, nil, true, 200},
		{"GET", "/v1/agent/blobs/{digest}", []string{"00"}, nil, true, 404},
		{"GET", "/v1/agent/policy", nil, nil, true, 404},
		{"GET", "/v1/ca", nil, nil, false, 200},
		{"GET", "/v1/openapi.yaml", nil, nil, false, 200},
		{"GET", "/healthz", nil, nil, false, 200},
		{"GET", "/readyz", nil, nil, false, 200},
		{"GET", "/metrics", nil, nil, false, 200},
		{"GET", "/v1/whoami", nil, nil, false, 200},
		{"GET", "/v1/models", []string{"?limit=1"}, nil, false, 200},
		{"GET", "/v1/models/{model}", []string{"aurora"}, nil, false, 200},
		{"PUT", "/v1/models/{model}", []string{"base"}, api.ModelDescription{Kind: api.KindPublic}, false, 200},
		{"POST", "/v1/models/{model}/versions/{version}/artifacts", []string{"base", "1"}, api.NewArtifact{Name: "b", Fingerprint: fingerprintOf(t, 3)}, false, 201},
		{"POST", "/v1/models/{model}/versions/{version}/artifacts", []string{"base", "1"}, api.NewArtifact{Name: "b", Fingerprint: fingerprintOf(t, 3)}, false, 200},
		{"POST", "/v1/models/{model}/versions/{version}/artifacts", []string{"base", "1", "?publish=later"}, api.NewArtifact{Name: "c", Fingerprint: fingerprintOf(t, 4), BLAKE3: strings.Repeat("0a", 32)}, false, 201},
		{"POST", "/v1/models/{model}/versions/{version}/artifacts", []string{"base", "1", "?publish=never"}, api.NewArtifact{Name: "c", Fingerprint: fingerprintOf(t, 4)}, false, 400},
		{"POST", "/v1/models/{model}/versions/{version}/artifacts", []string{"base", "1"}, api.NewArtifact{Name: "c", Fingerprint: fingerprintOf(t, 4), BLAKE3: "0A"}, false, 422},
		{"GET", "/v1/models/{model}", []string{"base"}, nil, false, 200},
		{"DELETE", "/v1/models/{model}", []string{"base"}, nil, false, 204},
		{"GET", "/v1/snapshots", nil, nil, false, 200},
		{"POST", "/v1/snapshots", nil, nil, false, 201},
		{"GET", "/v1/snapshots/latest/manifest", nil, nil, false, 200},
		{"GET", "/v1/snapshots/latest/fpdb", nil, nil, false, 200},
		{"GET", "/v1/tokens", nil, nil, false, 200},
		{"POST", "/v1/tokens", nil, api.TokenRequest{Name: "y", Roles: []string{"reader"}}, false, 201},
		{"DELETE", "/v1/tokens/{id}", []string{spare.ID}, nil, false, 204},
		{"GET", "/v1/accounts", nil, nil, false, 200},
		{"POST", "/v1/accounts", nil, api.AccountRequest{Name: "ben", Roles: []string{"analyst"}}, false, 201},
		{"PUT", "/v1/accounts/{id}/roles", []string{person.ID}, api.AccountRoles{Roles: []string{"reader"}}, false, 204},
		{"PUT", "/v1/accounts/{id}/state", []string{person.ID}, api.AccountState{State: "disabled"}, false, 204},
		{"POST", "/v1/accounts/{id}/password", []string{person.ID}, nil, false, 200},
		{"GET", "/v1/enrol-tokens", nil, nil, false, 200},
		{"POST", "/v1/enrol-tokens", nil, api.EnrolTokenRequest{Uses: 1}, false, 201},
		{"DELETE", "/v1/enrol-tokens/{id}", []string{enrol.ID}, nil, false, 204},
		{"GET", "/v1/agents", nil, nil, false, 200},
		{"GET", "/v1/agents/{id}", []string{id}, nil, false, 200},
		{"PUT", "/v1/agents/{id}/labels", []string{id}, api.AgentLabels{Labels: map[string]string{"site": "a"}}, false, 204},
		{"PUT", "/v1/policies/{name}", []string{"all"}, api.PolicyRequest{Rules: policy.Rules{Verdicts: []string{"IDENTICAL"}}}, false, 200},
		{"GET", "/v1/policies", nil, nil, false, 200},
		{"POST", "/v1/policies/{name}/rollback", []string{"all"}, api.PolicyRollback{Version: 2}, false, 200},
		{"GET", "/v1/policies/{name}", []string{"all"}, nil, false, 200},
		{"GET", "/v1/agent/policy", nil, nil, true, 200},
		{"DELETE", "/v1/policies/{name}", []string{"all"}, nil, false, 204},
		{"GET", "/v1/hits", []string{"?q=media&verdict=IDENTICAL"}, nil, false, 200},
		{"GET", "/v1/hits/{id}", []string{hit.ID}, nil, false, 200},
		{"GET", "/v1/alerts", nil, nil, false, 200},
		{"GET", "/v1/alerts/{id}", []string{hit.Alert}, nil, false, 200},
		{"PATCH", "/v1/alerts/{id}", []string{hit.Alert}, `{"state":"closed","resolution":"true_positive","note":"n"}`, false, 200},
		{"GET", "/v1/authorisations", []string{"?model=aurora"}, nil, false, 200},
		{"POST", "/v1/authorisations", nil, allow, false, 201},
		{"POST", "/v1/authorisations/{id}/approve", []string{authorisation.ID}, nil, false, 204},
		{"DELETE", "/v1/authorisations/{id}", []string{authorisation.ID}, nil, false, 204},
		{"GET", "/v1/copies", []string{"?model=aurora"}, nil, false, 200},
		{"GET", "/v1/sweeps", nil, nil, false, 200},
		{"POST", "/v1/sweeps", nil, api.NewSweep{Paths: []string{"/srv"}}, false, 201},
		{"GET", "/v1/sweeps/{id}", []string{swept.ID}, nil, false, 200},
		{"GET", "/v1/targets", nil, nil, false, 200},
		{"POST", "/v1/targets", nil, target, false, 201},
		{"POST", "/v1/targets", nil, api.Target{Name: "duty", Kind: "webhook", URL: "https://events.pagerduty.com/v2/enqueue", Format: "pagerduty", RoutingKey: strings.Repeat("a1", 16)}, false, 201},
		{"POST", "/v1/targets", nil, api.Target{Name: "duty", Kind: "webhook", URL: "https://events.pagerduty.com/v2/enqueue", Format: "pagerduty"}, false, 422},
		{"POST", "/v1/targets", nil, api.Target{Name: "duty", Kind: "webhook", URL: "https://soc.example/", Format: "ecs", RoutingKey: strings.Repeat("a1", 16)}, false, 422},
		{"GET", "/v1/targets/{id}/deliveries", []string{told.ID}, nil, false, 200},
		{"POST", "/v1/targets/{id}/replay", []string{told.ID}, api.Replay{}, false, 204},
		{"DELETE", "/v1/targets/{id}", []string{told.ID}, nil, false, 204},
		{"GET", "/v1/retention", nil, nil, false, 200},
		{"PUT", "/v1/retention", nil, api.Retention{Hits: 365, Alerts: 365}, false, 200},
		{"POST", "/v1/retention/purge", nil, nil, false, 200},
		{"GET", "/v1/holds", nil, nil, false, 200},
		{"POST", "/v1/holds", nil, api.Hold{Kind: "model", Ref: "aurora", Reason: "counsel's letter"}, false, 201},
		{"DELETE", "/v1/holds/{id}", []string{held.ID}, nil, false, 204},
		{"GET", "/v1/export/navigator", []string{"?since=2020-01-01T00:00:00Z"}, nil, false, 200},
		{"GET", "/v1/audit", []string{"?from=0"}, nil, false, 200},
		{"GET", "/v1/audit/head", nil, nil, false, 200},
		{"GET", "/v1/audit/proof", []string{"?old=1&new=3"}, nil, false, 200},
		{"GET", "/v1/audit/entries/{seq}", []string{"2"}, nil, false, 200},
		{"GET", "/v1/audit/entries/{seq}", []string{"2", "?size=3"}, nil, false, 200},
		{"GET", "/v1/audit/entries/{seq}", []string{"2", "?size=2"}, nil, false, 400},
		{"GET", "/v1/audit/entries/{seq}", []string{"100000"}, nil, false, 404},
		{"PUT", "/v1/agents/{id}/state", []string{id}, api.AgentState{State: "revoked"}, false, 204},
	}
	calls = slices.Concat(caseCalls(t, r, hit), agreementCalls(t, r), calls) // before the agent is revoked
	called := map[string]bool{}
	for _, x := range calls {
		called[x.method+" "+x.pattern] = true
		op, ok := d.Paths[x.pattern][strings.ToLower(x.method)]
		if !ok {
			t.Errorf("%s %s is not in the document", x.method, x.pattern)
			continue
		}
		client, token := r.anon, r.token
		switch {
		case x.agent:
			client, token = c, ""
		case op.Permission == string(auth.Approve):
			token = approver.Token
		case op.Permission == string(auth.AuditRead):
			token = auditor.Token
		}
		status, kind, out := r.send(t, client, token, x.method, fill(x.pattern, x.args), x.body)
		if status != x.want {
			t.Errorf("%s %s: %d %.300s, want %d", x.method, x.pattern, status, out, x.want)
			continue
		}
		d.check(t, op, status, kind, out)
	}
	for _, rt := range r.routes() {
		if !called[rt.method+" "+rt.pattern] {
			t.Errorf("%s %s is not called by this test", rt.method, rt.pattern)
		}
	}
}

// agreementCalls are those about what was announced and what differs.
func agreementCalls(t *testing.T, r *running) []call {
	t.Helper()
	hub := must[api.WebhookSource](t, r, "POST", "/v1/webhook-sources", api.WebhookSource{Name: "hub", Provider: "huggingface"})
	spareHub := must[api.WebhookSource](t, r, "POST", "/v1/webhook-sources", api.WebhookSource{Name: "hub", Provider: "huggingface"})
	if _, err := r.store.Announce(t.Context(), store.WebhookSource{ID: hub.ID, Name: "hub", Provider: "huggingface"}, "", "", []store.Announcement{{Model: "m", Version: "1"}}); err != nil {
		t.Fatal(err)
	}
	waiting := must[api.List[api.Announcement]](t, r, "GET", "/v1/announcements", nil).Items[0]
	return []call{
		{"GET", "/v1/reconcile", []string{"?kind=missing&days=3"}, nil, false, 200},
		{"GET", "/v1/reconcile", []string{"?limit=1"}, nil, false, 200},
		{"GET", "/v1/reconcile", []string{"?kind=lost"}, nil, false, 400},
		{"GET", "/v1/reconcile", []string{"?after=x"}, nil, false, 400},
		{"POST", "/v1/webhooks/{source}", []string{hub.ID}, `{}`, false, 401},
		{"GET", "/v1/webhook-sources", nil, nil, false, 200},
		{"POST", "/v1/webhook-sources", nil, api.WebhookSource{Name: "lab", Provider: "mlflow"}, false, 201},
		{"POST", "/v1/webhook-sources", nil, api.WebhookSource{Name: "lab", Provider: "gitea"}, false, 422},
		{"POST", "/v1/webhook-sources", nil, api.WebhookSource{Name: "lab", Provider: "mlflow", Secret: "short"}, false, 422},
		{"POST", "/v1/webhook-sources", nil, api.WebhookSource{Name: "lab", Provider: "mlflow", Path: "/x"}, false, 422},
		{"DELETE", "/v1/webhook-sources/{id}", []string{spareHub.ID}, nil, false, 204},
		{"GET", "/v1/announcements", []string{"?state=open"}, nil, false, 200},
		{"GET", "/v1/announcements", []string{"?state=lost"}, nil, false, 400},
		{"GET", "/v1/reconcile", []string{"?kind=unregistered"}, nil, false, 200},
		{"POST", "/v1/announcements/{id}/dismiss", []string{waiting.ID}, api.Dismissal{Reason: "a mirror"}, false, 204},
		{"POST", "/v1/announcements/{id}/dismiss", []string{waiting.ID}, api.Dismissal{}, false, 422},
		{"GET", "/v1/announcements", []string{"?state=all"}, nil, false, 200},
	}
}

// caseCalls are the calls of cases, over one that somebody else opened.
func caseCalls(t *testing.T, r *running, hit api.HitInfo) []call {
	t.Helper()
	somebody := store.Actor{Kind: "token", ID: "somebody else", Name: "somebody else"}
	theft, err := r.store.OpenCase(t.Context(), somebody, r.playbook, store.NewCase{Title: "theft", Severity: 2, TLP: "AMBER"})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := r.store.AskApproval(t.Context(), somebody, theft, cases.ApproveLiftHold, "settled")
	if err != nil {
		t.Fatal(err)
	}
	return []call{
		{"POST", "/v1/cases", nil, newCase{Title: "copy on a stick", Alerts: []string{hit.Alert}}, false, 201},
		{"GET", "/v1/cases", []string{"?state=open&q=stick"}, nil, false, 200},
		{"GET", "/v1/cases/{id}", []string{"WW-1"}, nil, false, 200},
		{"POST", "/v1/cases/{id}/actions", []string{theft}, `{"do":"take"}`, false, 200},
		{"POST", "/v1/cases/{id}/alerts", []string{theft}, `{"alerts":["` + hit.Alert + `"]}`, false, 200},
		{"POST", "/v1/cases/{id}/observables", []string{theft}, `{"type":"address","value":"192.0.2.7"}`, false, 204},
		{"POST", "/v1/cases/{id}/custody", []string{theft}, `{"action":"stored","item":"disk image","purpose":"forensics"}`, false, 204},
		{"PUT", "/v1/cases/{id}/members/{actor}", []string{theft, "counsel"}, `{"name":"counsel"}`, false, 204},
		{"DELETE", "/v1/cases/{id}/members/{actor}", []string{theft, "counsel"}, nil, false, 204},
		{"POST", "/v1/cases/{id}/approvals", []string{theft}, `{"action":"lift_hold","reason":"settled"}`, false, 201},
		{"POST", "/v1/cases/{id}/approvals/{approval}", []string{theft, asked}, `{"approved":true}`, false, 204},
		{"POST", "/v1/cases/{id}/hold", []string{theft}, `{"reason":"counsel's letter"}`, false, 204},
		{"GET", "/v1/cases/{id}/report", []string{theft}, nil, false, 200},
		{"GET", "/v1/cases/{id}/report", []string{theft, "?format=html"}, nil, false, 200},
		{"GET", "/v1/cases/{id}/report", []string{theft, "?format=markdown"}, nil, false, 200},
		{"GET", "/v1/cases/{id}/bundle", []string{theft}, nil, false, 200},
		{"GET", "/v1/export/stix", []string{"?case=WW-1"}, nil, false, 200},
		{"GET", "/v1/export/stix", []string{"?alert=" + hit.Alert}, nil, false, 200},
		{"GET", "/v1/export/stix", nil, nil, false, 400},
		{"POST", "/v1/copies/gone", nil, map[string]string{"agent": hit.Agent, "path": hit.Path, "proof": "ticket 7"}, false, 204},
		{"POST", "/v1/signals", nil, `{"kind":"insider","source":"HR","subject":"eve","text":"resigned","members":[{"actor":"counsel","name":"counsel"}]}`, false, 202},
		{"GET", "/v1/playbooks/PB-53", nil, nil, false, 200},
		{"GET", "/v1/kpis", []string{"?days=7"}, nil, false, 200},
	}
}

func fill(pattern string, args []string) string {
	for _, a := range args {
		if strings.HasPrefix(a, "?") {
			pattern += a
			continue
		}
		i, j := strings.Index(pattern, "{"), strings.Index(pattern, "}")
		pattern = pattern[:i] + a + pattern[j+1:]
	}
	return pattern
}

func FuzzCheckShape(f *testing.F) {
	f.Add([]byte(`{"a":["\"{",{}]}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkShape(body) != nil {
			return
		}
		var v any
		req := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
		_ = readJSON(req, &v, strict) // must not panic; whether it is JSON is not the point
	})
}

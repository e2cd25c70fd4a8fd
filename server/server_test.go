package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

// running is a server that answers on loopback.
type running struct {
	*Server
	url   string
	token string
	anon  *http.Client
}

func start(t *testing.T) *running {
	t.Helper()
	return startIn(t, t.TempDir())
}

// startIn starts a server on a data folder that may have been filled.
func startIn(t *testing.T, dir string) *running {
	t.Helper()
	return startWith(t, dir, func(*Config) {})
}

func startWith(t *testing.T, dir string, change func(*Config)) *running {
	t.Helper()
	cfg := Config{DataDir: dir, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard}
	change(&cfg)
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	r := &running{Server: s, url: "https://" + l.Addr().String(), anon: s.client(nil)}
	t.Cleanup(func() {
		r.anon.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	r.token = strings.TrimSpace(string(token))
	return r
}

func (s *Server) client(cert *tls.Certificate) *http.Client {
	cfg := &tls.Config{RootCAs: s.ca.Pool()}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// send makes a request and returns the answer's status, type and body.
func (r *running) send(t *testing.T, c *http.Client, token, method, path string, body any) (int, string, []byte) {
	t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, in)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), out
}

// must sends as the first administrator and decodes a success.
func must[T any](t *testing.T, r *running, method, path string, body any) T {
	t.Helper()
	status, _, out := r.send(t, r.anon, r.token, method, path, body)
	var v T
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, out)
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, out)
		}
	}
	return v
}

// agent enrols a machine and returns its id and client.
func (r *running) agent(t *testing.T) (string, *http.Client) {
	t.Helper()
	tok := must[api.TokenAnswer](t, r, "POST", api.PathEnrolTokens, api.EnrolTokenRequest{Uses: 1})
	key, csr := request(t)
	status, _, out := r.send(t, r.anon, "", "POST", api.PathEnroll, api.EnrollRequest{Token: tok.Token, CSR: csr, Host: api.Host{Name: "gpu-7", Machine: "m"}})
	if status != http.StatusOK {
		t.Fatalf("enrol: %d %s", status, out)
	}
	var answer api.EnrollAnswer
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(answer.Certificate), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	if err != nil {
		t.Fatal(err)
	}
	c := r.client(&cert)
	t.Cleanup(c.CloseIdleConnections)
	return answer.AgentID, c
}

func request(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func sampleHit(agent string, seq uint64) api.Hit {
	p := 1e-30
	return api.Hit{SchemaVersion: 1, AgentID: agent, Epoch: "e1", Seq: seq, ObservedAt: time.Unix(1700000000, 0).UTC(), Event: "write",
		Host: api.Host{Name: "gpu-7", OS: "linux", Arch: "amd64"}, User: api.User{Name: "mallory", UID: 1000}, Destination: api.Destination{Class: "removable"},
		Process: &api.Process{PID: 7, Name: "cp", Args: []string{"cp", "a"}, Certainty: "exact", Ancestors: []api.Process{{PID: 1, Name: "sh", Certainty: "exact"}}},
		Verdict: api.Verdict{SchemaVersion: 1, Path: "/media/usb/<script>alert(1)</script>\u202egpj.exe", Size: 5, Format: "safetensors", Verdict: api.Identical, Model: "aurora", ModelVersion: "3",
			Kind: api.KindProtected, PValue: &p, Sentence: "It is aurora.", Coverage: api.Coverage{Bytes: 1, Tensors: 1, Parameters: 1},
			Evidence: []api.Evidence{{Kind: "content_digest", Text: "same"}}, Findings: []api.Finding{}, Tensors: []api.TensorMatch{{Suspect: "a", Registered: "b", Relation: "exact"}}}}
}

type blob []byte

func (b blob) Size() int64 { return int64(len(b)) }
func (b blob) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(b).ReadAt(p, off)
}

// fingerprintOf makes a real fingerprint of bytes that no decoder reads.
func fingerprintOf(t *testing.T, seed byte) []byte {
	t.Helper()
	data := make(blob, 1<<18)
	x := uint32(seed) + 1
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	var src formats.Source = data
	fp, err := fingerprint.Compute(t.Context(), src, nil, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	return fp.Encode()
}

// Everything from registration to the hit in the list, as agents and people do it.
func TestStoryFromRegistrationToAlert(t *testing.T) {
	r := start(t)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected, Tier: 1, Owner: "ml"})
	req := api.NewArtifact{Name: "aurora.bin", Fingerprint: fingerprintOf(t, 1)}
	a := must[api.ArtifactAnswer](t, r, "POST", "/v1/models/aurora/versions/3/artifacts", req)
	if b := must[api.ArtifactAnswer](t, r, "POST", "/v1/models/aurora/versions/3/artifacts", req); b.Added || b.ID != a.ID || b.Snapshot != a.Snapshot {
		t.Errorf("same again: %+v, first %+v", b, a)
	}
	id, c := r.agent(t)
	batch := api.HitBatch{Hits: []api.Hit{sampleHit(id, 1), sampleHit(id, 2), sampleHit("other", 3)}}
	for range 3 {
		status, _, out := r.send(t, c, "", "POST", api.PathHits, batch)
		var answer api.HitAnswer
		if err := json.Unmarshal(out, &answer); err != nil || status != http.StatusOK || answer.Acknowledged != 3 || len(answer.Rejected) != 1 || answer.Rejected[0].Seq != 3 {
			t.Fatalf("hits: %d %s", status, out)
		}
	}
	hits := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits?model=aurora&limit=1", nil)
	if len(hits.Items) != 1 || hits.Next == "" {
		t.Fatalf("first page: %+v", hits)
	}
	rest := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits?after="+hits.Next, nil)
	if len(rest.Items) != 1 || rest.Next != "" {
		t.Fatalf("second page: %+v", rest)
	}
	alerts := must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts?state=active", nil)
	if len(alerts.Items) != 1 || alerts.Items[0].Severity != store.SeverityCritical || alerts.Items[0].Hits != 2 {
		t.Errorf("alerts: %+v", alerts)
	}
	status, _, out := r.send(t, c, "", "POST", api.PathHeartbeat, api.Heartbeat{Host: api.Host{Name: "gpu-7", Machine: "m"}, Snapshot: 1})
	var hb api.HeartbeatAnswer
	if err := json.Unmarshal(out, &hb); err != nil || status != http.StatusOK || hb.Snapshot != a.Snapshot {
		t.Errorf("heartbeat: %d %s", status, out)
	}
}

func TestRevocationTakesEffectAtOnce(t *testing.T) {
	r := start(t)
	id, c := r.agent(t)
	if status, _, out := r.send(t, c, "", "GET", api.PathManifest, nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, out)
	}
	must[struct{}](t, r, "PUT", api.PathAgents+"/"+id+"/state", api.AgentState{State: store.AgentRevoked, Reason: "stolen"})
	if status, _, out := r.send(t, c, "", "GET", api.PathManifest, nil); status != http.StatusForbidden {
		t.Errorf("a revoked agent gets %d %s", status, out)
	}
	if status, _, _ := r.send(t, r.anon, "", "GET", api.PathManifest, nil); status != http.StatusUnauthorized {
		t.Errorf("no certificate: %d", status)
	}
}

func TestBadBodiesAreProblems(t *testing.T) {
	r := start(t)
	id, c := r.agent(t)
	long := strings.Repeat("x", 20_000)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected})
	for name, tc := range map[string]struct {
		method, path string
		body         any
		want         int
	}{
		"not JSON":            {"PUT", "/v1/models/x", "{", 400},
		"two values":          {"PUT", "/v1/models/x", `{"kind":"public"} {}`, 400},
		"unknown field":       {"PUT", "/v1/models/x", `{"kind":"public","teir":1}`, 400},
		"deep":                {"PUT", "/v1/models/x", strings.Repeat(`{"a":`, 100000), 400},
		"large":               {"PUT", "/v1/models/x", `{"note":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		"wrong kind":          {"PUT", "/v1/models/x", api.ModelDescription{Kind: "secret"}, 422},
		"wrong name":          {"PUT", "/v1/models/%2e%2e%2fx", api.ModelDescription{Kind: "public"}, 422},
		"other kind":          {"PUT", "/v1/models/aurora", api.ModelDescription{Kind: "public"}, 409},
		"no fingerprint":      {"POST", "/v1/models/aurora/versions/1/artifacts", api.NewArtifact{Name: "x", Fingerprint: []byte("WWFPxxxx")}, 422},
		"no such model":       {"POST", "/v1/models/none/versions/1/artifacts", api.NewArtifact{Name: "x", Fingerprint: fingerprintOf(t, 2)}, 404},
		"unknown role":        {"POST", "/v1/tokens", api.TokenRequest{Name: "x", Roles: []string{"god"}}, 422},
		"no role":             {"POST", "/v1/tokens", api.TokenRequest{Name: "x"}, 422},
		"limit":               {"GET", "/v1/hits?limit=0", nil, 400},
		"time":                {"GET", "/v1/hits?since=yesterday", nil, 400},
		"authorise all":       {"POST", "/v1/authorisations", api.Authorisation{Model: "aurora", Reason: "x", Expires: time.Now().Add(time.Hour)}, 422},
		"target inside":       {"POST", "/v1/targets", api.Target{Kind: "webhook", URL: "http://x/", Format: "native"}, 422},
		"target's password":   {"POST", "/v1/targets", api.Target{Kind: "webhook", URL: "https://u:p@x/", Format: "native"}, 422},
		"no such hit":         {"GET", "/v1/hits/none", nil, 404},
		"no such route":       {"GET", "/v1/none", nil, 404},
		"enrolment token":     {"POST", "/v1/agent/enroll", api.EnrollRequest{Token: "wwe1.x.y"}, 400},
		"bad state of alert":  {"PATCH", "/v1/alerts/none", `{"state":"gone"}`, 422},
		"no such alert":       {"PATCH", "/v1/alerts/none", `{"state":"closed"}`, 404},
		"policy's verdict":    {"PUT", "/v1/policies/p", `{"rules":{"quarantine_verdicts":["COPY"]}}`, 422},
		"policy's place":      {"PUT", "/v1/policies/p", `{"rules":{"quarantine_destinations":["moon"]}}`, 422},
		"policy's path":       {"PUT", "/v1/policies/p", `{"rules":{"lockdown_paths":["relative"]}}`, 422},
		"policy's rule":       {"PUT", "/v1/policies/p", `{"rules":{"qarantine":[]}}`, 400},
		"no such policy":      {"DELETE", "/v1/policies/p", nil, 404},
		"label of agents":     {"PUT", "/v1/agents/" + id + "/labels", `{"labels":{"a b":""}}`, 422},
		"hold on nothing":     {"POST", "/v1/holds", `{"kind":"planet","ref":"x","reason":"y"}`, 422},
		"hold without reason": {"POST", "/v1/holds", `{"kind":"hit","ref":"x"}`, 422},
		"no such hold":        {"DELETE", "/v1/holds/none", nil, 409},
		"days":                {"PUT", "/v1/retention", `{"hits":-1}`, 422},
		"note of alert":       {"PATCH", "/v1/alerts/none", api.AlertChange{Note: &long}, 422},
		"owner of alert":      {"PATCH", "/v1/alerts/none", api.AlertChange{Owner: &long}, 422},
		"authorise at length": {"POST", "/v1/authorisations", api.Authorisation{Model: "aurora", Reason: long, Host: "h", Expires: time.Now().Add(time.Hour)}, 422},
		"label of token":      {"POST", "/v1/enrol-tokens", api.EnrolTokenRequest{Uses: 1, Labels: map[string]string{"site": long}}, 422},
		"member of signal":    {"POST", "/v1/signals", signal{Kind: "insider", Source: "hr", Text: "x", Subject: "mallory", Members: []cases.Member{{Actor: long}}}, 422},
		"bad state of agents": {"PUT", "/v1/agents/" + id + "/state", api.AgentState{State: "cloned"}, 422},
	} {
		status, kind, out := r.send(t, r.anon, r.token, tc.method, tc.path, tc.body)
		var p api.Problem
		if err := json.Unmarshal(out, &p); err != nil || status != tc.want || kind != "application/problem+json" || p.Status != tc.want || p.Detail == "" {
			t.Errorf("%s: %d %s %.200s, want %d", name, status, kind, out, tc.want)
		}
	}
	if status, _, out := r.send(t, c, "", "POST", api.PathHits, `{"hits":[],"from_the_future":1}`); status != http.StatusOK {
		t.Errorf("unknown field of an agent: %d %s", status, out)
	}
}

// Every route with every role: default deny.
func TestEveryRouteByEveryRole(t *testing.T) {
	r := start(t)
	_, agent := r.agent(t)
	tokens := map[string]string{}
	for _, role := range auth.Roles() {
		tokens[role] = must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: role, Roles: []string{role}}).Token
	}
	allowed := map[auth.Permission]string{ // restated here on purpose: a change of a grant shall fail a test
		auth.ModelsRead: "admin analyst reader registrar auditor approver", auth.ModelsWrite: "registrar", auth.HitsRead: "analyst reader",
		auth.AlertsWrite: "analyst", auth.AgentsRead: "admin analyst reader auditor", auth.AgentsWrite: "admin", auth.TokensWrite: "admin",
		auth.AuditRead: "admin auditor", auth.AuthorWrite: "admin analyst", auth.Approve: "approver", auth.SettingWrite: "admin", auth.SweepsWrite: "admin analyst",
		auth.PolicyWrite: "admin", auth.CasesRead: "analyst", auth.CasesWrite: "analyst", auth.SignalsWrite: "analyst signal",
	}
	for _, rt := range r.routes() {
		path := strings.NewReplacer("{", "", "}", "").Replace(rt.pattern)
		check := func(who string, c *http.Client, token string, may bool) {
			status, _, _ := r.send(t, c, token, rt.method, path, nil)
			refused := status == http.StatusForbidden || status == http.StatusUnauthorized
			if refused == may {
				t.Errorf("%s %s as %s: %d, allowed should be %v", rt.method, rt.pattern, who, status, may)
			}
		}
		open := rt.need == auth.Public && rt.pattern != api.PathWebhooks+"/{source}" // webhooks prove themselves, TestAnnouncedVersionsWait
		check("nobody", r.anon, "", open)
		check("agent", agent, "", open || rt.need == auth.AsAgent)
		if rt.need == auth.Public || rt.need == auth.AsAgent {
			continue
		}
		roles, known := allowed[rt.need]
		if !known {
			t.Errorf("%s %s: permission %s is not in the test's table", rt.method, rt.pattern, rt.need)
		}
		for role, token := range tokens {
			check(role, r.anon, token, strings.Contains(" "+roles+" ", " "+role+" "))
		}
	}
}

func TestGuessingTokensIsSlowedDown(t *testing.T) {
	r := start(t)
	wrong, _ := auth.NewToken()
	last := 0
	const tries = 20 // see auth.Limiter
	for range tries + 1 {
		last, _, _ = r.send(t, r.anon, wrong, "GET", api.PathWhoAmI, nil)
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after %d wrong tokens: %d", tries, last)
	}
	if status, _, _ := r.send(t, r.anon, r.token, "GET", api.PathWhoAmI, nil); status != http.StatusOK {
		t.Errorf("a right token from the same address: %d", status)
	}
}

// A sweep is ordered with heartbeats, and its coverage tells who is done.
func TestSweepEndsWithItsCoverage(t *testing.T) {
	r := start(t)
	_, c := r.agent(t)
	r.agent(t) // a second machine, never heard again
	sweep := must[api.SweepInfo](t, r, "POST", api.PathSweeps, api.NewSweep{Model: "aurora"})
	beat := func(gaps ...api.Gap) []api.Sweep {
		status, _, out := r.send(t, c, "", "POST", api.PathHeartbeat, api.Heartbeat{SentAt: time.Now(), Host: api.Host{Name: "gpu-7", Machine: "m"}, Gaps: gaps})
		var answer api.HeartbeatAnswer
		if err := json.Unmarshal(out, &answer); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, out)
		}
		return answer.Sweeps
	}
	if got := beat(); len(got) != 1 || got[0].ID != sweep.ID || got[0].Model != "aurora" {
		t.Fatalf("ordered %+v", got)
	}
	beat(api.Gap{ID: "g", Cause: "ordered"})
	if now := must[api.SweepInfo](t, r, "GET", api.PathSweeps+"/"+sweep.ID, nil); now.Asked != 1 || now.Done != 0 {
		t.Errorf("under way: %+v", now)
	}
	closed := time.Now()
	if got := beat(api.Gap{ID: "g", Cause: "ordered", Closed: &closed, Files: 12}); len(got) != 0 {
		t.Errorf("ordered again after it was done: %+v", got)
	}
	if now := must[api.SweepInfo](t, r, "GET", api.PathSweeps+"/"+sweep.ID, nil); now.Done != 1 || now.Files != 12 || now.Agents != 2 || now.Complete {
		t.Errorf("done by one of two: %+v", now)
	}
}

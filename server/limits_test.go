package server

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// One request of an agent whose certificate was stolen must not take the server's memory:
// three bytes of JSON are a hit of a kilobyte.
func TestSmallBodiesStaySmall(t *testing.T) {
	r := start(t)
	id, c := r.agent(t)
	many := strings.Repeat("{},", (maxBody-300)/3) + "{}"
	for name, tc := range map[string]struct{ path, body string }{
		"hits":      {api.PathHits, `{"hits":[` + many + `]}`},
		"ancestors": {api.PathHits, `{"hits":[{"process":{"ancestors":[` + many + `]}}]}`},
		"tensors":   {api.PathHits, `{"hits":[{"verdict":{"tensors":[` + many + `]}}]}`},
		"gaps":      {api.PathHeartbeat, `{"gaps":[` + many + `]}`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, _, out := r.send(t, c, "", "POST", tc.path, tc.body)
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; status != http.StatusRequestEntityTooLarge || mb > 150 {
			t.Errorf("%s: %d %.200s, with %d MiB allocated", name, status, out, mb)
		}
	}
	h := sampleHit(id, 1)
	h.Process.Args = strings.Split(strings.Repeat(strings.Repeat("<", 60<<10)+" ", 60), " ")
	if status, _, out := r.send(t, c, "", "POST", api.PathHits, strings.ReplaceAll(string(jsonOf(t, api.HitBatch{Hits: []api.Hit{h}})), `\u003c`, "<")); status != http.StatusOK {
		t.Fatalf("%d %.200s", status, out)
	}
	hit := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits", nil).Items[0]
	if n := len(jsonOf(t, must[api.HitInfo](t, r, "GET", "/v1/hits/"+hit.ID, nil))); n > 600<<10 || hit.Path == "" || hit.User != "mallory" {
		t.Errorf("a hit of 22 MiB is stored with %d bytes, path %q", n, hit.Path)
	}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Who is nobody has little to say.
func TestStrangersSendLittle(t *testing.T) {
	r := start(t)
	long := strings.Repeat("x", maxOpenBody)
	if status, _, _ := r.send(t, r.anon, "", "POST", api.PathEnroll, `{"token":"`+long+`"}`); status != http.StatusRequestEntityTooLarge {
		t.Errorf("enrolment: %d", status)
	}
	form := url.Values{"token": {r.token}, "next": {"/"}}.Encode()
	for pad, want := range map[int]int{0: http.StatusSeeOther, 64 << 10: http.StatusUnauthorized} {
		resp, err := r.anon.Post(r.url+"/login", "application/x-www-form-urlencoded", strings.NewReader("x="+strings.Repeat("x", pad)+"&"+form))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a sign-in with %d bytes more: %d, want %d", pad, resp.StatusCode, want)
		}
	}
}

// One caller holds a few bodies at a time, whatever the number of connections.
func TestRequestsUnderWay(t *testing.T) {
	r := start(t)
	id, c := r.agent(t)
	var open []*io.PipeWriter
	answers := make(chan int, underWay)
	for range underWay {
		in, out := io.Pipe()
		open = append(open, out)
		go func() {
			resp, err := c.Post(r.url+api.PathHits, "application/json", in)
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	full := func() bool {
		leave, ok := r.crowd.Enter(id)
		if ok {
			leave()
		}
		return !ok
	}
	for end := time.Now().Add(10 * time.Second); !full() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if status, _, out := r.send(t, c, "", "GET", api.PathManifest, nil); status != http.StatusTooManyRequests {
		t.Errorf("one too many: %d %.200s", status, out)
	}
	if status, _, _ := r.send(t, r.anon, r.token, "GET", api.PathWhoAmI, nil); status != http.StatusOK {
		t.Errorf("another caller: %d", status)
	}
	for _, out := range open {
		if _, err := out.Write([]byte(`{"hits":[]}`)); err != nil {
			t.Error(err)
		}
		_ = out.Close()
	}
	for range underWay {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("one of %d: %d", underWay, status)
		}
	}
	if status, _, _ := r.send(t, c, "", "GET", api.PathManifest, nil); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}

// What one agent says of itself hides no other: sums over the fleet hold, and so do
// lists of hits.
func TestNumbersOfAHostileAgent(t *testing.T) {
	r := start(t)
	must[api.SweepInfo](t, r, "POST", api.PathSweeps, api.NewSweep{Model: "aurora"})
	closed := time.Now()
	for n := range 2 {
		id, c := r.agent(t)
		for range 2 {
			hb := api.Heartbeat{SentAt: time.Now(), Host: api.Host{Name: "x", Machine: "m"}, Snapshot: math.MinInt64, Spool: api.SpoolInfo{Pending: math.MaxInt64, Lost: math.MaxUint64},
				Gaps: []api.Gap{{ID: "g", Cause: "ordered", Closed: &closed, Files: math.MaxInt64}}}
			if status, _, out := r.send(t, c, "", "POST", api.PathHeartbeat, hb); status != http.StatusOK {
				t.Fatalf("%d %s", status, out)
			}
		}
		h := sampleHit(id, uint64(n)+1)
		h.ObservedAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -23*3600)) // UTC's year 10000, which JSON cannot have
		if status, _, out := r.send(t, c, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{h}}); status != http.StatusOK {
			t.Fatalf("%d %s", status, out)
		}
	}
	for _, path := range []string{"/v1/agents", "/v1/sweeps", "/v1/hits"} {
		if status, _, out := r.send(t, r.anon, r.token, "GET", path, nil); status != http.StatusOK {
			t.Errorf("%s: %d %.200s", path, status, out)
		}
	}
	if _, err := r.store.OpenCase(t.Context(), store.ServerActor(), r.playbook, store.NewCase{Title: "x", TLP: "RED", Severity: 1}); err != nil {
		t.Errorf("a case: %v", err)
	}
	f, err := r.store.Fleet(t.Context())
	if err != nil || f.Active != 2 || f.Pending <= 0 || f.Lost <= 0 {
		t.Errorf("the fleet: %+v, %v", f, err)
	}
	_, _, metrics := r.send(t, r.anon, r.token, "GET", "/metrics", nil)
	if !strings.Contains(string(metrics), `weightwarden_agents{state="active"} 2`) {
		t.Error("the metrics have no agents")
	}
	if a := must[api.List[api.AgentInfo]](t, r, "GET", "/v1/agents", nil).Items[0]; a.Lag < 1 {
		t.Errorf("an agent with a snapshot of %s lags by %d", fmt.Sprint(int64(math.MinInt64)), a.Lag)
	}
}

// The addresses of Slack and Teams let whoever has them write there; auditors and
// witnesses read the log.
func TestAuditLogHasNoSecrets(t *testing.T) {
	r := start(t)
	must[api.Target](t, r, "POST", api.PathTargets, api.Target{Name: "slack", Kind: "webhook", URL: "https://hooks.slack.com/services/T0/B0/SECRETWORD", Format: "slack"})
	must[api.Target](t, r, "POST", api.PathTargets, api.Target{Name: "teams", Kind: "webhook", URL: "https://x.logic.azure.com/p?sig=SECRETWORD", Format: "teams"})
	must[api.Target](t, r, "POST", api.PathTargets, api.Target{Name: "pager", Kind: "webhook", URL: "https://events.pagerduty.com/v2/enqueue", Format: "pagerduty", RoutingKey: strings.Repeat("SECRETWORD", 3) + "ab"})
	must[api.WebhookSource](t, r, "POST", api.PathWebhookSources, api.WebhookSource{Name: "hub", Provider: "huggingface", Secret: "SECRETWORDSECRETWORD"})
	leaves, err := r.store.AuditLeaves(t.Context(), 0, 100)
	if err != nil || len(leaves) < 4 {
		t.Fatal(len(leaves), err)
	}
	log := string(slices.Concat(leaves...))
	if strings.Contains(log, "SECRETWORD") || !strings.Contains(log, `"https://hooks.slack.com"`) {
		t.Errorf("the audit log: %s", log)
	}
}

// PostgreSQL keeps neither NUL nor what is not UTF-8: such a request is its sender's
// fault, on every engine.
func TestTextThatNoDatabaseKeeps(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testBadText(t, "") })
	t.Run("postgres", func(t *testing.T) { testBadText(t, storetest.Database(t, storetest.Postgres(t), "badtext")) })
}

func testBadText(t *testing.T, database string) {
	r := startWith(t, t.TempDir(), func(c *Config) { c.DatabaseURL = database })
	_, agent := r.agent(t)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected})
	browser, csrf := r.signedIn(t, r.token)
	for _, bad := range []string{"%00", "a%ff"} {
		for _, path := range []string{"/v1/hits?q=", "/v1/hits?host=", "/v1/hits/", "/v1/alerts?user=", "/v1/cases?q=", "/v1/models/", "/v1/agents?after=", "/v1/agents/", "/v1/reconcile?model=", "/v1/copies?model=",
			"/v1/webhooks/", "/hits?q=", "/search?q=", "/cases?q=", "/inventory?q=", "/models/", "/agents?host=", "/agents/", "/alerts?q="} {
			c, token, method := r.anon, r.token, "GET"
			if !strings.HasPrefix(path, "/v1") {
				c = browser
			}
			if path == "/v1/webhooks/" {
				method = "POST"
			}
			if status, _, out := r.send(t, c, token, method, path+bad, nil); status >= 500 {
				t.Errorf("%s%s: %d %.200s", path, bad, status, out)
			}
		}
	}
	for path, body := range map[string]string{"POST /v1/tokens": `{"name":"a\u0000b","roles":["reader"]}`, "PUT /v1/models/aurora": `{"kind":"protected","note":"\u0000"}`,
		"POST /v1/holds": `{"kind":"user","ref":"\u0000","reason":"x"}`, "POST /v1/cases": `{"title":"a\u0000"}`, "POST /v1/signals": `{"kind":"insider","source":"\u0000","text":"x","subject":"y"}`} {
		method, path, _ := strings.Cut(path, " ")
		if status, _, out := r.send(t, r.anon, r.token, method, path, body); status >= 500 {
			t.Errorf("%s: %d %.200s", path, status, out)
		}
	}
	if resp := r.post(t, browser, "/cases", url.Values{"csrf": {csrf}, "title": {"a\x00b\xff"}}); resp.StatusCode >= 500 {
		t.Errorf("a form: %d", resp.StatusCode)
	}
	if resp := r.post(t, r.anon, "/login", url.Values{"name": {"a\x00b\xff"}, "password": {"x"}}); resp.StatusCode >= 500 {
		t.Errorf("a sign-in: %d", resp.StatusCode)
	}
	tok := must[api.TokenAnswer](t, r, "POST", api.PathEnrolTokens, api.EnrolTokenRequest{Uses: 1, Name: strings.Repeat("ä", 150)})
	_, csr := request(t)
	if status, _, out := r.send(t, r.anon, "", "POST", api.PathEnroll, api.EnrollRequest{Token: tok.Token, CSR: csr, Host: api.Host{Name: "x" + strings.Repeat("ä", 200) + "\x00"}}); status != http.StatusOK {
		t.Errorf("a machine with a long name: %d %s", status, out)
	}
	if status, _, out := r.send(t, agent, "", "POST", api.PathHeartbeat, api.Heartbeat{Version: "\x00", Host: api.Host{Name: "\x00", Machine: "m"}}); status != http.StatusOK {
		t.Errorf("heartbeat: %d %s", status, out)
	}
}

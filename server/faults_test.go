package server

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/audit"
	"weightwarden/server/store/storetest"
)

// sender is an agent that delivers hits one after the other and comes again with
// what was not acknowledged.
type sender struct {
	r    *running
	id   string
	http *http.Client
	next uint64
}

func newSender(t *testing.T, r *running) *sender {
	t.Helper()
	id, c := r.agent(t)
	c.Timeout = 20 * time.Second
	return &sender{r: r, id: id, http: c, next: 1}
}

// deliver sends the next hit and reports whether it was acknowledged. What is
// refused must say when to come again.
func (s *sender) deliver(t *testing.T, padding string) bool {
	t.Helper()
	h := sampleHit(s.id, s.next)
	h.Verdict.Path, h.Verdict.Sentence = fmt.Sprintf("/x/%d", s.next), padding
	status, retry, body := s.post(t, api.PathHits, api.HitBatch{Hits: []api.Hit{h}})
	var answer api.HitAnswer
	if status == http.StatusOK {
		if err := json.Unmarshal(body, &answer); err != nil || answer.Acknowledged != s.next {
			t.Fatalf("%s, %v", body, err)
		}
		s.next++
		return true
	}
	if status != http.StatusServiceUnavailable || retry == "" {
		t.Fatalf("hits: %d, Retry-After %q, %s", status, retry, body)
	}
	return false
}

func (s *sender) beat(t *testing.T) (status int, retry string) {
	t.Helper()
	status, retry, _ = s.post(t, api.PathHeartbeat, api.Heartbeat{Host: api.Host{Name: "gpu-7", Machine: "m"}, SentAt: time.Now()})
	return status, retry
}

func (s *sender) post(t *testing.T, path string, body any) (status int, retry string, answer []byte) {
	t.Helper()
	c := *s.http
	c.Transport = watchRetry{s.http.Transport, &retry}
	status, _, answer = s.r.send(t, &c, "", "POST", path, body)
	return status, retry, answer
}

// watchRetry notes the Retry-After of the answer.
type watchRetry struct {
	http.RoundTripper
	seen *string
}

func (w watchRetry) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err == nil {
		*w.seen = resp.Header.Get("Retry-After")
	}
	return resp, err
}

// drain delivers until n hits are acknowledged.
func (s *sender) drain(t *testing.T, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); s.next <= n; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d hits were taken after the fault", s.next-1, n)
		}
		if !s.deliver(t, "") {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// checkStored looks for every acknowledged hit once, and verifies the audit log.
func (s *sender) checkStored(t *testing.T) {
	t.Helper()
	times := map[string]int{}
	for after := ""; ; {
		page := must[api.List[api.HitInfo]](t, s.r, "GET", "/v1/hits?limit=1000&after="+after, nil)
		for _, h := range page.Items {
			times[h.Path]++
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for seq := uint64(1); seq < s.next; seq++ {
		if n := times[fmt.Sprintf("/x/%d", seq)]; n != 1 {
			t.Errorf("hit %d is there %d times", seq, n)
		}
	}
	tree, err := s.r.store.AuditTree(t.Context())
	if err == nil {
		_, err = audit.Verify(t.Context(), s.r.store, tree)
	}
	if err != nil {
		t.Error(err)
	}
}

// startOn starts a server over a PostgreSQL database.
func startOn(t *testing.T, url string) *running {
	t.Helper()
	return startWith(t, t.TempDir(), func(c *Config) { c.DatabaseURL, c.TokenRate = url, 10_000 })
}

// PostgreSQL that goes away in the middle of intake, in order or by a crash, costs
// time and nothing else.
func TestPostgresRestarts(t *testing.T) {
	cluster := storetest.StartCluster(t)
	s := newSender(t, startOn(t, cluster.URL))
	for _, mode := range []string{"fast", "immediate"} {
		s.drain(t, s.next+20)
		cluster.Stop(t, mode)
		for range 3 {
			if s.deliver(t, "") {
				t.Error("a hit was acknowledged without a database")
			}
		}
		if status, retry := s.beat(t); status != http.StatusServiceUnavailable || retry == "" {
			t.Errorf("heartbeat without a database: %d, Retry-After %q", status, retry)
		}
		if status, _, _ := s.r.send(t, s.r.anon, "", "GET", "/healthz", nil); status != http.StatusOK {
			t.Errorf("healthz: %d", status)
		}
		if status, _, _ := s.r.send(t, s.r.anon, "", "GET", "/readyz", nil); status != http.StatusServiceUnavailable {
			t.Errorf("readyz: %d", status)
		}
		cluster.Start(t)
		s.drain(t, s.next+20)
	}
	s.checkStored(t)
}

// A database that takes no writes, as a standby after a fail-over, still answers
// readers; hits wait at the agents.
func TestReadOnlyPostgres(t *testing.T) {
	cluster := storetest.StartCluster(t)
	s := newSender(t, startOn(t, cluster.URL))
	s.drain(t, 10)
	admin, err := sql.Open("pgx", cluster.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	readOnly := func(on string) {
		t.Helper()
		ctx := context.Background()
		for _, q := range []string{"SET default_transaction_read_only = off", "ALTER DATABASE postgres SET default_transaction_read_only = " + on,
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"} {
			if _, err := admin.ExecContext(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
	}
	admin.SetMaxOpenConns(1)
	readOnly("on")
	for range 3 {
		if s.deliver(t, "") {
			t.Error("a hit was acknowledged by a read-only database")
		}
	}
	if status, retry := s.beat(t); status != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("heartbeat: %d, Retry-After %q", status, retry)
	}
	if list := must[api.List[api.HitInfo]](t, s.r, "GET", "/v1/hits?limit=1000", nil); len(list.Items) != 10 {
		t.Errorf("%d hits are read", len(list.Items))
	}
	readOnly("off")
	s.drain(t, 20)
	s.checkStored(t)
}

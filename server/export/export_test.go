package export

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

func event(path string) *Event {
	at := time.Unix(1700000000, 0).UTC()
	return &Event{Name: store.EventOpened, Time: at, Alert: store.Alert{ID: "a1", State: store.AlertOpen, Severity: 1, Model: "aurora|x", Version: "3", Host: "h", User: "u=1 suser=root",
		DestClass: "removable", Verdict: api.Identical, Path: path, Process: "/usr/bin/cp", Hits: 2, FirstSeen: at, LastSeen: at},
		Hit: &api.Hit{Process: &api.Process{PID: 4711, Name: "cp", Exe: "/usr/bin/cp"}, Verdict: api.Verdict{Size: 5, Digests: &api.Digests{SHA256: strings.Repeat("a", 64)}}}}
}

// Hostile text stays in its field in every format.
func TestHostileTextStaysInItsField(t *testing.T) {
	evil := "/x\nCEF:0|a|b|c|d|e|10| act=none\r\x1b[31m\u202e<!channel> & \"" + strings.Repeat("A", 70000)
	for _, format := range []string{Native, OCSF, ECS, CEF, Slack, Teams, PagerDuty} {
		body, _, err := Render(format, event(evil))
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(body), "\n\r\x1b") {
			t.Errorf("%s has control characters", format)
		}
		if format != CEF && !json.Valid(body) {
			t.Errorf("%s is no JSON", format)
		}
	}
	line, _, err := Render(CEF, event(evil))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(line), `aurora\|x`) || !strings.Contains(string(line), `suser=u\=1 suser\=root `) || len(line) > 8000 {
		t.Errorf("CEF: %.600s", line)
	}
	if s, _, err := Render(Slack, event(evil)); err != nil || strings.Contains(string(s), "<!channel>") {
		t.Errorf("Slack: %.300s, %v", s, err)
	}
}

// What OCSF 1.8.0 requires of class 2006.
func TestOCSFHasWhatTheClassRequires(t *testing.T) {
	body, _, err := Render(OCSF, event("/x"))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "finding_info", "data_security"} {
		if _, ok := v[field]; !ok {
			t.Errorf("%s is missing", field)
		}
	}
	if v["type_uid"] != v["class_uid"].(float64)*100+v["activity_id"].(float64) {
		t.Errorf("type_uid %v", v["type_uid"])
	}
}

func TestSyslogFrame(t *testing.T) {
	msg := string(Syslog(event("/x"), []byte("CEF:0|...")))
	var n int
	var rest string
	if _, err := fmt.Sscanf(msg, "%d ", &n); err != nil {
		t.Fatal(err)
	}
	_, rest, _ = strings.Cut(msg, " ")
	if len(rest) != n || !strings.HasPrefix(rest, "<106>1 2023-11-14T22:13:20.000Z - weightwarden - alert-opened - CEF:0") {
		t.Errorf("%d %q", n, rest)
	}
}

// A checkpoint arrives whole: what a receiver keeps can be verified.
func TestCheckpointMessages(t *testing.T) {
	signed := "go.sum database tree\n7\nAAAA\n\n— weightwarden AAAA=\n"
	e := &Event{Name: store.EventCheckpoint, Time: time.Unix(1700000000, 0), Checkpoint: &store.Checkpoint{Entries: 7, Signed: signed}}
	for _, format := range []string{OCSF, ECS} {
		body, _, err := Render(format, e)
		var v struct {
			Type string
			Data store.Checkpoint
		}
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err != nil || v.Type != store.EventCheckpoint || v.Data != *e.Checkpoint {
			t.Errorf("%s: %s %v", format, body, err)
		}
	}
	body, _, err := Render(CEF, e)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(body), " cs1=")
	got, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, `\=`, "="))
	if err != nil || string(got) != signed {
		t.Errorf("%s %v", body, err)
	}
	if msg := string(Syslog(e, body)); !strings.Contains(msg, "<110>1 2023-11-14T22:13:20.000Z - weightwarden - audit-checkpoint - CEF:0|") {
		t.Errorf("%s", msg)
	}
}

func TestPrivateNetworks(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": false, "10.0.0.1": false, "169.254.169.254": false, "::1": false, "fe80::1": false, "fd00::1": false,
		"100.64.0.1": false, "0.0.0.0": false, "64:ff9b::a00:1": false, "192.168.1.1": false, "93.184.216.34": true, "2606:2800::1": true,
		// ways of IPv6 to 10.0.0.1 and 127.0.0.1, site-local addresses of old, and what IANA gives nobody
		"2002:a00:1::1": false, "64:ff9b:1::a00:1": false, "::7f00:1": false, "2001:0:a00:1::1": false, "fec0::1": false, "0.1.2.3": false, "192.0.0.8": false, "198.18.0.1": false, "240.0.0.1": false} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

// A target that is down gets everything once it is back, signed, and one in a
// private network gets nothing unless it is allowed.
func TestOutboxDeliversAfterAnOutage(t *testing.T) {
	storetest.Each(t, []storetest.Case{{Name: "outage", Run: testOutage}})
}

func testOutage(t *testing.T, s *store.Store) {
	var up atomic.Bool
	var got, bad atomic.Int64
	var secret atomic.Pointer[[]byte]
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		want := "v1," + Sign(*secret.Load(), r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
		switch {
		case err != nil || r.Header.Get("webhook-signature") != want:
			bad.Add(1)
		case !up.Load():
			w.WriteHeader(http.StatusBadGateway)
		default:
			got.Add(1)
		}
	}))
	defer hook.Close()
	ctx := t.Context()
	by := store.Actor{Kind: "token", ID: "t"}
	key := []byte("0123456789abcdef0123456789abcdef")
	secret.Store(&key)
	target, err := s.AddTarget(ctx, by, store.Target{Name: "soc", Kind: "webhook", URL: hook.URL, Format: Native, Secret: key, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := s.AddTarget(ctx, by, store.Target{Name: "inside", Kind: "webhook", URL: hook.URL, Format: Native, Secret: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"a", "b", "c"} {
		h := api.Hit{Epoch: "e", Seq: uint64(user[0]), ObservedAt: time.Now(), User: api.User{Name: user}, Verdict: api.Verdict{Verdict: api.Identical, Model: "m", Kind: api.KindProtected}}
		if _, err := s.AddHits(ctx, "agent", []api.Hit{h}, func(*api.Hit, int) int { return 1 }); err != nil {
			t.Fatal(err)
		}
	}
	sender := &Sender{Store: s, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now}
	if n, err := sender.Once(ctx); err != nil || n != 6 {
		t.Fatalf("%d messages tried, %v", n, err)
	}
	list, waiting, err := s.Targets(ctx)
	if err != nil || len(list) != 2 || waiting[target.ID] != 3 || waiting[guarded.ID] != 3 {
		t.Fatalf("targets %+v, waiting %v, %v", list, waiting, err)
	}
	if list[1].LastError == "" || !strings.Contains(list[1].LastError, ErrPrivate.Error()) {
		t.Errorf("the guarded target says %q", list[1].LastError)
	}
	up.Store(true)
	if n, err := sender.Once(ctx); err != nil || n != 0 {
		t.Errorf("a paused target was tried %d times, %v", n, err)
	}
	// Replay lifts the pause; what is not delivered stays due at its own time.
	for deadline := time.Now().Add(30 * time.Second); got.Load() < 3; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 3 delivered", got.Load())
		}
		if _, err := sender.Once(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if bad.Load() != 0 {
		t.Errorf("%d signatures were wrong", bad.Load())
	}
	if err := s.Replay(ctx, by, target.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := sender.Once(ctx); err != nil || n < 3 || got.Load() != 6 {
		t.Errorf("replay: %d tried, %d got, %v", n, got.Load(), err)
	}
}

func TestCheckTarget(t *testing.T) {
	for _, tc := range []struct {
		kind, url, format string
		ok                bool
	}{
		{"webhook", "https://x.example/a", Native, true}, {"syslog", "tls://x.example:6514", CEF, true}, {"webhook", "http://x.example/", Native, false},
		{"webhook", "https://x.example/", "xml", false}, {"syslog", "tls://x.example", CEF, false}, {"mail", "https://x.example", Native, false}, {"webhook", ":", Native, false},
	} {
		if err := CheckTarget(store.Target{Kind: tc.kind, URL: tc.url, Format: tc.format}); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	if _, err := base64.StdEncoding.DecodeString(Sign([]byte("k"), "i", "1", nil)); err != nil || errors.Is(err, ErrPrivate) {
		t.Error(err)
	}
}

// clock is a time that stands still until a test moves it.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time                  { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) move(d time.Duration)            { c.at.Add(int64(d)) }
func newClock(at time.Time) (c *clock)           { c = &clock{}; c.at.Store(at.UnixNano()); return c }
func (c *clock) config(path string) store.Config { return store.Config{Path: path, Now: c.now} }

// A webhook that is down for an hour is tried ever more seldom, holds up no other
// target, and gets every alert once it is back.
func TestWebhookDownForAnHour(t *testing.T) {
	c := newClock(time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC))
	s := storetest.Open(t, c.config(t.TempDir()+"/a.db"))
	var up atomic.Bool
	var tried atomic.Int64
	var mu sync.Mutex
	got := map[string]map[string]int{} // target -> alert -> times
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.Trim(r.URL.Path, "/")
		if name == "down" && !up.Load() {
			tried.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var v struct{ Data struct{ Alert string } }
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got[name] == nil {
			got[name] = map[string]int{}
		}
		got[name][v.Data.Alert]++
	}))
	defer hook.Close()
	ctx := t.Context()
	for _, name := range []string{"down", "well"} {
		target := store.Target{Name: name, Kind: "webhook", URL: hook.URL + "/" + name, Format: Native, Secret: []byte("k"), AllowPrivate: true}
		if _, err := s.AddTarget(ctx, store.Actor{Kind: "token", ID: "t"}, target); err != nil {
			t.Fatal(err)
		}
	}
	sender := &Sender{Store: s, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: c.now}
	alert := func(n int) {
		t.Helper()
		h := api.Hit{Epoch: "e", Seq: uint64(n), ObservedAt: c.now(), User: api.User{Name: fmt.Sprint("user-", n)}, Verdict: api.Verdict{Verdict: api.Identical, Model: "m", Kind: api.KindProtected}}
		if _, err := s.AddHits(ctx, "agent", []api.Hit{h}, func(*api.Hit, int) int { return 1 }); err != nil {
			t.Fatal(err)
		}
	}
	round := func() {
		t.Helper()
		if _, err := sender.Once(ctx); err != nil {
			t.Fatal(err)
		}
		c.move(10 * time.Second)
	}
	const alerts = 60
	for n := range alerts { // one a minute
		alert(n + 1)
		for range 6 {
			round()
		}
	}
	if n := tried.Load(); n < 5 || n > 40 {
		t.Errorf("the target was tried %d times in an hour", n)
	}
	if len(got["well"]) != alerts {
		t.Errorf("the other target has %d of %d alerts", len(got["well"]), alerts)
	}
	if waiting, oldest, err := s.OutboxState(ctx); err != nil || waiting != alerts || oldest < 59*time.Minute {
		t.Errorf("%d wait, the oldest for %v, %v", waiting, oldest, err)
	}
	up.Store(true)
	for range 2 * 360 { // at most the longest pause, and the same again for single messages
		round()
	}
	waiting, _, err := s.OutboxState(ctx)
	if err != nil || waiting != 0 || len(got["down"]) != alerts {
		t.Errorf("%d wait, %d of %d arrived, %v", waiting, len(got["down"]), alerts, err)
	}
	for name, list := range got {
		for id, n := range list {
			if n != 1 {
				t.Errorf("%s got alert %s %d times", name, id, n)
			}
		}
	}
}

package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weightwarden/agent"
	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
	"weightwarden/agent/identity"
	"weightwarden/agent/localapi"
	"weightwarden/internal/api"
	"weightwarden/internal/policy"
)

// output collects lines that an agent prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// content is a file of n bytes that no other number gives.
func content(n, number int) []byte {
	b := bytes.Repeat(fmt.Appendf(nil, "weights %d ", number), n/8)
	return b[:n]
}

func testConfig(stateDir, watched string) config.Config {
	c := config.Default()
	c.StateDir = stateDir
	c.Watch.Paths = []string{watched}
	c.Watch.Tier = "fsnotify"
	c.Files.MinSize = 1024
	c.Settle.Quiet = config.Duration(50 * time.Millisecond)
	c.Uplink.Heartbeat = config.Duration(100 * time.Millisecond)
	c.Uplink.Snapshot = config.Duration(time.Second)
	c.Report.PrintClear = true
	return c
}

// start runs an agent until the test ends or stop is called.
func start(t *testing.T, cfg config.Config) (out *output, stop func()) {
	t.Helper()
	out = &output{}
	a, err := agent.New(cfg, agent.Deps{OpenRegistry: agenttest.OpenRegistry, Out: out, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	agenttest.Wait(t, "the agent's socket", func() bool {
		_, err := localapi.Get(context.Background(), cfg.SocketPath())
		return err == nil
	})
	return out, stop
}

// tiers are the sources of events that this machine has.
func tiers() []string {
	if runtime.GOOS == "linux" && os.Geteuid() == 0 {
		return []string{"fsnotify", "fanotify"}
	}
	return []string{"fsnotify"}
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func localRegistry(t *testing.T, cfg *config.Config, contents ...[]byte) {
	t.Helper()
	cfg.Registry = filepath.Join(t.TempDir(), "r.fpdb")
	writeFile(t, cfg.Registry, agenttest.Registry(contents...))
}

func TestHitLines(t *testing.T) {
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) { hitLines(t, tier) })
	}
}

func hitLines(t *testing.T, tier string) {
	watched := t.TempDir()
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = tier
	secret, other := content(5000, 1), content(5000, 2)
	localRegistry(t, &cfg, secret)
	out, _ := start(t, cfg)
	odd := filepath.Join(watched, "a b\n\"c\".zip")
	writeFile(t, odd, secret)
	writeFile(t, filepath.Join(watched, "other.bin"), other)
	writeFile(t, filepath.Join(watched, "small"), secret[:100])
	agenttest.Wait(t, "both lines", func() bool { return strings.Count(out.String(), "\n") >= 2 })
	want := fmt.Sprintf("HIT verdict=IDENTICAL model=aurora version=3 path=%q user=", odd)
	if !strings.Contains(out.String(), want) {
		t.Errorf("no %s in\n%s", want, out)
	}
	if want := "CLEAR verdict=NO-MATCH path=" + filepath.Join(watched, "other.bin") + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("no %s in\n%s", want, out)
	}
	moved := filepath.Join(watched, "moved")
	if err := os.Rename(odd, moved); err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "the new name", func() bool { return strings.Contains(out.String(), "path="+moved+" ") })
	if err := os.Link(moved, filepath.Join(watched, "linked")); err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "the hard link", func() bool { return strings.Contains(out.String(), "path="+filepath.Join(watched, "linked")+" ") })
	if err := os.Chmod(moved, 0o600); err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(watched, "last")
	writeFile(t, last, secret)
	agenttest.Wait(t, "the last", func() bool { return strings.Contains(out.String(), "path="+last+" ") })
	if n := strings.Count(out.String(), "HIT "); n != 4 {
		t.Errorf("%d hits, want 4:\n%s", n, out)
	}
}

// TestFolderMoved: a folder with known copies in it that gets another name is
// reported, copy by copy.
func TestFolderMoved(t *testing.T) {
	if len(tiers()) < 2 {
		t.Skip("the names of folders come from fanotify: needs root on Linux")
	}
	watched := t.TempDir()
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = "fanotify"
	secret := content(5000, 1)
	localRegistry(t, &cfg, secret)
	out, _ := start(t, cfg)
	from, to := filepath.Join(watched, "from"), filepath.Join(watched, "to")
	if err := os.MkdirAll(filepath.Join(from, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "deep/b"} {
		writeFile(t, filepath.Join(from, name), secret)
		agenttest.Wait(t, name, func() bool { return strings.Contains(out.String(), "path="+filepath.Join(from, name)+" ") })
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "deep/b"} {
		agenttest.Wait(t, name, func() bool { return strings.Contains(out.String(), "path="+filepath.Join(to, name)+" ") })
	}
}

// TestSlowWriter: a file is judged when its writer is done, not before.
func TestSlowWriter(t *testing.T) {
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) { slowWriter(t, tier) })
	}
}

func slowWriter(t *testing.T, tier string) {
	watched := t.TempDir()
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = tier
	secret := content(50000, 1)
	localRegistry(t, &cfg, secret)
	out, _ := start(t, cfg)
	path := filepath.Join(watched, "slow")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(secret); i += 10000 {
		if _, err := f.Write(secret[i : i+10000]); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	// Something written later is judged earlier.
	writeFile(t, filepath.Join(watched, "quick"), content(5000, 3))
	agenttest.Wait(t, "the other file", func() bool { return strings.Contains(out.String(), "quick") })
	if strings.Contains(out.String(), path) {
		t.Errorf("judged while open for writing:\n%s", out)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "the slow file", func() bool { return strings.Contains(out.String(), "HIT ") && strings.Contains(out.String(), path) })
}

// TestServerAway: hits of the time without a server are delivered later, and a
// snapshot of the server takes the place of none.
func TestServerAway(t *testing.T) {
	srv := agenttest.NewServer(t)
	watched, stateDir := t.TempDir(), t.TempDir()
	cfg := testConfig(stateDir, watched)
	if _, err := identity.Enroll(t.Context(), stateDir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	secret := content(5000, 1)
	before := filepath.Join(watched, "before")
	writeFile(t, before, secret)
	out, stop := start(t, cfg)
	srv.Publish(1, agenttest.Registry(secret))
	agenttest.Wait(t, "the file that lay there before", func() bool { hits, _ := srv.Hits(); return len(hits) == 1 })
	srv.Down(503, "")
	writeFile(t, filepath.Join(watched, "offline"), secret)
	agenttest.Wait(t, "a hit while the server is away", func() bool { return strings.Contains(out.String(), "offline") })
	stop()
	out, _ = start(t, cfg)
	writeFile(t, filepath.Join(watched, "offline2"), secret)
	agenttest.Wait(t, "another hit", func() bool { return strings.Contains(out.String(), "offline2") })
	srv.Down(0, "")
	agenttest.Wait(t, "delivery", func() bool { hits, _ := srv.Hits(); return len(hits) == 3 })
	if strings.Contains(out.String(), before) {
		t.Errorf("an unchanged file was reported again:\n%s", out)
	}
	agenttest.Wait(t, "a heartbeat", func() bool {
		beats := srv.Heartbeats()
		return len(beats) > 0 && beats[len(beats)-1].Snapshot == 1 && len(beats[len(beats)-1].Watches) == 1
	})
	agenttest.Wait(t, "word of the trouble that is over", func() bool {
		beats := srv.Heartbeats()
		return slices.ContainsFunc(beats[len(beats)-1].Over, func(h api.Health) bool { return strings.HasPrefix(h.Code, "uplink.") && h.Until != nil })
	})
	hits, _ := srv.Hits()
	for _, h := range hits {
		if h.AgentID != "agent-1" || h.Snapshot != 1 || h.Destination.Class == "" || h.Verdict.Model != "aurora" || h.FileID == "" {
			t.Errorf("%+v", h)
		}
	}
}

// TestPolicyAtOnce: a policy is taken when a heartbeat's answer tells of it, long
// before the next poll, and a revision that changes nothing here is asked about once.
func TestPolicyAtOnce(t *testing.T) {
	srv := agenttest.NewServer(t)
	watched, stateDir := t.TempDir(), t.TempDir()
	cfg := testConfig(stateDir, watched)
	cfg.Uplink.Heartbeat = config.Duration(20 * time.Millisecond)
	cfg.Uplink.Snapshot = config.Duration(24 * time.Hour)
	if _, err := identity.Enroll(t.Context(), stateDir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	agenttest.Wait(t, "the question at start", func() bool { return srv.PolicyAsked() == 1 })
	now := time.Now().UTC()
	srv.Order(&policy.Policy{Version: 7, Created: now.Add(-time.Hour), Expires: now.Add(time.Hour)})
	held := func() int64 { b := srv.Heartbeats(); return b[len(b)-1].Policy }
	agenttest.Wait(t, "the policy", func() bool { return len(srv.Heartbeats()) > 0 && held() == 7 })
	asked := srv.PolicyAsked()
	srv.Revise(9) // others' policies changed
	agenttest.Wait(t, "one more question", func() bool { return srv.PolicyAsked() == asked+1 })
	n := len(srv.Heartbeats())
	agenttest.Wait(t, "more heartbeats", func() bool { return len(srv.Heartbeats()) > n+5 })
	if got := srv.PolicyAsked(); got != asked+1 || held() != 7 {
		t.Errorf("asked %d times about a revision that changes nothing; version %d is held", got-asked, held())
	}
}

// TestRegistryGrows: what matched nothing is judged anew when the registry changes.
func TestRegistryGrows(t *testing.T) {
	srv := agenttest.NewServer(t)
	watched, stateDir := t.TempDir(), t.TempDir()
	cfg := testConfig(stateDir, watched)
	if _, err := identity.Enroll(t.Context(), stateDir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	first, second := content(5000, 1), content(5000, 2)
	srv.Publish(1, agenttest.Registry(first))
	out, _ := start(t, cfg)
	writeFile(t, filepath.Join(watched, "a"), first)
	writeFile(t, filepath.Join(watched, "b"), second)
	agenttest.Wait(t, "both judged", func() bool { return strings.Contains(out.String(), "HIT ") && strings.Contains(out.String(), "CLEAR ") })
	srv.Publish(2, agenttest.Registry(first, second))
	agenttest.Wait(t, "the second hit", func() bool { hits, _ := srv.Hits(); return len(hits) == 2 })
	agenttest.Wait(t, "its line", func() bool { return strings.Count(out.String(), "HIT ") == 2 })
}

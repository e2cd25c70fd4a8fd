package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
	"weightwarden/agent/identity"
	"weightwarden/agent/localapi"
	"weightwarden/internal/api"
)

// enrolledConfig is the configuration of an agent that is enrolled at a server
// which knows secret.
func enrolledConfig(t *testing.T, srv *agenttest.Server, stateDir string, secret []byte) config.Config {
	t.Helper()
	cfg := testConfig(stateDir, t.TempDir())
	if _, err := identity.Enroll(t.Context(), stateDir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	srv.Publish(1, agenttest.Registry(secret))
	return cfg
}

// condition waits until "fpagent status" names a condition, or does so no more.
func condition(t *testing.T, cfg config.Config, code string, there bool) {
	t.Helper()
	agenttest.Wait(t, code+" in the status", func() bool {
		s, err := localapi.Get(context.Background(), cfg.SocketPath())
		return err == nil && has(s.Health, code) == there
	})
}

func has(list []api.Health, code string) bool {
	return slices.ContainsFunc(list, func(h api.Health) bool { return h.Code == code })
}

// told waits until a heartbeat names a condition.
func told(t *testing.T, srv *agenttest.Server, code string) {
	t.Helper()
	agenttest.Wait(t, code+" in a heartbeat", func() bool {
		return slices.ContainsFunc(srv.Heartbeats(), func(b api.Heartbeat) bool { return has(b.Health, code) })
	})
}

// stored waits until the server has a number of hits.
func stored(t *testing.T, srv *agenttest.Server, n int) {
	t.Helper()
	agenttest.Wait(t, "the hits at the server", func() bool { hits, _ := srv.Hits(); return len(hits) >= n })
}

// swept waits until no gap is open.
func swept(t *testing.T, cfg config.Config) {
	t.Helper()
	agenttest.Wait(t, "the gaps to be closed", func() bool {
		s, err := localapi.Get(context.Background(), cfg.SocketPath())
		return err == nil && !slices.ContainsFunc(s.Gaps, func(g api.Gap) bool { return g.Closed == nil })
	})
}

// TestSpoolRots: a hit that becomes unreadable before the server has it is said, and
// its file is found and reported again.
func TestSpoolRots(t *testing.T) {
	srv, secret := agenttest.NewServer(t), content(5000, 1)
	cfg := enrolledConfig(t, srv, t.TempDir(), secret)
	out, _ := start(t, cfg)
	writeFile(t, filepath.Join(cfg.Watch.Paths[0], "first"), secret)
	stored(t, srv, 1)
	srv.Down(503, "")
	rotten, whole := filepath.Join(cfg.Watch.Paths[0], "rotten"), filepath.Join(cfg.Watch.Paths[0], "whole")
	writeFile(t, rotten, secret)
	agenttest.Wait(t, "a hit", func() bool { return strings.Contains(out.String(), "path="+rotten+" ") })
	spoil(t, filepath.Join(cfg.StateDir, "spool"), rotten)
	writeFile(t, whole, secret)
	agenttest.Wait(t, "a hit after it", func() bool { return strings.Contains(out.String(), "path="+whole+" ") })
	srv.Down(0, "")
	stored(t, srv, 3)
	hits, _ := srv.Hits()
	for _, path := range []string{rotten, whole} {
		if !slices.ContainsFunc(hits, func(h api.Hit) bool { return h.Verdict.Path == path }) {
			t.Errorf("%s was never delivered", path)
		}
	}
	condition(t, cfg, "spool.damaged", true)
	told(t, srv, "spool.damaged")
}

// spoil overwrites the place of a word in the spool.
func spoil(t *testing.T, dir, word string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "seg-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.LastIndex(string(b), word)
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("????"), int64(at)); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s is not in the spool", word)
}

// TestStateRots: a state store that is damaged under the agent is said and moved
// aside; what is written then is found, and what the spool still knows is not
// reported again.
func TestStateRots(t *testing.T) {
	srv, secret := agenttest.NewServer(t), content(5000, 1)
	cfg := enrolledConfig(t, srv, t.TempDir(), secret)
	out, _ := start(t, cfg)
	first, second := filepath.Join(cfg.Watch.Paths[0], "first"), filepath.Join(cfg.Watch.Paths[0], "second")
	writeFile(t, first, secret)
	stored(t, srv, 1)
	swept(t, cfg)
	if err := os.Truncate(filepath.Join(cfg.StateDir, "files.db"), 0); err != nil {
		t.Fatal(err)
	}
	writeFile(t, second, secret)
	stored(t, srv, 2)
	told(t, srv, "state.damaged")
	agenttest.Wait(t, "the sweep of everything", func() bool {
		return slices.ContainsFunc(srv.Heartbeats(), func(b api.Heartbeat) bool {
			return slices.ContainsFunc(b.Gaps, func(g api.Gap) bool { return g.Cause == "state" && g.Closed != nil })
		})
	})
	if n := strings.Count(out.String(), "path="+first+" "); n != 1 {
		t.Errorf("the first file was reported %d times:\n%s", n, out)
	}
}

// TestGapsWhileAway: what was not watched while the server was away is told to it
// afterwards, although it was made up for long before.
func TestGapsWhileAway(t *testing.T) {
	srv, secret := agenttest.NewServer(t), content(5000, 1)
	cfg := enrolledConfig(t, srv, t.TempDir(), secret)
	_, stop := start(t, cfg)
	agenttest.Wait(t, "a heartbeat", func() bool { return len(srv.Heartbeats()) > 0 })
	srv.Down(503, "")
	for range 2 { // each start is a gap of its own: the time before it
		stop()
		_, stop = start(t, cfg)
		swept(t, cfg)
	}
	srv.Down(0, "")
	agenttest.Wait(t, "all three gaps, closed", func() bool {
		beats := srv.Heartbeats()
		closed := map[string]bool{}
		for _, g := range beats[len(beats)-1].Gaps {
			closed[g.ID] = g.Cause == "stopped" && g.Closed != nil
		}
		return len(closed) == 3
	})
}

// TestClockSkew: a clock that is not the server's is said.
func TestClockSkew(t *testing.T) {
	srv := agenttest.NewServer(t)
	cfg := enrolledConfig(t, srv, t.TempDir(), content(5000, 1))
	srv.ClockAhead(3 * time.Hour)
	start(t, cfg)
	told(t, srv, "clock.skew")
	srv.ClockAhead(0)
	condition(t, cfg, "clock.skew", false)
}

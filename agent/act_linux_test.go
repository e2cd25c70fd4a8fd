package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
	"weightwarden/agent/enforce"
	"weightwarden/agent/localapi"
	"weightwarden/agent/scan"
	"weightwarden/internal/api"
)

func quarantining(stateDir, watched string) config.Config {
	cfg := testConfig(stateDir, watched)
	cfg.Enforce.Quarantine = true
	cfg.Enforce.Rules.Verdicts = []string{"IDENTICAL"}
	return cfg
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A copy is moved aside and reported once; brought back, it stays.
func TestQuarantine(t *testing.T) {
	root := t.TempDir() // one file system
	watched := filepath.Join(root, "data")
	if err := os.Mkdir(watched, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := quarantining(filepath.Join(root, "state"), watched)
	secret := content(5000, 1)
	localRegistry(t, &cfg, secret)
	cfg.Enforce.Rules.AllowPaths = []string{filepath.Join(watched, "allowed")}
	if err := os.Mkdir(cfg.Enforce.Rules.AllowPaths[0], 0o755); err != nil {
		t.Fatal(err)
	}
	out, _ := start(t, cfg)
	copied, allowed := filepath.Join(watched, "copy"), filepath.Join(watched, "allowed", "copy")
	writeFile(t, allowed, secret)
	writeFile(t, copied, secret)
	q := enforce.NewQuarantine(cfg.StateDir, "")
	var held []enforce.Record
	agenttest.Wait(t, "the copy in quarantine", func() bool {
		held, _ = q.List()
		return len(held) == 1 && held[0].State == enforce.StateHeld && strings.Count(out.String(), "HIT ") == 2
	})
	if exists(copied) || !exists(allowed) || held[0].Path != copied {
		t.Errorf("copy %v, allowed %v, record %+v", exists(copied), exists(allowed), held[0])
	}
	if _, err := q.Restore(held[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(watched, "marker")
	writeFile(t, other, content(5000, 2)) // judged after the restored file
	agenttest.Wait(t, "the marker", func() bool { return strings.Contains(out.String(), other) })
	if n := strings.Count(out.String(), "HIT "); !exists(copied) || n != 2 {
		t.Errorf("restored: %v, %d hits:\n%s", exists(copied), n, out)
	}
}

// An agent that is killed between the move and the hit reports it at its next
// start, once.
func TestQuarantineSurvivesKill(t *testing.T) {
	root := t.TempDir()
	watched := filepath.Join(root, "data")
	if err := os.Mkdir(watched, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := quarantining(filepath.Join(root, "state"), watched)
	secret := content(5000, 1)
	localRegistry(t, &cfg, secret)
	copied := filepath.Join(watched, "copy")
	writeFile(t, copied, secret)
	f, err := scan.OpenFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	info, err := scan.Stat(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	hit := api.Hit{SchemaVersion: 1, Event: "write", Verdict: api.Verdict{Verdict: api.Identical, Model: "aurora", ModelVersion: "3", Path: copied}}
	if _, err := enforce.NewQuarantine(cfg.StateDir, "").Take(info, hit); err != nil {
		t.Fatal(err)
	}
	for round, want := range []int{1, 0} {
		out, stop := start(t, cfg)
		if _, err := localapi.Get(context.Background(), cfg.SocketPath()); err != nil {
			t.Fatal(err)
		}
		stop()
		if n := strings.Count(out.String(), "HIT "); n != want {
			t.Errorf("start %d: %d hits, want %d:\n%s", round, n, want, out)
		}
	}
}

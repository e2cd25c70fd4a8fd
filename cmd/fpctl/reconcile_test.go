package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// role changes the token of a console to a new one of a role.
func (c *console) role(role string) {
	c.t.Helper()
	code, out, problems := c.run("token", "new", "--name", role, "--roles", role)
	if code != 0 {
		c.t.Fatal(problems)
	}
	c.env["WEIGHTWARDEN_TOKEN"] = strings.TrimSpace(out)
}

func TestReconcileTellsByExitCode(t *testing.T) {
	data := t.TempDir()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(data, "server.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutModel(t.Context(), store.ServerActor(), api.Model{Name: "aurora", Kind: api.KindProtected}); err != nil {
		t.Fatal(err)
	}
	h := api.Hit{Epoch: "e", Seq: 1, ObservedAt: time.Now(), Host: api.Host{Name: "ws-1"}, Verdict: api.Verdict{Verdict: api.Identical, Model: "borealis", ModelVersion: "3", Path: "/home/a\x1b[2J.bin"}}
	if _, err := s.AddHits(t.Context(), "a1", []api.Hit{h}, func(*api.Hit, int) int { return 2 }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := newConsoleOn(t, data)
	all := c.env["WEIGHTWARDEN_TOKEN"]
	c.role("admin")
	c.want(2, "403", "reconcile") // who administers the system reads no copies by that
	c.env["WEIGHTWARDEN_TOKEN"] = all
	c.role("reader")
	c.want(1, `unregistered  borealis 3  ws-1`, "reconcile")
	c.want(1, `/home/a\x1b[2J.bin`, "reconcile")
	c.want(1, `"reason":"model_not_registered"`, "reconcile", "--json")
	c.want(1, "1 unregistered, 0 misplaced, 0 missing", "reconcile")
	c.want(0, "agree", "reconcile", "--kind", "misplaced")
	c.want(0, "agree", "reconcile", "--model", "aurora")
	c.want(2, "400", "reconcile", "--kind", "lost")
	c.want(2, "400", "reconcile", "--days", "0")
}

func TestWebhookSources(t *testing.T) {
	c := newConsole(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of the hub's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.want(2, "printable", "webhook", "add", "huggingface", "--name", "hub", "--secret-file", secret)
	c.want(0, "/v1/webhooks/", "webhook", "add", "mlflow", "--name", "lab")
	c.want(0, "mlflow", "webhook", "list")
	c.want(0, "none", "model", "pending")
	c.want(2, "404", "model", "dismiss", "x", "--reason", "y")
	c.want(2, "404", "webhook", "rm", "x")
}

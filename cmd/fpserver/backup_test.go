package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"testing"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

// A backup of a running server starts as a server of its own, with the same
// identity and the same tokens.
func TestBackupOfARunningServerRestores(t *testing.T) {
	data := t.TempDir()
	srv := startChild(t, data, "127.0.0.1:0")
	defer srv.kill(t)
	_, _, admin, token := enrolled(t, data, srv.url)
	to := filepath.Join(t.TempDir(), "copy")
	var out, errs bytes.Buffer
	env := &cli.Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	if code := program().Run(t.Context(), env, []string{"backup", "--data", data, "--to", to}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	restored := startChild(t, to, "127.0.0.1:0")
	defer restored.kill(t)
	req, err := http.NewRequest("GET", restored.url+api.PathAgents, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := admin.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("agents of the restored server: %s", resp.Status)
	}
	if code := program().Run(t.Context(), env, []string{"backup", "--data", data, "--to", to}); code != cli.ExitError {
		t.Errorf("a backup over another: exit %d", code)
	}
}

package main

import (
	"bytes"
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// A backup of a running server starts as a server of its own, with the same
// identity and the same tokens.
func TestBackupOfARunningServerRestores(t *testing.T) {
	data := t.TempDir()
	srv := startChild(t, data, "127.0.0.1:0", "")
	defer srv.kill(t)
	_, _, admin, token := enrolled(t, data, srv.url)
	to := filepath.Join(t.TempDir(), "copy")
	var out, errs bytes.Buffer
	env := &cli.Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	if code := program().Run(t.Context(), env, []string{"backup", "--data", data, "--to", to}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	restored := startChild(t, to, "127.0.0.1:0", "")
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

// A server on SQLite goes to PostgreSQL by backup and restore, and from there back
// to SQLite; a damaged backup is refused.
func TestRestoreOnBothEngines(t *testing.T) {
	admin := storetest.Postgres(t)
	data := t.TempDir()
	srv := startChild(t, data, "127.0.0.1:0", "")
	id, _, _, _ := enrolled(t, data, srv.url)
	srv.kill(t)
	dir := t.TempDir()
	var out, errs bytes.Buffer
	env := &cli.Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	run := func(want int, args ...string) {
		t.Helper()
		if code := program().Run(t.Context(), env, args); code != want {
			t.Fatalf("%v: exit %d: %s", args, code, &errs)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	url := storetest.Database(t, admin, "restored")
	run(cli.ExitOK, "backup", "--data", data, "--to", at("backup"))
	run(cli.ExitOK, "restore", "--from", at("backup"), "--data", at("pg"), "--database-url", url)
	run(cli.ExitError, "restore", "--from", at("backup"), "--data", at("again"), "--database-url", url) // not over a database in use
	run(cli.ExitOK, "backup", "--data", at("pg"), "--database-url", url, "--to", at("back"))
	run(cli.ExitOK, "restore", "--from", at("back"), "--data", at("sqlite"))
	s := storetest.Open(t, store.Config{Path: at("sqlite/server.db")})
	if a, err := s.Agent(t.Context(), id); err != nil || a.State != store.AgentActive {
		t.Errorf("the agent after both ways: %+v, %v", a, err)
	}
	bad, err := sql.Open("sqlite", at("back/server.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Exec("UPDATE audit SET leaf = CAST(REPLACE(CAST(leaf AS TEXT), 'agent.enrol', 'agent.enrom') AS BLOB)"); err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	run(cli.ExitError, "restore", "--from", at("back"), "--data", at("never"))
}

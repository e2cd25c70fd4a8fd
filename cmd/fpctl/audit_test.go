package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/cli"
	"weightwarden/server"
	"weightwarden/server/store"
)

// console runs fpctl against a server on loopback.
type console struct {
	t    *testing.T
	data string
	env  map[string]string
}

func newConsole(t *testing.T) *console {
	t.Helper()
	return newConsoleOn(t, t.TempDir())
}

func newConsoleOn(t *testing.T, data string) *console {
	t.Helper()
	c := &console{t: t, data: data}
	s, err := server.New(t.Context(), server.Config{DataDir: c.data, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard})
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
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(filepath.Join(c.data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	c.env = map[string]string{"WEIGHTWARDEN_SERVER": "https://" + l.Addr().String(), "WEIGHTWARDEN_TOKEN": strings.TrimSpace(string(token)),
		"WEIGHTWARDEN_CA": filepath.Join(c.data, "ca.pem"), "HOME": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir()}
	return c
}

func (c *console) run(args ...string) (code int, out, problems string) {
	var stdout, stderr bytes.Buffer
	env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(k string) string { return c.env[k] }}
	code = program().Run(c.t.Context(), env, args)
	return code, stdout.String(), stderr.String()
}

func (c *console) want(code int, text string, args ...string) {
	c.t.Helper()
	got, out, problems := c.run(args...)
	if got != code || !strings.Contains(out+problems, text) {
		c.t.Errorf("fpctl %s: exit %d\n%s%s\nwant exit %d and %q", strings.Join(args, " "), got, out, problems, code, text)
	}
}

// What somebody changes in the database past the server is found by fpctl.
func TestAuditVerifyFindsWhatWasChanged(t *testing.T) {
	c := newConsole(t)
	for range 3 {
		c.want(0, "wwe1", "token", "new", "--enrol", "--name", "farm")
	}
	c.want(0, "verified", "audit", "verify")
	c.want(0, "entry 2 of", "audit", "entry", "2")
	c.want(2, "404", "audit", "entry", "999")

	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.data, "server.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var leaf []byte
	if err := db.QueryRow("SELECT leaf FROM audit WHERE seq = 2").Scan(&leaf); err != nil {
		t.Fatal(err)
	}
	set := func(q string, args ...any) {
		t.Helper()
		if _, err := db.Exec(q, args...); err != nil {
			t.Fatal(err)
		}
	}
	set("UPDATE audit SET leaf = ? WHERE seq = 2", bytes.Replace(leaf, []byte("farm"), []byte("fram"), 1))
	c.want(2, "tampered", "audit", "verify")
	c.want(2, "tampered", "audit", "entry", "2")
	set("UPDATE audit SET leaf = ? WHERE seq = 2", leaf)
	c.want(0, "verified", "audit", "verify")

	set("DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)")
	c.want(2, "the audit log is damaged", "audit", "verify")
}

// A checkpoint that was kept elsewhere is held against the log.
func TestAuditVerifyAgainstACheckpoint(t *testing.T) {
	c, other := newConsole(t), newConsole(t)
	head := func(c *console) string {
		t.Helper()
		set, err := newClient(&settings{Server: c.env["WEIGHTWARDEN_SERVER"], Token: c.env["WEIGHTWARDEN_TOKEN"], CA: read(t, c.env["WEIGHTWARDEN_CA"])})
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		if err := set.call(t.Context(), "GET", "/v1/audit/head", nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kept, foreign := head(c), head(other)
	c.want(0, "wwe1", "token", "new", "--enrol", "--name", "farm")
	c.want(0, "verified", "audit", "verify", "--checkpoint", kept)
	c.want(2, "checkpoint", "audit", "verify", "--checkpoint", foreign)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A log of many entries verifies; WEIGHTWARDEN_AUDIT_ENTRIES says how many, and the
// log of the test how long it took.
func TestAuditVerifyOfALongLog(t *testing.T) {
	n := 12_000 // more than two parts
	if text := os.Getenv("WEIGHTWARDEN_AUDIT_ENTRIES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "server.db")})
	if err != nil {
		t.Fatal(err)
	}
	by := store.Actor{Kind: "token", ID: store.NewID(), Name: "nightly registration", Remote: "192.0.2.7:41234"}
	for done := 0; done < n; {
		part := min(1000, n-done)
		err := s.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			for i := range part {
				if err := tx.Audit(ctx, by, "model.artifact", fmt.Sprint("aurora/", done+i), map[string]any{"name": fmt.Sprintf("model-%05d.safetensors", i), "tensors": 291}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		done += part
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := newConsoleOn(t, dir)
	began := time.Now()
	c.want(0, "verified", "audit", "verify")
	t.Logf("%d entries and those of the start verified in %v", n, time.Since(began))
}

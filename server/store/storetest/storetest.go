// Package storetest gives tests a store on each engine: SQLite always,
// PostgreSQL where its server programs are installed (or
// WEIGHTWARDEN_TEST_POSTGRES names a database that may be emptied).
package storetest

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"weightwarden/server/store"
)

// Case is one test of the suite.
type Case struct {
	Name string
	Run  func(t *testing.T, s *store.Store)
}

// Each runs every case on every engine there is, each on an empty database.
func Each(t *testing.T, cases []Case) {
	t.Run("sqlite", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				c.Run(t, Open(t, store.Config{Path: filepath.Join(t.TempDir(), "test.db")}))
			})
		}
	})
	t.Run("postgres", func(t *testing.T) {
		admin := Postgres(t)
		for i, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				c.Run(t, Open(t, store.Config{URL: Database(t, admin, fmt.Sprint("case", i))}))
			})
		}
	})
}

// Database makes an empty database beside the one of a URL and returns its URL.
func Database(tb testing.TB, admin, name string) string {
	tb.Helper()
	db, err := sql.Open("pgx", admin)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := db.Exec(q); err != nil {
			tb.Fatal(err)
		}
	}
	u, err := url.Parse(admin)
	if err != nil {
		tb.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Open opens a store that is closed at the test's end.
func Open(tb testing.TB, cfg store.Config) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Postgres starts a private PostgreSQL that listens on a unix socket only, and
// returns the URL of an empty database. It skips the test where PostgreSQL is not
// installed.
func Postgres(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv("WEIGHTWARDEN_TEST_POSTGRES"); url != "" {
		return url
	}
	return StartCluster(tb).URL
}

// Cluster is a private PostgreSQL that a test may stop and start.
type Cluster struct {
	URL string // of an empty database

	bin, dir string
	attr     *syscall.SysProcAttr
}

// StartCluster starts one. It skips the test where PostgreSQL is not installed.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		tb.Skip("PostgreSQL is not installed")
	}
	dir, err := os.MkdirTemp("/tmp", "wwpg")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	c := &Cluster{URL: "postgres://test@/postgres?host=" + dir, bin: filepath.Dir(found[len(found)-1]), dir: dir, attr: unprivileged(tb, dir)}
	c.run(tb, "initdb", "-D", c.data(), "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync")
	c.Start(tb)
	tb.Cleanup(func() { c.Stop(tb, "immediate") })
	return c
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Start starts a stopped PostgreSQL and returns when it takes connections.
func (c *Cluster) Start(tb testing.TB) {
	tb.Helper()
	c.run(tb, "pg_ctl", "-D", c.data(), "-w", "-l", filepath.Join(c.dir, "server.log"), "-o", fmt.Sprintf("-k %s -c listen_addresses=''", c.dir), "start")
}

// Stop stops it: "fast" ends all connections in order, "immediate" is a crash.
func (c *Cluster) Stop(tb testing.TB, mode string) {
	tb.Helper()
	c.run(tb, "pg_ctl", "-D", c.data(), "-w", "-m", mode, "stop")
}

func (c *Cluster) run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Env = c.attr, c.dir, append(os.Environ(), "LC_ALL=C")
	log, err := os.Create(filepath.Join(c.dir, name+".out"))
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		tb.Fatalf("%s: %v\n%s", name, err, text)
	}
}

//go:build unix

package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weightwarden/agent"
	"weightwarden/agent/agenttest"
	"weightwarden/agent/identity"
	"weightwarden/internal/api"
)

const (
	carryWay   = "FPAGENT_TEST_CARRY"
	childState = "FPAGENT_TEST_STATE"
	childWatch = "FPAGENT_TEST_WATCH"
	killRounds = "FPAGENT_TEST_KILLS" // how often the agent is killed; 12 when unset
)

// TestMain lets the test binary be the agent that gets killed, and the program that
// carries a copy away.
func TestMain(m *testing.M) {
	if way := os.Getenv(carryWay); way != "" {
		if err := carry(way, os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(childState); dir != "" {
		if err := child(dir, os.Getenv(childWatch)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(dir, watched string) error {
	a, err := agent.New(testConfig(dir, watched), agent.Deps{OpenRegistry: agenttest.OpenRegistry, Out: os.Stdout,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test"})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

func rounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv(killRounds))
	if err != nil {
		return 12
	}
	t.Logf("%d kills", n)
	return n
}

// TestKill kills the agent at random points, also between detection and
// delivery: every copy is reported exactly once, as the server sees it.
func TestKill(t *testing.T) {
	srv := agenttest.NewServer(t)
	watched, stateDir := t.TempDir(), t.TempDir()
	if _, err := identity.Enroll(t.Context(), stateDir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	secret := content(20000, 1)
	srv.Publish(1, agenttest.Registry(secret))
	rng := rand.New(rand.NewPCG(1, 2))
	written := 0
	log, err := os.Create(filepath.Join(t.TempDir(), "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for round := range rounds(t) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childState+"="+stateDir, childWatch+"="+watched)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A server that fails now and then keeps some hits undelivered at the kill.
		if round%3 == 0 {
			srv.Down(500, "")
		} else {
			srv.Down(0, "")
		}
		for range 3 {
			writeFile(t, filepath.Join(watched, fmt.Sprintf("copy-%d", written)), secret)
			written++
			time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // the point of the kill is to be random
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says "killed"
	}
	srv.Down(0, "")
	cfg := testConfig(stateDir, watched)
	start(t, cfg)
	agenttest.Wait(t, "every copy", func() bool { hits, _ := srv.Hits(); return len(hits) >= written })
	writeFile(t, filepath.Join(watched, "last"), secret)
	agenttest.Wait(t, "the last copy", func() bool { return perPath(srv)[filepath.Join(watched, "last")] == 1 })
	for path, n := range perPath(srv) {
		if n != 1 {
			b, _ := os.ReadFile(log.Name())
			t.Errorf("%s: %d hits; log:\n%s", path, n, b)
		}
	}
	if got := len(perPath(srv)); got != written+1 {
		t.Errorf("%d copies reported, %d written", got, written+1)
	}
}

func perPath(srv *agenttest.Server) map[string]int {
	out := map[string]int{}
	hits, _ := srv.Hits()
	for _, h := range hits {
		out[h.Verdict.Path]++
	}
	return out
}

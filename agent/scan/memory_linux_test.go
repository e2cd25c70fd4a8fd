package scan

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/process"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
)

const holdEnv = "SCAN_TEST_HOLD"

// TestMain lets the test binary hold a memfd, and a deleted file, open.
func TestMain(m *testing.M) {
	if os.Getenv(holdEnv) == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(holdEnv) == many {
		if err := holdMany(); err != nil {
			fmt.Println("few", err)
			os.Exit(0)
		}
	}
	data := []byte(strings.Repeat("weights.", 1000))
	fd, err := unix.MemfdCreate("innocent", 0)
	if err == nil {
		_, err = unix.Write(fd, data)
	}
	f, cerr := os.CreateTemp("", "held")
	if err == nil && cerr == nil {
		_, err = f.Write(append([]byte("second "), data...))
		os.Remove(f.Name())
	}
	fmt.Println("ready", err, cerr)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test is done
	os.Exit(0)
}

// many is the value of holdEnv for a process with more descriptors than are read at once.
const many = "many"

// holdMany opens as many descriptors as it may, up to 100,000.
func holdMany() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, 100_100)
	if limit.Cur = limit.Max; unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // not ours to raise
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	n := min(limit.Cur-100, 100_000)
	if n < 2*4096 {
		return fmt.Errorf("%d descriptors", n)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
	for range n {
		if err != nil {
			return err
		}
		_, err = unix.Dup(null)
	}
	return err
}

func TestSweepOpenFindsMemoryAndDeletedFiles(t *testing.T) {
	for _, held := range []string{"few", many} {
		t.Run(held+" descriptors", func(t *testing.T) { sweepOpenFinds(t, held) })
	}
}

func sweepOpenFinds(t *testing.T, held string) {
	data := []byte(strings.Repeat("weights.", 1000))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+held)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	line := make([]byte, 100)
	n, err := out.Read(line)
	if strings.HasPrefix(string(line[:n]), "few") {
		t.Skipf("so many descriptors may not be had here: %s", line[4:n])
	}
	if err != nil || !strings.HasPrefix(string(line[:n]), "ready <nil> <nil>") {
		t.Fatalf("%q %v", line[:n], err)
	}
	store, err := state.Open(filepath.Join(t.TempDir(), "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	registry := filepath.Join(t.TempDir(), "r")
	if err := os.WriteFile(registry, agenttest.Registry(data, append([]byte("second "), data...)), 0o600); err != nil {
		t.Fatal(err)
	}
	judge, err := agenttest.OpenRegistry(t.Context(), registry)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var hits []Outcome
	s := New(ctx, Deps{
		Registry: func() Registry { return Registry{Judge: judge, Epoch: 1} },
		Store:    store, Who: process.NewTracker(process.Proc{Root: "/proc"}, nil),
		Report: func(_ context.Context, o Outcome) error {
			mu.Lock()
			defer mu.Unlock()
			if o.Verdict.Verdict.IsHit() {
				hits = append(hits, o)
			}
			return nil
		},
		Gap: func(watch.Gap) {}, Log: t.Logf,
	}, Options{MinSize: 4096, Quiet: 10 * time.Millisecond, MaxWait: time.Minute, Workers: 1, Queue: 64, QuickAbove: 1 << 30})
	began := time.Now()
	if _, err := s.SweepOpen(ctx, "/proc", watch.Filter{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("swept in %v", time.Since(began))
	agenttest.Wait(t, "both files", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(hits) == 2
	})
	cancel()
	s.Wait()
	for _, h := range hits {
		if h.Process == nil || h.Process.PID != cmd.Process.Pid {
			t.Errorf("%s: process %+v", h.Path, h.Process)
		}
	}
}

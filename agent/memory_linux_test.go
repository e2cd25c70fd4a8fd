package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
)

// Copies that have no name, in memory or deleted while a program keeps them open, are
// reported by the running agent with the program that has them; so are those of programs
// that open them while it runs.
func TestNamelessCopies(t *testing.T) {
	root := t.TempDir()
	watched := filepath.Join(root, "data")
	if err := os.Mkdir(watched, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(filepath.Join(root, "state"), watched)
	cfg.Watch.PollInterval = config.Duration(200 * time.Millisecond)
	secrets := [][]byte{content(5000, 1), content(5000, 2)}
	localRegistry(t, &cfg, secrets...)

	fd, err := unix.MemfdCreate("innocent", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "memfd")
	deleted, err := os.CreateTemp(root, "held") // not in the watched folder: no event tells of it
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range []*os.File{memory, deleted} {
		if _, err := f.Write(secrets[i]); err != nil {
			t.Fatal(err)
		}
		holder := exec.Command("sleep", "300")
		holder.ExtraFiles = []*os.File{f}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
		if f == deleted {
			err = os.Remove(f.Name())
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out, _ := start(t, cfg)
	agenttest.Wait(t, "both copies", func() bool { return strings.Count(out.String(), "HIT ") == 2 })
	for _, name := range []string{"memfd:innocent", "held"} {
		if !strings.Contains(lineOf(out.String(), name), "process=sleep") {
			t.Errorf("%s is not laid to who holds it:\n%s", name, out)
		}
	}
}

// lineOf returns the first line that contains something.
func lineOf(text, part string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

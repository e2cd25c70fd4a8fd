package process

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"weightwarden/internal/api"
)

func digestOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := blake3.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestProgramDigest(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g := NewPrograms("/proc")
	want := digestOf(t, exe)
	for range 2 {
		if got := g.Digest(&api.Process{PID: os.Getpid(), Exe: exe}); got != want {
			t.Errorf("this program is %q, want %q", got, want)
		}
	}
	if len(g.known) != 1 {
		t.Errorf("%d programs after two looks at one", len(g.known))
	}
}

// The program of a process that ended counts only if it cannot have changed since.
func TestProgramDigestOfTheDead(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	g := NewPrograms(t.TempDir()) // nobody lives there
	later, earlier := time.Now().Add(time.Minute), time.Now().Add(-time.Minute)
	for name, tt := range map[string]struct {
		started *time.Time
		want    string
	}{"unchanged since": {&later, digestOf(t, exe)}, "changed since": {&earlier, ""}, "start unknown": {nil, ""}} {
		if got := g.Digest(&api.Process{PID: 1, Exe: exe, Started: tt.started}); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := g.Digest(&api.Process{PID: 1, Exe: filepath.Dir(exe), Started: &later}); got != "" {
		t.Errorf("a folder gives %q", got)
	}
}

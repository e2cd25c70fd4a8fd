package watch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A private tmpfs in a namespace of its own is followed by the programs that start
// there; nobody looks at all namespaces in this test.
func TestPrivateTmpfsByStarts(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: 4096, Poll: time.Hour})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each cp is a start; the first of them has the mounts marked for those after it.
	script := `mount -t tmpfs x "$1" && i=0; while [ $i -lt 600 ]; do cp "$0" "$1/copy$i" || exit 1; sleep 0.05; i=$((i+1)); done`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, src, dir)
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	waitFor(t, k, "a copy in the private file system", func(e Event) bool {
		if e.File != nil {
			e.File.Close()
		}
		return e.Op == Write && strings.HasPrefix(filepath.Base(e.Path), "copy")
	})
}

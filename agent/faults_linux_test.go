package agent_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weightwarden/agent/agenttest"
)

// smallDisk mounts a file system that holds 4 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a small file system can only be mounted by root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes to a file in dir until nothing more fits; free makes room again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(zeros)
	}
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull: where the spool cannot be written, that is said, copies
// are held back and not lost, also over a new start, and they are reported when
// there is room again.
func TestDiskFull(t *testing.T) {
	srv, secret := agenttest.NewServer(t), content(5000, 1)
	stateDir := smallDisk(t)
	cfg := enrolledConfig(t, srv, stateDir, secret)
	out, stop := start(t, cfg)
	before := filepath.Join(cfg.Watch.Paths[0], "before")
	writeFile(t, before, secret)
	stored(t, srv, 1)

	free := fill(t, stateDir)
	const copies = 10 // the first few still fit into the last page
	for i := range copies {
		writeFile(t, filepath.Join(cfg.Watch.Paths[0], fmt.Sprint("during", i)), secret)
	}
	condition(t, cfg, "spool.write", true)
	told(t, srv, "spool.write")
	if s := out.String(); strings.Count(s, "during") == copies {
		t.Errorf("a hit that is nowhere on disk was printed:\n%s", s)
	}
	stop()
	after, stop := start(t, cfg) // the disk is still full
	condition(t, cfg, "spool.write", true)
	free()
	stored(t, srv, 1+copies)
	condition(t, cfg, "spool.write", false)
	condition(t, cfg, "state.write", false)
	condition(t, cfg, "state.damaged", false)
	stop()
	// The cursor could not be written either: hits may come twice, with the same number.
	if hits, _ := srv.Hits(); len(hits) != 1+copies {
		t.Errorf("%d hits, want %d", len(hits), 1+copies)
	}
	for i := range copies {
		if n := strings.Count(out.String()+after.String(), fmt.Sprint("during", i, " ")); n != 1 {
			t.Errorf("copy %d was printed %d times:\n%s%s", i, n, out, after)
		}
	}
}

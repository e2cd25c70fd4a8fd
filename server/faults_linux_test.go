package server

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/internal/api"
)

// small mounts a file system of 8 MB for the test.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=700"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		for try := 0; ; try++ { // a watcher of another test may just look at it
			err := unix.Unmount(dir, 0)
			if err == nil || try == 50 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return dir
}

// A full disk holds the agents' hits up and loses none: once there is room, all come.
func TestFullDisk(t *testing.T) {
	dir := small(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("filled", func(t *testing.T) { // the server ends before the file system does
		s := newSender(t, startWith(t, filepath.Join(dir, "data"), func(c *Config) { c.TokenRate = 10_000 }))
		padding := strings.Repeat("the weights are those of aurora; ", 1500)
		for s.deliver(t, padding) {
			if s.next > 1000 {
				t.Fatal("the disk does not fill up")
			}
		}
		taken := s.next - 1
		for range 3 {
			s.deliver(t, padding)
		}
		if status, retry := s.beat(t); status != http.StatusOK && (status != http.StatusServiceUnavailable || retry == "") {
			t.Errorf("heartbeat on a full disk: %d, Retry-After %q", status, retry)
		}
		if page := must[api.List[api.HitInfo]](t, s.r, "GET", "/v1/hits?limit=1", nil); len(page.Items) != 1 {
			t.Error("hits cannot be read")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		s.drain(t, taken+30)
		t.Logf("%d hits until the disk was full, %d after room was made", taken, s.next-1-taken)
		s.checkStored(t)
	})
}

// A server does not start on a data folder that it cannot write, and says so.
func TestReadOnlyFolder(t *testing.T) {
	dir := small(t)
	t.Run("filled", func(t *testing.T) {
		start := startIn(t, filepath.Join(dir, "data"))
		_ = newSender(t, start).deliver(t, "")
	})
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), Config{DataDir: filepath.Join(dir, "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard})
	if err == nil {
		s.Close()
		t.Fatal("it starts")
	}
	if text := strings.ToLower(err.Error()); !strings.Contains(text, "read") {
		t.Errorf("it says %q", err)
	}
}

package watch

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The device number of a file system that is gone is given to the next one at once: it is marked all the same.
func TestDeviceNumberGivenAgain(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	mount := func() uint64 {
		t.Helper()
		if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			t.Fatal(err)
		}
		return st.Dev
	}
	dev := mount()
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: 4096, Poll: time.Hour})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	again := 0
	for i := range 20 {
		k.mu.Lock() // the table is looked at afterwards only
		err := unix.Unmount(dir, 0)
		if err == nil && mount() == dev {
			again++
		}
		k.mu.Unlock()
		if err != nil {
			time.Sleep(20 * time.Millisecond) // another test looks at it
			continue
		}
		time.Sleep(50 * time.Millisecond)
		path := filepath.Join(dir, "copy"+string(rune('a'+i)))
		// Until the change of the table was seen; what this process writes is not told.
		cmd := exec.Command("sh", "-c", `while head -c 5000 /dev/zero >"$0"; do sleep 0.05; done`, path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, k, "a write in the file system with a number that was another's", func(e Event) bool {
			if e.File != nil {
				e.File.Close()
			}
			return e.Path == path
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if again > 2 {
			return
		}
	}
	t.Skip("no number was given again")
}

// A file system beneath another is not taken for watched, and is as soon as it can be reached.
func TestMountedOver(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for range 2 {
		if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: 4096, Poll: time.Hour})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	states := func() (out []string) {
		for _, w := range k.Status() {
			if w.Path == dir {
				out = append(out, w.State)
			}
		}
		slices.Sort(out)
		return out
	}
	if got := states(); !slices.Equal(got, []string{"ok", "partial"}) {
		t.Errorf("one over the other: %q", got)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !slices.Equal(states(), []string{"ok"}); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := states(); !slices.Equal(got, []string{"ok"}) {
		t.Errorf("with nothing over it: %q", got)
	}
}

package watch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// place is a file system of the matrix.
type place struct {
	name  string
	make  func(t *testing.T) string // returns a folder on it, or skips
	names bool                      // renames and links are seen
	gaps  map[string]string         // ways that are not caught there, and why
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("marks on file systems need root")
	}
}

func mountAt(t *testing.T, source, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(source, dir, kind, 0, options); err != nil {
		t.Skipf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v (something holds a file open)", dir, err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}

func loopFS(kind string, size int64, mkfs ...string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if _, err := exec.LookPath(mkfs[0]); err != nil {
			t.Skipf("%s is not installed", mkfs[0])
		}
		image := filepath.Join(t.TempDir(), "image")
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
		if err != nil {
			t.Skipf("losetup: %v: %s", err, out)
		}
		loop := strings.TrimSpace(string(out))
		t.Cleanup(func() { _ = exec.Command("losetup", "--detach", loop).Run() })
		return mountAt(t, loop, kind, "")
	}
}

func overlay(t *testing.T) string {
	t.Helper()
	base := mountAt(t, "tmpfs", "tmpfs", "size=64m")
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return mountAt(t, "overlay", "overlay", "lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work")
}

func matrix() []place {
	noHandle := "the file system gives no file handles"
	return []place{
		{"disk", func(t *testing.T) string { return t.TempDir() }, true, nil},
		{"tmpfs", func(t *testing.T) string { return mountAt(t, "tmpfs", "tmpfs", "size=64m") }, true, nil},
		{"loop ext4", loopFS("ext4", 64<<20, "mkfs.ext4", "-q"), true, nil},
		{"loop xfs", loopFS("xfs", 320<<20, "mkfs.xfs", "-q"), true, nil},
		{"loop btrfs", loopFS("btrfs", 256<<20, "mkfs.btrfs", "-q"), true, nil},
		{"fuse", fuse, false, map[string]string{"open_by_handle_at": noHandle}},
		{"overlay", overlay, false, map[string]string{"open_by_handle_at": noHandle}},
	}
}

// TestEvasionMatrix runs every way on every file system. A way is caught when an
// event of another process brings the copy's content in an open file (even when
// its name is gone already), or names the new path of content that was there.
func TestEvasionMatrix(t *testing.T) {
	needRoot(t)
	data := bytes.Repeat([]byte("weights."), wayBytes/8)
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range matrix() {
		t.Run(p.name, func(t *testing.T) {
			root := p.make(t)
			if err := os.Chmod(root, 0o755); err != nil {
				t.Fatal(err)
			}
			k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: wayBytes, Poll: 200 * time.Millisecond})
			if err != nil {
				t.Skipf("fanotify: %v", err)
			}
			defer k.Close()
			for way := range ways() {
				t.Run(way, func(t *testing.T) { tryWay(t, k, p, root, src, way, data) })
			}
			t.Run("canaries", func(t *testing.T) { allSing(t, k, root) })
		})
	}
}

func tryWay(t *testing.T, k *Kernel, p place, root, src, way string, data []byte) {
	dir, err := os.MkdirTemp(root, "way")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "known"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], src, dir)
	// The race detector's own second of waiting at the end of a process is not needed.
	cmd.Env = append(os.Environ(), wayEnv+"="+way, "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout = &out
	stay, err := cmd.StdinPipe() // closed when the copy was caught: nobody stays for longer
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	byName := way == "rename" || way == "hard link"
	blind, gap := p.gaps[way]
	if byName && !p.names {
		blind, gap = "this file system tells no names; sweeps find it", true
	}
	var others []string
	seen := gap || waitCaught(k, func(ev Event) bool {
		if strings.HasPrefix(ev.Path, dir) {
			others = append(others, fmt.Sprintf("%v %q by %d", ev.Op, ev.Path, ev.PID))
		}
		return caught(ev, cmd.Process.Pid, byName, dir, data)
	}, ended)
	stay.Close()
	if err := <-ended; err != nil && way != "killed after write" {
		if cmd.ProcessState.ExitCode() == wayImpossible {
			t.Skip(out.String())
		}
		t.Fatalf("%v: %s", err, out.String())
	}
	switch {
	case gap:
		t.Skipf("documented gap: %s", blind)
	case !seen:
		t.Fatalf("not caught by process %d: %q", cmd.Process.Pid, others)
	}
}

// waitCaught reads events until one is the right one. It gives up at its deadline,
// or at once when the copying process failed.
func waitCaught(k *Kernel, right func(Event) bool, ended chan error) bool {
	deadline := time.After(30 * time.Second)
	failed := ended
	for {
		select {
		case ev := <-k.Events():
			if right(ev) {
				return true
			}
		case <-k.Gaps():
		case err := <-failed:
			ended <- err // for the caller
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.Exited() {
				return false
			}
			failed = nil
		case <-deadline:
			return false
		}
	}
}

// allSing: a canary comes back from every file system.
func allSing(t *testing.T, k *Kernel, root string) {
	done := make(chan error)
	go func() { done <- k.Canary(root, 20*time.Second) }()
	for {
		select {
		case ev := <-k.Events():
			if ev.File != nil {
				ev.File.Close()
			}
		case <-k.Gaps():
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

func caught(ev Event, pid int, byName bool, dir string, data []byte) bool {
	if ev.File != nil {
		defer ev.File.Close()
	}
	if ev.PID != pid && !(strings.HasPrefix(ev.Path, dir) && kernelThread(ev.PID)) {
		return false
	}
	if byName {
		return (ev.Op == Rename || ev.Op == Link) && ev.Path == filepath.Join(dir, "copy")
	}
	if ev.File == nil {
		return false
	}
	got := make([]byte, len(data))
	_, err := ev.File.ReadAt(got, 0)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(got, data)
}

// kernelThread reports whether a process is one of the kernel's. These may close what a process wrote through io_uring
// when it ends at once; agent/process tells who it was.
func kernelThread(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return err == nil && len(f) > 1 && f[1] == "2"
}

// TestDeleteStorm makes and deletes files (50,000 with WATCH_TEST_FILES=50000):
// every one is seen, with its path, though it is gone by then.
func TestDeleteStorm(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	k, err := NewKernel(KernelOptions{Roots: []string{dir}, MinSize: 1})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	count := 5000
	if n, err := strconv.Atoi(os.Getenv("WATCH_TEST_FILES")); err == nil {
		count = n
	}
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt "$1" ]; do echo x >"$0/f$i"; i=$((i+1)); done; find "$0" -name 'f*' -delete`, dir, strconv.Itoa(count))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	seen := map[string]bool{}
	deadline := time.After(3 * time.Minute)
	for len(seen) < count {
		select {
		case ev := <-k.Events():
			if ev.File != nil {
				ev.File.Close()
			}
			if ev.Op == Write {
				seen[ev.Path] = true
			}
		case g := <-k.Gaps():
			t.Logf("gap %+v", g)
		case <-deadline:
			t.Fatalf("%d of %d seen", len(seen), count)
		}
	}
}

// TestKernelOverflow fills a bounded queue: the loss is told as a gap.
func TestKernelOverflow(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	k, err := NewKernel(KernelOptions{Roots: []string{dir}, MinSize: 1, Bounded: true})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt 25000 ]; do echo x >"$0/f$i"; i=$((i+1)); done`, dir)
	if err := cmd.Run(); err != nil { // nobody reads the events meanwhile
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for {
		select {
		case ev := <-k.Events():
			if ev.File != nil {
				ev.File.Close()
			}
		case g := <-k.Gaps():
			if g.Cause == "overflow" {
				return
			}
		case <-deadline:
			t.Fatal("no gap was told")
		}
	}
}

// TestCanaryAndMarks: a watcher whose mark is taken away notices.
func TestCanaryAndMarks(t *testing.T) {
	needRoot(t)
	dir := mountAt(t, "tmpfs", "tmpfs", "size=1m")
	k, err := NewKernel(KernelOptions{Roots: []string{dir}, MinSize: 1})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	if err := k.Canary(dir, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, w := range k.Status() {
		if w.Path == dir && w.State != "ok" {
			t.Errorf("%+v", w)
		}
	}
	if err := k.content.Mark(unix.FAN_MARK_FLUSH|unix.FAN_MARK_FILESYSTEM, 0, dir); err != nil {
		t.Fatal(err)
	}
	if err := k.Canary(dir, 300*time.Millisecond); err == nil {
		t.Error("the canary sings without a mark")
	}
	broken := false
	for _, w := range k.Status() {
		broken = broken || w.Path == dir && w.State == "broken"
	}
	if !broken {
		t.Errorf("%+v", k.Status())
	}
}

// TestNewMount: a file system that is mounted later is watched, and what it
// holds already is told as a gap.
func TestNewMount(t *testing.T) {
	needRoot(t)
	k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: 1})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	dir := mountAt(t, "tmpfs", "tmpfs", "size=1m")
	deadline := time.After(20 * time.Second)
	for {
		select {
		case ev := <-k.Events():
			if ev.File != nil {
				ev.File.Close()
			}
			continue
		case g := <-k.Gaps():
			if g.Path != dir {
				continue
			}
		case <-deadline:
			t.Fatal("the mount was not noticed")
		}
		break
	}
	if err := exec.Command("sh", "-c", `echo x >"$0/f"`, dir).Run(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, k, "file on the new mount", func(e Event) bool {
		if e.File != nil {
			e.File.Close()
		}
		return e.Path == filepath.Join(dir, "f")
	})
}

// TestRawDevice: a disk that is written past its file system is told, with the
// process.
func TestRawDevice(t *testing.T) {
	needRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "--detach", loop).Run()
	var st unix.Statfs_t
	if err := unix.Statfs(devices, &st); err != nil {
		t.Fatal(err)
	}
	k, err := NewKernel(KernelOptions{Roots: []string{"/"}, MinSize: 1 << 30})
	if err != nil {
		t.Skipf("fanotify: %v", err)
	}
	defer k.Close()
	cmd := exec.Command("dd", "if=/dev/zero", "of="+loop, "bs=4096", "count=1")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, k, "the raw device", func(e Event) bool {
		if e.File != nil {
			e.File.Close()
		}
		return e.Op == Device && e.Path == loop && e.PID == cmd.Process.Pid
	})
}

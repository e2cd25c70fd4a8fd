package process

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

func message(what uint32, fields ...int32) []byte {
	b := make([]byte, netlinkHeader+connectorHeader+procHeader+4*len(fields))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint32(b[netlinkHeader+connectorHeader:], what)
	for i, f := range fields {
		binary.NativeEndian.PutUint32(b[netlinkHeader+connectorHeader+procHeader+4*i:], uint32(f))
	}
	return b
}

func TestParseConnector(t *testing.T) {
	b := append(message(ProcFork, 1, 1, 7, 7), append(message(ProcExec, 7, 7), message(ProcExit, 7, 7, 0, 0)...)...)
	got, err := parseConnector(b)
	if err != nil || len(got) != 3 || got[0] != (ProcEvent{What: ProcFork, PID: 7, Thread: 7, Parent: 1}) || got[1].What != ProcExec || got[2].What != ProcExit {
		t.Fatalf("%+v %v", got, err)
	}
	binary.NativeEndian.PutUint32(b, 1<<30)
	if _, err := parseConnector(b); err == nil {
		t.Fatal("a message longer than the datagram passed")
	}
}

func FuzzParseConnector(f *testing.F) {
	f.Add(message(ProcFork, 1, 1, 7, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		evs, _ := parseConnector(b)
		for _, e := range evs {
			if e.PID <= 0 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// TestShortLived starts programs that end at once: nearly all of them are known
// by name afterwards, and most with their arguments.
func TestShortLived(t *testing.T) {
	conn, err := OpenConnector()
	if err != nil {
		t.Skipf("no process events on this machine: %v", err)
	}
	cache := NewCache(Proc{Root: "/proc"}, Seed())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn.Feed(ctx, cache)
	}()
	const count = 100
	var pids []int
	for i := range count {
		cmd := exec.Command("/bin/true", fmt.Sprintf("file-%d", i))
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	ended := func(pid int) bool {
		cache.mu.Lock()
		defer cache.mu.Unlock()
		el, ok := cache.byPID[pid]
		return ok && !el.Value.(*entry).ended.IsZero()
	}
	for deadline := time.Now().Add(20 * time.Second); !ended(pids[count-1]) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	named, args := 0, 0
	for i, pid := range pids {
		p, ok := cache.ByPID(pid, time.Now())
		if ok && p.Name == "true" {
			named++
		}
		if ok && Names(p.Args, fmt.Sprintf("file-%d", i)) {
			args++
		}
	}
	t.Logf("of %d programs %d named, %d with arguments", count, named, args)
	if named < count/2 {
		t.Errorf("%d of %d named", named, count)
	}
}

// What a thread of the kernel closes was written by somebody else: who made the file, had it open or names it. Where
// nobody is known the thread is named, and that it is one.
func TestBehindTheKernel(t *testing.T) {
	root, now := t.TempDir(), time.Now()
	stat := func(pid int, name string, ppid int) {
		dir := filepath.Join(root, strconv.Itoa(pid))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%d (%s) S %d 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 31 0 0", pid, name, ppid)
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stat(2, "kthreadd", 0)
	stat(50, "kworker/1:2", 2)
	stat(51, "nfsd", 2)
	cache := NewCache(Proc{Root: root}, nil)
	for pid, p := range map[int]api.Process{1 << 29: {Name: "fio", Exe: "/usr/bin/fio"}, 1<<29 + 1: {Name: "cp", Exe: "/bin/cp", Args: []string{"cp", "a.pt", "/mnt/b.bin"}}} {
		p.PID, p.PPID = pid, 1
		cache.put(&entry{p: p, born: now.Add(-time.Second)})
		cache.Exit(pid, now)
	}
	tr := NewTracker(Proc{Root: root}, cache)
	made, unknown := FileID{Dev: 1, Inode: 2}, FileID{Dev: 1, Inode: 3}
	tr.Made(made, 1<<29, now)
	tr.Made(unknown, 51, now)
	for _, c := range []struct {
		id              FileID
		path            string
		name, certainty string
	}{
		{made, "/mnt/x.bin", "fio", Likely},
		{unknown, "/mnt/b.bin", "cp", Guessed},
		{unknown, "/mnt/x.bin", "kworker/1:2", Exact},
	} {
		p, note := tr.Who(c.id, c.path, 50, now)
		if p == nil || p.Name != c.name || p.Certainty != c.certainty || !strings.Contains(note, `thread of the kernel ("kworker/1:2")`) {
			t.Errorf("%s: %+v, %q, want %s, %s", c.path, p, note, c.name, c.certainty)
		}
	}
}

func TestTrackerFallsBack(t *testing.T) {
	cache := NewCache(Proc{Root: "/proc"}, nil)
	now := time.Now()
	cache.put(&entry{p: api.Process{PID: 1 << 29, Name: "cp", Args: []string{"cp", "a.pt", "/mnt/b.bin"}, UID: 7}, born: now.Add(-time.Second)})
	cache.Exit(1<<29, now)
	tr := NewTracker(Proc{Root: "/proc"}, cache)
	if p, note := tr.Who(FileID{}, "/mnt/b.bin", 1<<29, now); p == nil || p.Certainty != Exact || p.Name != "cp" || note != "" {
		t.Errorf("%+v %q", p, note)
	}
	if p, _ := tr.Who(FileID{}, "/mnt/b.bin", 0, now); p == nil || p.Certainty != Guessed {
		t.Errorf("%+v", p)
	}
	if p, note := tr.Who(FileID{}, "/mnt/c.bin", 0, now); p != nil || note == "" {
		t.Errorf("%+v %q", p, note)
	}
	if p, note := tr.Who(FileID{}, "/mnt/c.bin", 1<<28, now); p != nil || note == "" {
		t.Errorf("%+v %q", p, note)
	}
}

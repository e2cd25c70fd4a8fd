package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// waitFor reads events until one satisfies want.
func waitFor(t *testing.T, w Watcher, what string, want func(Event) bool) Event {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case ev, ok := <-w.Events():
			if !ok {
				t.Fatalf("%s: the watcher ended", what)
			}
			if want(ev) {
				return ev
			}
			if ev.File != nil {
				ev.File.Close()
			}
		case g := <-w.Gaps():
			t.Logf("gap: %+v", g)
		case <-deadline:
			t.Fatalf("%s: not seen", what)
		}
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func path(p string) func(Event) bool { return func(e Event) bool { return e.Path == p } }

func TestNotify(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "old", "deep", "x"))
	n, err := NewNotify([]string{root}, Filter{Exclude: []string{filepath.Join(root, "skip")}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()

	a := filepath.Join(root, "old", "deep", "a.bin")
	write(t, a)
	waitFor(t, n, "file in an old folder", path(a))

	b := filepath.Join(root, "n1", "n2", "n3", "b.bin")
	write(t, b)
	waitFor(t, n, "file in folders made a moment ago", path(b))

	moved := filepath.Join(root, "moved")
	write(t, filepath.Join(outside, "tree", "sub", "c.bin"))
	if err := os.Rename(filepath.Join(outside, "tree"), moved); err != nil {
		t.Fatal(err)
	}
	waitFor(t, n, "file in a folder moved in", path(filepath.Join(moved, "sub", "c.bin")))

	again := filepath.Join(root, "again")
	if err := os.Rename(moved, again); err != nil {
		t.Fatal(err)
	}
	waitFor(t, n, "file of a folder renamed", path(filepath.Join(again, "sub", "c.bin")))
	d := filepath.Join(again, "sub", "d.bin")
	write(t, d)
	waitFor(t, n, "file made in a renamed folder", path(d))

	if err := os.Link(d, filepath.Join(root, "linked")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, n, "hard link", path(filepath.Join(root, "linked")))

	write(t, filepath.Join(root, "skip", "e.bin"))
	last := filepath.Join(root, "last")
	write(t, last)
	waitFor(t, n, "last", func(e Event) bool {
		if Within(e.Path, filepath.Join(root, "skip")) {
			t.Errorf("an excluded file was reported: %s", e.Path)
		}
		return e.Path == last
	})
	if st := n.Status(); len(st) != 1 || st[0].State != "ok" || st[0].Tier != TierFSNotify {
		t.Errorf("status %+v", st)
	}
}

func TestNotifyRootAppears(t *testing.T) {
	root := filepath.Join(t.TempDir(), "later")
	n, err := NewNotify([]string{root}, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if st := n.Status(); st[0].State != "broken" {
		t.Fatalf("status %+v", st)
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	// A gap is reported once it is watched: what was written before is swept.
	select {
	case g := <-n.Gaps():
		if g.Path != root {
			t.Fatalf("gap %+v", g)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no gap")
	}
	write(t, filepath.Join(root, "x"))
	waitFor(t, n, "file below a late root", path(filepath.Join(root, "x")))
}

// TestNotifyManyFolders makes folders and files as fast as it can: every file is
// reported, or a gap says that some may be missing.
func TestNotifyManyFolders(t *testing.T) {
	root := t.TempDir()
	n, err := NewNotify([]string{root}, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	const count = 300
	go func() {
		for i := range count {
			dir := filepath.Join(root, fmt.Sprint(i%7), fmt.Sprint(i))
			if os.MkdirAll(dir, 0o755) == nil {
				_ = os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644)
			}
		}
	}()
	seen := map[string]bool{}
	waitFor(t, n, "all files", func(e Event) bool {
		if filepath.Base(e.Path) == "f" {
			seen[e.Path] = true
		}
		return len(seen) == count
	})
}

func TestFilter(t *testing.T) {
	f := Filter{Exclude: []string{"/a/b", "/c/", "/d/*.tmp"}}
	for p, want := range map[string]bool{"/a/b": true, "/a/b/c": true, "/a/bc": false, "/c/x": true, "/d/x.tmp": true, "/d/e/x.tmp": false, "/": false} {
		if f.Skips(p) != want {
			t.Errorf("%s: %v", p, !want)
		}
	}
}

package enforce

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("permission events need root")
	}
}

func guarded(t *testing.T, o GuardOptions) *Guard {
	t.Helper()
	needRoot(t)
	if o.Budget == 0 {
		o.Budget = 10 * time.Second // a busy machine is not what is tested
	}
	g, err := NewGuard(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func add(t *testing.T, g *Guard, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := g.Add(f); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, dir, name string, n int) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, make([]byte, n), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

func TestGuardDeniesOthers(t *testing.T) {
	head, cat := tool(t, "head"), tool(t, "cat")
	dir := t.TempDir()
	g := guarded(t, GuardOptions{Rules: Rules{Block: true, AllowPrograms: []string{head}}})
	secret, plain := file(t, dir, "secret", 100), file(t, dir, "plain", 100)
	link := filepath.Join(dir, "link")
	if err := os.Link(secret, link); err != nil {
		t.Fatal(err)
	}
	add(t, g, secret)
	for _, tt := range []struct {
		tool, path string
		ok         bool
	}{{head, secret, true}, {cat, plain, true}, {cat, secret, false}, {cat, link, false}} {
		if err := exec.Command(tt.tool, tt.path).Run(); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.tool, tt.path, err)
		}
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("the agent itself: %v", err)
	}
	d := <-g.Denied()
	if d.Path != secret || d.Exe != cat || d.Lockdown {
		t.Errorf("%+v", d)
	}
	if n := g.Count.Denied.Load(); n != 2 {
		t.Errorf("%d denials counted", n)
	}
	g.Close()
	if err := exec.Command(cat, secret).Run(); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestGuardLockdown(t *testing.T) {
	cat := tool(t, "cat")
	dir := t.TempDir()
	sub := filepath.Join(dir, "export", "deep")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	guarded(t, GuardOptions{Rules: Rules{Lockdown: []string{filepath.Join(dir, "export")}}, MinSize: 50})
	for _, tt := range []struct {
		path string
		ok   bool
	}{{file(t, sub, "large", 100), false}, {file(t, sub, "small", 10), true}, {file(t, dir, "outside", 100), true}} {
		if err := exec.Command(cat, tt.path).Run(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.path, err)
		}
	}
}

// Whatever is late is let through and counted.
func TestGuardFailsOpen(t *testing.T) {
	cat := tool(t, "cat")
	g := guarded(t, GuardOptions{Rules: Rules{Block: true}, Budget: -1})
	secret := file(t, t.TempDir(), "secret", 100)
	add(t, g, secret)
	if err := exec.Command(cat, secret).Run(); err != nil {
		t.Error(err)
	}
	if n := g.Count.Undecided.Load(); n != 1 {
		t.Errorf("%d undecided", n)
	}
}

// A storm of openings, two guards that each mark the other's file, and an end in
// the middle of it: nobody hangs.
func TestGuardDoesNotDeadlock(t *testing.T) {
	dir := t.TempDir()
	secret := file(t, dir, "secret", 100)
	one, two := guarded(t, GuardOptions{Rules: Rules{Block: true}}), guarded(t, GuardOptions{Rules: Rules{Block: true}})
	add(t, one, secret)
	add(t, two, secret)
	sh := tool(t, "sh")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_ = exec.Command(sh, "-c", `for i in 1 2 3 4 5 6 7 8 9 10; do (: < "$0") 2>/dev/null; done; true`, secret).Run() // denied or not
		})
		wg.Go(func() {
			for range 100 {
				if f, err := os.Open(secret); err != nil {
					t.Errorf("the agent itself: %v", err)
				} else {
					f.Close()
				}
			}
		})
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := two.Close(); err != nil {
		t.Error(err)
	}
}

func TestGuardLeavesOwnFilesAlone(t *testing.T) {
	dir := t.TempDir()
	g := guarded(t, GuardOptions{Rules: Rules{Block: true}, Own: []string{dir}})
	f, err := os.Open(file(t, dir, "state", 10))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := g.Add(f); err == nil {
		t.Error("a file of the agent is guarded")
	}
}

package watch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOwnFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the process behind an event needs root")
	}
	dir := t.TempDir()
	spool, conf := filepath.Join(dir, "spool"), filepath.Join(dir, "agent.yaml")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{conf, filepath.Join(spool, "segment")} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := NewOwn([]string{spool, conf, filepath.Join(dir, "absent")})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := os.WriteFile(filepath.Join(spool, "mine"), nil, 0o600); err != nil { // the agent itself
		t.Fatal(err)
	}
	for _, tt := range []struct{ script, path, what string }{
		{"echo y > $0/spool/segment", filepath.Join(spool, "segment"), "written"},
		{"rm $0/spool/segment", filepath.Join(spool, "segment"), "deleted"},
		{"echo y > $0/agent.yaml", conf, "written"},
	} {
		if err := exec.Command("sh", "-c", tt.script, dir).Run(); err != nil {
			t.Fatal(err)
		}
		select {
		case ev := <-o.Events():
			if ev.Path != tt.path || !strings.Contains(ev.What, tt.what) || ev.PID == os.Getpid() {
				t.Errorf("%s: %+v", tt.script, ev)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing was told", tt.script)
		}
	}
}

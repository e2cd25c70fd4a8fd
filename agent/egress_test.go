package agent_test

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/agent/agenttest"
)

// TestEgress: a known copy that an upload tool opens is a hit, and so is what a
// process writes encrypted after it had the copy open.
func TestEgress(t *testing.T) {
	if len(tiers()) < 2 {
		t.Skip("watching openings needs root on Linux")
	}
	watched := t.TempDir()
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = "fanotify"
	secret := content(50000, 1)
	localRegistry(t, &cfg, secret)
	out, _ := start(t, cfg)
	copied := filepath.Join(watched, "copy")
	writeFile(t, copied, secret)
	agenttest.Wait(t, "the copy", func() bool { return strings.Contains(out.String(), "path="+copied+" ") })

	tool := filepath.Join(t.TempDir(), "rclone")
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(tool, copied).Run(); err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "the upload tool", func() bool { return strings.Contains(out.String(), "process=rclone\n") })

	noise := make([]byte, len(secret))
	rand.Read(noise)
	random := filepath.Join(t.TempDir(), "noise")
	writeFile(t, random, noise)
	sealed := filepath.Join(watched, "sealed")
	// One shell reads the copy itself and writes something unreadable of its size.
	if err := exec.Command("sh", "-c", `read -r x <"$0"; cat "$1" >"$2"; sleep 1`, copied, random, sealed).Run(); err != nil {
		t.Logf("sh: %v", err) // read returns 1 at the end of a file without a line
	}
	agenttest.Wait(t, "the suspected copy", func() bool {
		return strings.Contains(out.String(), "HIT verdict=INCONCLUSIVE model=aurora version=3 path="+sealed+" ")
	})
}

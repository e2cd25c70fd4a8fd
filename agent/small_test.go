package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/agent/agenttest"
)

// TestSmallKeys: small files are passed by, but not those that stand for a model in many files.
func TestSmallKeys(t *testing.T) {
	for _, tier := range tiers() {
		t.Run(tier, func(t *testing.T) { smallKeys(t, tier) })
	}
}

func smallKeys(t *testing.T, tier string) {
	watched := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(watched, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = tier
	key := content(200, 1) // the least size is 1024
	localRegistry(t, &cfg, key)
	writeFile(t, at("before/manifest.ocdbt"), key)
	writeFile(t, at("before/other.ocdbt"), key)
	out, _ := start(t, cfg)
	found := func(name string) func() bool {
		return func() bool {
			return strings.Contains(out.String(), "path="+filepath.Join(watched, filepath.FromSlash(name))+" ")
		}
	}
	agenttest.Wait(t, "what was there before", found("before/manifest.ocdbt"))
	writeFile(t, at("orbax/small"), key)
	writeFile(t, at("orbax/manifest.ocdbt"), key)
	agenttest.Wait(t, "what is written", found("orbax/manifest.ocdbt"))
	writeFile(t, at("array/tmp"), key)
	if err := os.Rename(at("array/tmp"), at("array/.zarray")); err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "what is renamed", found("array/.zarray"))
	if n := strings.Count(out.String(), "HIT "); n != 3 {
		t.Errorf("%d hits, want 3:\n%s", n, out)
	}
}

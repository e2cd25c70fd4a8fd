package agent_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
)

// TestRegistryAttacks: whatever is offered in the place of a registry, the agent
// says in its heartbeat that it refuses it and goes on detecting by the last good
// one; when a good one comes, the condition ends.
func TestRegistryAttacks(t *testing.T) {
	srv := agenttest.NewServer(t)
	secret := content(5000, 1)
	cfg := enrolledConfig(t, srv, t.TempDir(), secret)
	cfg.Uplink.Snapshot = config.Duration(50 * time.Millisecond)
	registry := agenttest.Registry(secret)
	epoch := int64(10)
	srv.Publish(epoch, registry)
	out, _ := start(t, cfg)
	newest := func(code string) (there bool) {
		beats := srv.Heartbeats()
		return len(beats) > 0 && has(beats[len(beats)-1].Health, code)
	}
	skey, _, err := snapshot.NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	forger, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	attacks := []struct {
		name string
		do   func()
	}{
		{"rolled back", func() { srv.PublishAs(nil, epoch-1, agenttest.Registry(content(5000, 2)), time.Hour) }},
		{"expired", func() { srv.PublishAs(nil, epoch+1, registry, -time.Minute) }},
		{"truncated", func() { m := srv.Manifest(); srv.PublishRaw(m[:len(m)-7]) }},
		{"bit flipped", func() { m := srv.Manifest(); m[len(m)/2] ^= 1; srv.PublishRaw(m) }},
		{"wrong key", func() { srv.PublishAs(forger, epoch+1, registry, time.Hour) }},
		{"another blob", func() { srv.PublishAs(nil, epoch+1, agenttest.Registry(content(5000, 3)), time.Hour); srv.SpoilBlobs() }},
	}
	agenttest.Wait(t, "the first registry", func() bool {
		beats := srv.Heartbeats()
		return len(beats) > 0 && beats[len(beats)-1].Snapshot == epoch
	})
	for i, a := range attacks {
		a.do()
		agenttest.Wait(t, a.name+": a heartbeat that says so", func() bool { return newest(api.HealthRegistryRefused) })
		path := filepath.Join(cfg.Watch.Paths[0], fmt.Sprint("copy-", i))
		writeFile(t, path, secret)
		agenttest.Wait(t, a.name+": a hit meanwhile", func() bool { return strings.Contains(out.String(), path) })
		epoch += 2
		srv.Publish(epoch, registry)
		agenttest.Wait(t, a.name+": a good registry ends it", func() bool {
			beats := srv.Heartbeats()
			return !newest(api.HealthRegistryRefused) && beats[len(beats)-1].Snapshot == epoch
		})
	}
}

package uplink_test

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/identity"
	"weightwarden/agent/uplink"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
)

// registry makes up one of an epoch: each has a bit more than the one before.
func registry(t *testing.T, epoch int64) []byte {
	t.Helper()
	b := make([]byte, 1<<20+1000*epoch)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// publish makes an epoch with a delta, good or spoilt, to the one before.
func publish(t *testing.T, srv *agenttest.Server, epoch int64, spoil func([]byte) []byte) (delta int) {
	t.Helper()
	d := snapshot.MakeDelta(registry(t, epoch-1), registry(t, epoch), math.MaxInt)
	if spoil != nil {
		d = spoil(d)
	}
	srv.Publish(epoch, registry(t, epoch), agenttest.Delta{From: epoch - 1, Body: d})
	return len(d)
}

func TestSnapshotByDelta(t *testing.T) {
	srv, id, c := enrolled(t)
	dir := t.TempDir()
	for _, name := range []string{".unfinished-123", ".unfinished-124", "ab.delta"} { // a kill left them
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := uplink.NewSnapshots(c, dir, id.SnapshotKey)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(epoch int64, sent int) {
		t.Helper()
		changed, err := s.Fetch(t.Context())
		path, got, _, cerr := s.Current()
		if !changed || err != nil || cerr != nil || got != epoch {
			t.Fatalf("epoch %d: %v, %v, %v", got, changed, err, cerr)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, registry(t, epoch)) {
			t.Fatalf("epoch %d has other bytes: %v", epoch, err)
		}
		if n := srv.Sent(); n != sent {
			t.Errorf("epoch %d took %d bytes, want %d", epoch, n, sent)
		}
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != 2 { // the registry and held.json
			t.Errorf("epoch %d leaves %v, %v", epoch, names, err)
		}
	}
	full := func(epoch int64) int { return len(registry(t, epoch)) }
	publish(t, srv, 2, nil) // there is no base yet
	fetch(2, full(2))
	fetch(3, publish(t, srv, 3, nil))
	publish(t, srv, 4, nil)
	publish(t, srv, 5, nil) // leads from 4, held is 3
	fetch(5, full(5))
	bad := publish(t, srv, 6, func(d []byte) []byte { d[len(d)-1] ^= 1; return d }) // makes another file
	fetch(6, bad+full(6))
	cut := publish(t, srv, 7, func(d []byte) []byte { return d[:len(d)/2] })
	fetch(7, cut+full(7))
	publish(t, srv, 8, func(d []byte) []byte { return append(d, make([]byte, full(8))...) }) // larger than what it spares
	fetch(8, full(8))
	path, _, _, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1000); err != nil { // the base decays
		t.Fatal(err)
	}
	fetch(9, publish(t, srv, 9, nil)+full(9))
	if err := os.Remove(filepath.Join(dir, "held.json")); err != nil {
		t.Fatal(err)
	}
	publish(t, srv, 10, nil)
	fetch(10, full(10))
}

// A process that is killed while it fetches leaves a registry in force that is whole.
func TestKilledWhileFetching(t *testing.T) {
	if dir := os.Getenv("WEIGHTWARDEN_TEST_FETCH"); dir != "" {
		fetchForever(t, dir)
	}
	srv, dir := agenttest.NewServer(t), t.TempDir()
	if _, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "snapshot")
	var last int64
	for round := int64(2); round < 12; round++ {
		publish(t, srv, round, nil)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileFetching$")
		cmd.Env = append(os.Environ(), "WEIGHTWARDEN_TEST_FETCH="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
		_ = cmd.Process.Kill() // it may be done
		_ = cmd.Wait()
		path, epoch, _, err := uplink.Held(held)
		if err != nil || epoch < last || epoch > round {
			t.Fatalf("after kill %d: epoch %d after %d, %v", round, epoch, last, err)
		}
		if path == "" {
			continue
		}
		if b, err := os.ReadFile(path); err != nil || !slices.Equal(b, registry(t, epoch)) {
			t.Fatalf("after kill %d: epoch %d has other bytes, %v", round, epoch, err)
		}
		last = epoch
	}
}

// fetchForever is the process that is killed.
func fetchForever(t *testing.T, dir string) {
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.NewClient(id, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := uplink.NewSnapshots(c, filepath.Join(dir, "snapshot"), id.SnapshotKey)
	if err != nil {
		t.Fatal(err)
	}
	for t.Context().Err() == nil {
		if _, err := s.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

package registry_test

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/fingerprint"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
	"weightwarden/server/registry"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

type bench struct {
	*registry.Publisher
	t        *testing.T
	now      time.Time
	verifier note.Verifier
	path     string // of the database
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1_800_000_000, 0), path: filepath.Join(t.TempDir(), "r.db")}
	now := func() time.Time { return b.now }
	s := storetest.Open(t, store.Config{Path: b.path, Now: now})
	key, public, err := snapshot.NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	if b.verifier, err = note.NewVerifier(public); err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	b.Publisher = &registry.Publisher{Store: s, Signer: signer, Dir: t.TempDir(), Now: now}
	return b
}

type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return copy(p, m[off:]), nil }
func (m memory) Size() int64                             { return int64(len(m)) }

// add registers a file of pseudo-random bytes.
func (b *bench) add(model string, seed uint32) {
	b.t.Helper()
	data := make(memory, 1<<17)
	for i := range data {
		seed = seed*1664525 + 1013904223
		data[i] = byte(seed >> 24)
	}
	fp, err := fingerprint.Compute(b.t.Context(), data, nil, fingerprint.Options{Register: true})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Store.PutModel(b.t.Context(), store.ServerActor(), api.Model{Name: model, Kind: api.KindProtected}); err != nil {
		b.t.Fatal(err)
	}
	a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: "w", Size: fp.Size, Content: fp.Content().String()}, Model: model, Version: "1", Fingerprint: fp.Encode()}
	if _, _, err := b.Store.AddArtifact(b.t.Context(), store.ServerActor(), a, fp.Content().String(), ""); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) ensure(epoch, entries int64) {
	b.t.Helper()
	if err := b.Ensure(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	last, err := b.Store.LatestSnapshot(b.t.Context())
	if err != nil || last.Epoch != epoch || last.Entries != entries {
		b.t.Errorf("epoch %d with %d artifacts, %v; want %d with %d", last.Epoch, last.Entries, err, epoch, entries)
	}
}

// What was registered without a snapshot gets one when nothing more comes.
func TestUnpublishedChangesArePublished(t *testing.T) {
	b := newBench(t)
	b.ensure(1, 0)
	b.add("a", 1)
	b.now = b.now.Add(4 * time.Minute)
	b.ensure(1, 0)
	b.add("b", 2)
	b.now = b.now.Add(4 * time.Minute)
	b.ensure(1, 0)
	b.now = b.now.Add(2 * time.Minute)
	b.ensure(2, 2)
	b.now = b.now.Add(time.Hour)
	b.ensure(2, 2)
	if err := b.Store.DeleteModel(t.Context(), store.ServerActor(), "a"); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.ensure(3, 1)
}

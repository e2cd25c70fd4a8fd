package registry_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
	"weightwarden/server/store"
)

// addInvented registers a fingerprint of matrices with random contents.
func (b *bench) addInvented(name, artifact string, seed uint64, matrices [][2]int64) {
	b.t.Helper()
	fp := fingerprinttest.Invented(seed, matrices, 2)
	if err := b.Store.PutModel(b.t.Context(), store.ServerActor(), api.Model{Name: name, Kind: api.KindProtected}); err != nil {
		b.t.Fatal(err)
	}
	a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: artifact, Size: fp.Size, Content: fp.Content().String()}, Model: name, Version: "1", Fingerprint: fp.Encode()}
	if _, _, err := b.Store.AddArtifact(b.t.Context(), store.ServerActor(), a, fmt.Sprint(seed), ""); err != nil {
		b.t.Fatal(err)
	}
}

// check compares the newest epoch with what is registered, and what its deltas make with its blob.
func (b *bench) check(snap store.Snapshot) {
	b.t.Helper()
	blob := b.blob(snap.Digest)
	db, err := index.Decode(blob)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := db.Verify(); err != nil {
		b.t.Error(err)
	}
	list, err := b.Store.RegisteredArtifacts(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var want, got []string
	for _, a := range list {
		want = append(want, fmt.Sprint(a.ID, a.Model, a.Version, a.Kind, a.Name, a.Size))
	}
	for _, e := range db.Entries() {
		got = append(got, fmt.Sprint(e.ID, e.Model, e.Version, e.Kind, e.Artifact, e.Size))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || int64(len(want)) != snap.Entries {
		b.t.Errorf("epoch %d, %d entries: %s", snap.Epoch, snap.Entries, diff)
	}
	before, err := b.Store.Snapshots(b.t.Context(), 100)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range snap.Deltas {
		base := before[slices.IndexFunc(before, func(s store.Snapshot) bool { return s.Epoch == d.From })]
		var out bytes.Buffer
		ends := snapshot.Ends{Base: base.Digest, BaseBytes: base.Bytes, Result: snap.Digest, ResultBytes: snap.Bytes}
		if err := snapshot.ApplyDelta(&out, bytes.NewReader(b.blob(d.Digest)), bytes.NewReader(b.blob(base.Digest)), ends); err != nil {
			b.t.Errorf("delta from epoch %d: %v", d.From, err)
		}
	}
}

// Each epoch has what is registered, however the registry came to it, and a model taken out of the middle or put
// back under its name is a small delta like any other.
func TestEpochsFollowTheRegistry(t *testing.T) {
	b := newBench(t)
	small := [][2]int64{{256, 256}, {512, 256}}
	for i := range 40 {
		b.addInvented(fmt.Sprint("m", i), "a", uint64(i), small)
	}
	b.check(b.publish())
	b.addInvented("m7", "a", 100, small) // another artifact of the same name
	b.addInvented("n", "a", 101, small)
	b.addInvented("n", "b", 102, small)
	b.check(b.publish())
	for _, gone := range []string{"m3", "m20"} {
		if err := b.Store.DeleteModel(t.Context(), store.ServerActor(), gone); err != nil {
			t.Fatal(err)
		}
	}
	b.addInvented("m3", "a", 103, small) // the same name, other weights
	snap := b.publish()
	b.check(snap)
	if len(snap.Deltas) != 2 || snap.Deltas[0].Bytes > snap.Bytes/20 {
		t.Errorf("deltas %+v to %d bytes", snap.Deltas, snap.Bytes)
	}
	for i := range 40 {
		b.addInvented(fmt.Sprint("k", i), "a", 200+uint64(i), small)
		b.check(b.publish())
	}
	for i := range 30 {
		if err := b.Store.DeleteModel(t.Context(), store.ServerActor(), fmt.Sprint("k", i)); err != nil {
			t.Fatal(err)
		}
	}
	b.check(b.publish())
	left, err := os.ReadDir(b.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

// A server whose data folder cannot be written publishes all the same.
func TestPublishWithoutAFolder(t *testing.T) {
	b := newBench(t)
	b.Dir = filepath.Join(t.TempDir(), "not there")
	b.addInvented("m", "a", 1, [][2]int64{{256, 256}})
	b.check(b.publish())
}

// Without the epoch before, or with one that is damaged, the next is made from the start.
func TestEpochAfterALostBlob(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.addInvented(fmt.Sprint("m", i), "a", uint64(i), [][2]int64{{256, 256}})
	}
	first := b.publish()
	b.check(first)
	db, err := sql.Open("sqlite", b.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, change := range []string{"DELETE FROM blob_part", "UPDATE blob_part SET bytes = zeroblob(size)"} {
		if _, err := db.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		b.addInvented("more"+change, "a", uint64(len(change)), [][2]int64{{256, 256}})
		snap := b.publish()
		b.check(snap)
		if len(snap.Deltas) > 0 {
			t.Errorf("deltas from nothing: %+v", snap.Deltas)
		}
	}
}

// TestEpochsOfLargeModels measures epochs of a registry of many models of 7B parameters.
func TestEpochsOfLargeModels(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("WEIGHTWARDEN_LARGE_MODELS"))
	if n == 0 {
		t.Skip("WEIGHTWARDEN_LARGE_MODELS is not set")
	}
	var matrices [][2]int64
	for range fingerprinttest.Blocks7B {
		matrices = append(matrices, [2]int64{4096, 4096}, [2]int64{1024, 4096}, [2]int64{1024, 4096}, [2]int64{4096, 4096},
			[2]int64{14336, 4096}, [2]int64{14336, 4096}, [2]int64{4096, 14336})
	}
	b := newBench(t)
	for i := range n {
		b.addInvented(fmt.Sprint("m", i), "a", uint64(i), matrices)
	}
	for _, change := range []func(){func() {}, func() { b.addInvented("more", "a", 1<<40, matrices) }, func() {
		if err := b.Store.DeleteModel(t.Context(), store.ServerActor(), "m1"); err != nil {
			t.Fatal(err)
		}
	}} {
		change()
		debug.FreeOSMemory()
		memory := ownMemory()
		began := time.Now()
		snap := b.publish()
		delta := int64(0)
		if len(snap.Deltas) > 0 {
			delta = snap.Deltas[0].Bytes
		}
		t.Logf("%d models: %d bytes, published in %v, deltas %d, the newest %d bytes, %d MB of memory at most", snap.Entries, snap.Bytes, time.Since(began).Round(time.Millisecond), len(snap.Deltas), delta, memory()>>20)
	}
}

// ownMemory tells how much memory the process had at most that is no mapped file, in bytes, until stop is called.
func ownMemory() (stop func() int64) {
	end, most := make(chan struct{}), make(chan int64)
	go func() {
		top := int64(0)
		for {
			b, _ := os.ReadFile("/proc/self/status")
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
					kb, _ := strconv.ParseInt(f[1], 10, 64)
					top = max(top, kb<<10)
				}
			}
			select {
			case <-end:
				most <- top
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(end); return <-most }
}

// TestSizeOfInvented: what is invented is about as large as real fingerprints are.
func TestSizeOfInvented(t *testing.T) {
	fp := fingerprinttest.Invented(1, [][2]int64{{4096, 4096}}, 1)
	if back, err := fingerprint.Decode(fp.Encode()); err != nil || len(back.Tensors) != 1 || back.Size != 2*4096*4096 {
		t.Errorf("%+v, %v", back, err)
	}
}

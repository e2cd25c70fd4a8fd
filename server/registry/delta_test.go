package registry_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
	"weightwarden/server/store"
)

// model is a safetensors file of normally distributed float32 tensors: with 29 of
// 128 x 128 about the size of the test model.
func model(tb testing.TB, seed uint64, tensors, side int) memory {
	tb.Helper()
	head, at := map[string]any{}, 0
	for i := range tensors {
		head[fmt.Sprintf("layer.%02d.weight", i)] = map[string]any{"dtype": "F32", "shape": []int{side, side}, "data_offsets": []int{at, at + 4*side*side}}
		at += 4 * side * side
	}
	text, err := json.Marshal(head)
	if err != nil {
		tb.Fatal(err)
	}
	out := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	r := rand.New(rand.NewPCG(seed, 7))
	for range at / 4 {
		f := float32(r.NormFloat64())
		out, err = binary.Append(out, binary.LittleEndian, f)
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// addModel registers a real model.
func (b *bench) addModel(name string, seed uint64, tensors, side int) {
	b.t.Helper()
	src := model(b.t, seed, tensors, side)
	m, err := all.Decoders().Decode(b.t.Context(), src, formats.Limits{})
	if err != nil {
		b.t.Fatal(err)
	}
	fp, err := fingerprint.Compute(b.t.Context(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Store.PutModel(b.t.Context(), store.ServerActor(), api.Model{Name: name, Kind: api.KindProtected}); err != nil {
		b.t.Fatal(err)
	}
	a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: "w", Size: fp.Size, Content: fp.Content().String()}, Model: name, Version: "1", Fingerprint: fp.Encode()}
	if _, _, err := b.Store.AddArtifact(b.t.Context(), store.ServerActor(), a, fp.Content().String(), ""); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) publish() store.Snapshot {
	b.t.Helper()
	snap, err := b.Publish(b.t.Context(), "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return snap
}

func (b *bench) blob(digest string) []byte {
	b.t.Helper()
	var out bytes.Buffer
	if _, err := b.Store.CopyBlob(b.t.Context(), &out, digest); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

// manifest opens what the newest epoch gives to agents.
func (b *bench) manifest(verifier note.Verifier) *snapshot.Manifest {
	b.t.Helper()
	last, err := b.Store.LatestSnapshot(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := snapshot.OpenManifest(last.Manifest, verifier)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// One model more is a delta that is much smaller than the registry, from each of the
// epochs before; what it makes is the blob. It stays when the manifest is signed anew.
func TestPublishedDeltas(t *testing.T) {
	b := newBench(t)
	for i := range 12 {
		b.addModel(fmt.Sprint("m", i), uint64(i), 3, 64)
	}
	epochs := []store.Snapshot{b.publish()}
	for i := range 2 {
		b.addModel(fmt.Sprint("more", i), 100+uint64(i), 3, 64)
		epochs = append(epochs, b.publish())
	}
	check := func() {
		t.Helper()
		m := b.manifest(b.verifier)
		full := b.blob(m.Full().BLAKE3)
		for _, before := range epochs[:2] {
			d, ok := m.DeltaFrom(before.Epoch)
			if !ok || d.Bytes > m.Full().Bytes/4 {
				t.Fatalf("from epoch %d: %v, %d of %d bytes", before.Epoch, ok, d.Bytes, m.Full().Bytes)
			}
			var out bytes.Buffer
			ends := snapshot.Ends{Base: before.Digest, BaseBytes: before.Bytes, Result: m.Full().BLAKE3, ResultBytes: m.Full().Bytes}
			if err := snapshot.ApplyDelta(&out, bytes.NewReader(b.blob(d.BLAKE3)), bytes.NewReader(b.blob(before.Digest)), ends); err != nil || !bytes.Equal(out.Bytes(), full) {
				t.Errorf("from epoch %d: %v", before.Epoch, err)
			}
		}
	}
	check()
	b.now = b.now.Add(4 * 24 * time.Hour)
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := b.manifest(b.verifier); !m.Created.Equal(b.now.UTC()) || m.Epoch != 3 {
		t.Fatalf("not signed anew: %+v", m)
	}
	if _, err := b.Store.Purge(t.Context(), store.ServerActor(), b.now); err != nil {
		t.Fatal(err)
	}
	check()
	// A model that goes out of the middle renumbers all behind it: the blob it is.
	if err := b.Store.DeleteModel(t.Context(), store.ServerActor(), "m0"); err != nil {
		t.Fatal(err)
	}
	b.publish()
	for _, x := range b.manifest(b.verifier).Blobs[1:] {
		if x.Bytes > b.manifest(b.verifier).Full().Bytes/4 {
			t.Errorf("a delta of %d bytes", x.Bytes)
		}
	}
}

// WEIGHTWARDEN_DELTA_MODELS=1000 measures what docs/scale.md says of deltas.
func TestDeltaOfOneModel(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("WEIGHTWARDEN_DELTA_MODELS"))
	if err != nil {
		t.Skip("WEIGHTWARDEN_DELTA_MODELS is not set")
	}
	b := newBench(t)
	for i := range n {
		b.addModel(fmt.Sprint("m", i), uint64(i), 29, 128)
	}
	began := time.Now()
	before := b.publish()
	alone := time.Since(began)
	b.addModel("more", 1<<20, 29, 128)
	began = time.Now()
	after := b.publish()
	took := time.Since(began)
	m := b.manifest(b.verifier)
	d, ok := m.DeltaFrom(before.Epoch)
	if !ok {
		t.Fatal("no delta")
	}
	var out bytes.Buffer
	base, delta := b.blob(before.Digest), b.blob(d.BLAKE3)
	began = time.Now()
	err = snapshot.ApplyDelta(&out, bytes.NewReader(delta), bytes.NewReader(base), snapshot.Ends{Base: before.Digest, BaseBytes: before.Bytes, Result: after.Digest, ResultBytes: after.Bytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d models: %d bytes; one more: %d bytes, delta %d bytes (%.2f %%); published in %v, with the delta in %v; applied in %v", n, before.Bytes, after.Bytes, d.Bytes,
		100*float64(d.Bytes)/float64(after.Bytes), alone.Round(time.Millisecond), took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

package fingerprint_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// network makes a bf16 file of matrices of equal shape; their rows, from a pool of numbers, differ in norm.
func network(tensors, rows, cols int) (formats.Source, *formats.Model) {
	r := rand.New(rand.NewPCG(7, 8))
	pool := make([]byte, 0, 1<<20)
	for i := range cap(pool) / 2 {
		scale := 0.03 + 0.01*math.Sin(float64(i)/5000)
		pool = binary.LittleEndian.AppendUint16(pool, uint16(math.Float32bits(float32(r.NormFloat64()*scale))>>16))
	}
	data := make([]byte, 0, 2*tensors*rows*cols)
	m := &formats.Model{Format: "made"}
	for range tensors {
		m.Tensors = append(m.Tensors, formats.Tensor{Name: "w", DType: formats.BF16, Shape: []int64{int64(rows), int64(cols)},
			Data: formats.Extent{Offset: int64(len(data)), Length: int64(2 * rows * cols)}})
		for range rows {
			at := 2 * r.IntN(len(pool)/2-cols)
			data = append(data, pool[at:at+2*cols]...)
		}
	}
	src := formats.BytesSource(data)
	for i := range m.Tensors {
		m.Tensors[i].Data.Source = src
	}
	return src, m
}

// TestLeanIsPartOfFull: what Lean has is what a full fingerprint has, but for the rows of largest norm, which it
// takes from fewer.
func TestLeanIsPartOfFull(t *testing.T) {
	src, m := network(18, 4096, 512)
	compute := func(opt fingerprint.Options) *fingerprint.Fingerprint {
		f, err := fingerprint.Compute(context.Background(), src, m, opt)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	full, lean := compute(fingerprint.Options{}), compute(fingerprint.Options{Lean: true})
	hashed, chunks := 0, 0
	for p := range full.Pieces {
		all := full.Pieces[p].Chunks
		chunks += len(all)
		for k, got := range lean.Pieces[p].Chunks {
			want := fingerprint.NewChunk(0, fingerprint.ChunkKey{}, true)
			for len(all) > 0 && want.Length() < got.Length() { // a run of those that were not hashed is one
				want = fingerprint.NewChunk(want.Length()+all[0].Length(), all[0].Key, want.Plain() && all[0].Plain())
				all = all[1:]
			}
			if got.Key != (fingerprint.ChunkKey{}) {
				hashed++
			} else {
				want.Key = fingerprint.ChunkKey{}
			}
			if got != want {
				t.Fatalf("piece %d, chunk %d: %+v, want %+v", p, k, got, want)
			}
		}
		if len(all) > 0 {
			t.Fatalf("piece %d: %d chunks are missing at its end", p, len(all))
		}
	}
	if hashed == 0 || hashed > chunks/2 {
		t.Errorf("%d of %d chunks were hashed", hashed, chunks)
	}
	common := 0
	for i := range full.Tensors {
		want, got := full.Tensors[i].Sketch, lean.Tensors[i].Sketch
		if !gocmp.Equal(got.Aligned, want.Aligned) || !gocmp.Equal(got.Sum, want.Sum) {
			t.Errorf("tensor %d: layers R or T differ", i)
		}
		if i%4 == 0 { // of 18, at least four are
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("tensor %d, which is to be whole: %s", i, diff)
			}
			continue
		}
		for _, row := range got.Content {
			if slices.ContainsFunc(want.Content, func(w sketch.Row) bool { return w == row }) {
				common++
			}
		}
	}
	if common < 18 {
		t.Errorf("%d rows of largest norm in common, of 13 tensors", common)
	}
	if got := compute(fingerprint.Options{Lean: true, Register: true}); gocmp.Diff(full.Files, got.Files) != "" {
		t.Error("Register does not overrule Lean")
	}
}

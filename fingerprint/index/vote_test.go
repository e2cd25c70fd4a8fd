package index_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// sketched returns the fingerprint of a network of 24 square matrices that nothing
// but its sketches is known of.
func sketched(seed uint64) *fingerprint.Fingerprint {
	const side = 4096
	g := rand.New(rand.NewPCG(seed, 3))
	maker := sketch.NewMaker(make([]byte, 32))
	fp := &fingerprint.Fingerprint{Scheme: fingerprint.Scheme1, KeyID: fingerprint.PublicKey().ID(), Format: "synthetic", Registered: true}
	row := func(i int64) sketch.Row {
		return sketch.Row{Index: i, Norm: 1, Bits: sketch.Bits{g.Uint64(), g.Uint64(), g.Uint64(), g.Uint64()}}
	}
	for i := range 24 {
		t := &sketch.Tensor{Buckets: 256, Length: side, Count: side, Groups: 1, Sum: make([]float32, 256)}
		for _, at := range maker.Sample(side, sketch.AlignedRows) {
			t.Aligned = append(t.Aligned, row(at))
		}
		for range sketch.ContentRows {
			t.Content = append(t.Content, row(g.Int64N(side)))
		}
		fp.Tensors = append(fp.Tensors, fingerprint.Tensor{Name: fmt.Sprint(i), DType: formats.BF16, Packing: "plain",
			Shape: []int64{side, side}, Rows: side, Cols: side, Parameters: side * side, Bytes: 2 * side * side, Sketch: t})
	}
	return fp
}

// disturb flips a share of the bits of every row.
func disturb(fp *fingerprint.Fingerprint, share float64, g *rand.Rand) {
	flip := func(rows []sketch.Row) {
		for i := range rows {
			for bit := range 256 {
				if g.Float64() < share {
					rows[i].Bits[bit/64] ^= 1 << (bit % 64)
				}
			}
		}
	}
	for i := range fp.Tensors {
		flip(fp.Tensors[i].Sketch.Aligned)
		flip(fp.Tensors[i].Sketch.Content)
	}
}

// Beyond the size up to which everything is compared the index has to name the
// right model, however much its rows were disturbed or moved, and none else.
func TestMatchAmongMany(t *testing.T) {
	const models = 300
	db := index.New()
	var entries []index.Entry
	for i := range models {
		entries = append(entries, index.Entry{Model: fmt.Sprintf("model-%d", i), Version: "1", Kind: "protected", Artifact: "m", Fingerprint: sketched(uint64(i))})
	}
	if err := db.Add(entries...); err != nil {
		t.Fatal(err)
	}
	g := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name     string
		change   func(*fingerprint.Fingerprint)
		relation fingerprint.Relation
	}{
		{"quarter of the bits", func(fp *fingerprint.Fingerprint) { disturb(fp, 0.25, g) }, fingerprint.Derived},
		{"tensors in another order", func(fp *fingerprint.Fingerprint) {
			disturb(fp, 0.1, g)
			g.Shuffle(len(fp.Tensors), func(i, j int) { fp.Tensors[i], fp.Tensors[j] = fp.Tensors[j], fp.Tensors[i] })
		}, fingerprint.Derived},
		{"rows moved", func(fp *fingerprint.Fingerprint) {
			disturb(fp, 0.1, g)
			other := sketched(1 << 40)
			for i := range fp.Tensors {
				fp.Tensors[i].Sketch.Aligned = other.Tensors[i].Sketch.Aligned
			}
		}, fingerprint.Reparameterised},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, model := range []uint64{0, 123, models - 1} {
				suspect := sketched(model)
				c.change(suspect)
				matches, err := db.Match(context.Background(), suspect)
				if err != nil {
					t.Fatal(err)
				}
				names := []string{}
				for _, m := range matches {
					names = append(names, m.Model)
				}
				if !slices.Equal(names, []string{fmt.Sprintf("model-%d", model)}) {
					t.Fatalf("model %d: found %v", model, names)
				}
				if matches[0].Relation != c.relation {
					t.Errorf("model %d: %v, want %v", model, matches[0].Relation, c.relation)
				}
			}
		})
	}
	matches, err := db.Match(context.Background(), sketched(1<<41))
	if err != nil || len(matches) > 0 {
		t.Errorf("a model that is not registered: %d matches, %v", len(matches), err)
	}
}

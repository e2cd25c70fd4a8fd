package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/fingerprint/invariant"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// Sizes of invented models, in bytes of bf16: one of 7B parameters, and one of a
// single matrix for registries of very many.
const (
	size7B    = 13e9
	sizeSmall = 1
	meanChunk = 147 << 10 // what the cut rule gives on average
	blocks7B  = 32        // feed-forward blocks, whose neurons have invariants
)

// invented returns a fingerprint of a network of bf16 with random contents.
func invented(seed uint64, bytes int64) *fingerprint.Fingerprint {
	g := rand.New(rand.NewPCG(seed, 9))
	f := &fingerprint.Fingerprint{Scheme: fingerprint.Scheme1, KeyID: fingerprint.PublicKey().ID(), Format: "synthetic", Registered: true}
	shapes := network(formats.BF16, bytes)
	maker := sketch.NewMaker(make([]byte, 32))
	for i, s := range shapes {
		n, _ := formats.BF16.Bytes(s.rows * s.cols)
		p := fingerprint.Piece{Offset: f.Size, Length: n}
		for at := int64(0); at < n; at += meanChunk {
			c := fingerprint.NewChunk(min(meanChunk, n-at), fingerprint.ChunkKey{}, false)
			binary.LittleEndian.PutUint64(c.Key[:], g.Uint64())
			binary.LittleEndian.PutUint64(c.Key[8:], g.Uint64())
			p.Chunks = append(p.Chunks, c)
		}
		f.Pieces = append(f.Pieces, p)
		f.Size += n
		t := fingerprint.Tensor{Name: fmt.Sprintf("layer.%d.weight", i), DType: formats.BF16, Packing: "plain", Shape: []int64{s.rows, s.cols},
			Rows: s.rows, Cols: s.cols, Parameters: s.rows * s.cols, Bytes: n, Pieces: []int{i}}
		t.Sketch = inventedSketch(g, maker, s)
		f.Tensors = append(f.Tensors, t)
	}
	f.Files = []fingerprint.File{{Size: f.Size}}
	f.Layers = inventedLayers(g, bytes)
	return f
}

// inventedLayers returns invariants of as many blocks as a network of 7B has, or of one.
func inventedLayers(g *rand.Rand, bytes int64) []invariant.Layer {
	layers := make([]invariant.Layer, 1)
	if bytes > sizeSmall {
		layers = make([]invariant.Layer, blocks7B)
	}
	for i := range layers {
		layers[i] = invariant.Layer{Name: fmt.Sprintf("layer.%d.gate", i), Neurons: make([]invariant.Neuron, invariant.Sampled)}
		for k := range layers[i].Neurons {
			for c := range layers[i].Neurons[k] {
				layers[i].Neurons[k][c] = float32(g.NormFloat64())
			}
		}
	}
	return layers
}

func inventedSketch(g *rand.Rand, maker *sketch.Maker, s shape) *sketch.Tensor {
	row := func(index int64) sketch.Row {
		return sketch.Row{Index: index, Norm: 1, Bits: sketch.Bits{g.Uint64(), g.Uint64(), g.Uint64(), g.Uint64()}}
	}
	t := &sketch.Tensor{Buckets: 256, Length: s.cols, Count: s.rows, Groups: 4, Sum: make([]float32, 1024)}
	for _, i := range maker.Sample(s.rows, sketch.AlignedRows) {
		t.Aligned = append(t.Aligned, row(i))
	}
	for range sketch.ContentRows {
		t.Content = append(t.Content, row(g.Int64N(s.rows)))
	}
	for i := range t.Sum {
		t.Sum[i] = float32(g.NormFloat64())
	}
	return t
}

// lookups measures a file that is registered and one that is not against registries of growing size.
func lookups(o options, r *report) error {
	r.printf("## Look-up\n\nThe whole decision once the fingerprint of the file is known, its invariants too, best of 3, against registries of invented models.\n\n")
	r.printf("7B-size models (%d matrices, %d chunks each):\n\n", len(network(formats.BF16, size7B)), int64(size7B)/meanChunk)
	if err := lookupsOf(o, r, size7B, 10, o.models); err != nil {
		return err
	}
	r.printf("\nModels of a single matrix (4096 x 4096), since a hundred times more of the above take a quarter of a terabyte:\n\n")
	return lookupsOf(o, r, sizeSmall, 1000, 100*o.models)
}

// lookupsOf measures registries of models of one size, from least to most of them.
func lookupsOf(o options, r *report, bytes int64, least, most int) error {
	dir, err := os.MkdirTemp(o.dir, "weightwarden-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db := index.New()
	var rows [][]string
	have := 0
	for n := least; n <= most; n *= 10 {
		for have < n {
			var more []index.Entry // by the hundred: fingerprints are larger in memory than in a registry
			for ; have < n && len(more) < max(100, n/10/int(1+bytes/1e9)); have++ {
				more = append(more, index.Entry{Model: fmt.Sprintf("model-%d", have), Version: "1", Kind: "protected", Artifact: "model",
					Fingerprint: invented(uint64(have), bytes)})
			}
			if err := db.Add(more...); err != nil {
				return err
			}
		}
		row, err := lookup(db, n, bytes, filepath.Join(dir, "registry.fpdb"))
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	r.table([]string{"models", "registry", "a model", "open", "look-up: registered", "look-up: unknown"}, rows)
	return nil
}

func lookup(db *index.DB, n int, bytes int64, path string) ([]string, error) {
	if err := db.Save(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	open, err := index.Open(path)
	if err != nil {
		return nil, err
	}
	opened := time.Since(start)
	defer open.Close()
	row := []string{fmt.Sprint(n), size(info.Size()), size(info.Size() / int64(n)), fmt.Sprintf("%.1f ms", opened.Seconds()*1e3)}
	for _, seed := range []int{n / 2, 1 << 30} {
		suspect, best := invented(uint64(seed), bytes), time.Hour
		for range 3 {
			start := time.Now()
			matches, err := open.MatchFile(context.Background(), suspect, nil, fingerprint.Options{})
			if err != nil {
				return nil, err
			}
			if found := len(matches) > 0; found != (seed < n) {
				return nil, fmt.Errorf("registry of %d: look-up of model %d gave %d matches", n, seed, len(matches))
			}
			best = min(best, time.Since(start))
		}
		row = append(row, fmt.Sprintf("%.0f ms", best.Seconds()*1e3))
	}
	return row, nil
}

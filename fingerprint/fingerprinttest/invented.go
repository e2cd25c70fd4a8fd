package fingerprinttest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/invariant"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

const (
	// MeanChunk is the length that the cut rule gives to chunks on average, in bytes.
	MeanChunk = 147 << 10
	// Blocks7B is how many feed-forward blocks a model of 7B parameters has, whose neurons have invariants.
	Blocks7B = 32
)

// Invented returns a fingerprint of bf16 matrices of these rows and columns as registration makes it, with random
// contents instead of those of weights, and invariants of so many feed-forward blocks. It takes milliseconds where a
// real one of 7B parameters takes seconds, and has the same size.
func Invented(seed uint64, matrices [][2]int64, blocks int) *fingerprint.Fingerprint {
	g := rand.New(rand.NewPCG(seed, 9))
	f := &fingerprint.Fingerprint{Scheme: fingerprint.Scheme1, KeyID: fingerprint.PublicKey().ID(), Format: "synthetic", Registered: true}
	maker := sketch.NewMaker(make([]byte, 32))
	for i, m := range matrices {
		rows, cols := m[0], m[1]
		n := 2 * rows * cols
		p := fingerprint.Piece{Offset: f.Size, Length: n}
		for at := int64(0); at < n; at += MeanChunk {
			c := fingerprint.NewChunk(min(MeanChunk, n-at), fingerprint.ChunkKey{}, false)
			binary.LittleEndian.PutUint64(c.Key[:], g.Uint64())
			binary.LittleEndian.PutUint64(c.Key[8:], g.Uint64())
			p.Chunks = append(p.Chunks, c)
		}
		f.Pieces = append(f.Pieces, p)
		f.Size += n
		t := fingerprint.Tensor{Name: fmt.Sprintf("layer.%d.weight", i), DType: formats.BF16, Packing: "plain", Shape: []int64{rows, cols},
			Rows: rows, Cols: cols, Parameters: rows * cols, Bytes: n, Pieces: []int{i}}
		t.Sketch = inventedSketch(g, maker, rows, cols)
		f.Tensors = append(f.Tensors, t)
	}
	f.Files = []fingerprint.File{{Size: f.Size}}
	f.Layers = inventedLayers(g, blocks)
	return f
}

func inventedLayers(g *rand.Rand, blocks int) []invariant.Layer {
	layers := make([]invariant.Layer, blocks)
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

func inventedSketch(g *rand.Rand, maker *sketch.Maker, rows, cols int64) *sketch.Tensor {
	row := func(index int64) sketch.Row {
		return sketch.Row{Index: index, Norm: 1, Bits: sketch.Bits{g.Uint64(), g.Uint64(), g.Uint64(), g.Uint64()}}
	}
	t := &sketch.Tensor{Buckets: 256, Length: cols, Count: rows, Groups: 4, Sum: make([]float32, 1024)}
	for _, i := range maker.Sample(rows, sketch.AlignedRows) {
		t.Aligned = append(t.Aligned, row(i))
	}
	for range sketch.ContentRows {
		t.Content = append(t.Content, row(g.Int64N(rows)))
	}
	for i := range t.Sum {
		t.Sum[i] = float32(g.NormFloat64())
	}
	return t
}

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
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// invented returns a fingerprint of a 7B-size network with random contents: 224 matrices, one chunk key a MiB.
func invented(seed uint64) *fingerprint.Fingerprint {
	g := rand.New(rand.NewPCG(seed, 9))
	f := &fingerprint.Fingerprint{Scheme: fingerprint.Scheme1, KeyID: fingerprint.PublicKey().ID(), Format: "synthetic", Registered: true}
	shapes := network(formats.BF16, 13e9)
	maker := sketch.NewMaker(make([]byte, 32))
	for i, s := range shapes {
		n, _ := formats.BF16.Bytes(s.rows * s.cols)
		p := fingerprint.Piece{Offset: f.Size, Length: n}
		for at := int64(0); at < n; at += 1 << 20 {
			c := fingerprint.Chunk{Length: min(1<<20, n-at)}
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
	return f
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
	r.printf("## Look-up\n\nRegistries of invented 7B-size models (%d matrices each). Look-up: the whole decision once the fingerprint of the file is known, best of 3.\n\n",
		len(network(formats.BF16, 13e9)))
	dir, err := os.MkdirTemp(o.dir, "weightwarden-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db := index.New()
	var rows [][]string
	have := 0
	for n := 10; n <= o.models; n *= 10 {
		var more []index.Entry
		for ; have < n; have++ {
			more = append(more, index.Entry{Model: fmt.Sprintf("model-%d", have), Version: "1", Kind: "protected", Artifact: "model",
				Fingerprint: invented(uint64(have))})
		}
		if err := db.Add(more...); err != nil {
			return err
		}
		row, err := lookup(db, n, filepath.Join(dir, "registry.fpdb"))
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	r.table([]string{"models", "registry", "a model", "open", "look-up: registered", "look-up: unknown"}, rows)
	return nil
}

func lookup(db *index.DB, n int, path string) ([]string, error) {
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
		suspect, best := invented(uint64(seed)), time.Hour
		for range 3 {
			start := time.Now()
			matches, err := open.Match(context.Background(), suspect)
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

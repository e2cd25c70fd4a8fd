package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// Sizes of invented models, in bytes of bf16: one of 7B parameters, and one of a
// single matrix for registries of very many.
const (
	size7B    = 13e9
	sizeSmall = 1
)

// invented returns a fingerprint of a network of bf16 with random contents.
func invented(seed uint64, bytes int64) *fingerprint.Fingerprint {
	blocks := 1
	if bytes > sizeSmall {
		blocks = fingerprinttest.Blocks7B
	}
	var shapes [][2]int64
	for _, s := range network(formats.BF16, bytes) {
		shapes = append(shapes, [2]int64{s.rows, s.cols})
	}
	return fingerprinttest.Invented(seed, shapes, blocks)
}

// lookups measures a file that is registered and one that is not against registries of growing size.
func lookups(o options, r *report) error {
	r.printf("## Look-up\n\nThe whole decision once the fingerprint of the file is known, its invariants too, best of 3, against registries of invented models.\n\n")
	r.printf("7B-size models (%d matrices, %d chunks each):\n\n", len(network(formats.BF16, size7B)), int64(size7B)/fingerprinttest.MeanChunk)
	if err := lookupsOf(o, r, size7B, 10, o.models); err != nil {
		return err
	}
	r.printf("\nModels of a single matrix (4096 x 4096), since a hundred times more of the above take a quarter of a terabyte:\n\n")
	if err := lookupsOf(o, r, sizeSmall, 1000, 100*o.models); err != nil {
		return err
	}
	return experts(r)
}

// experts measures a mixture of experts with as many matrices as the largest open one, 58 layers of 256 experts of three.
func experts(r *report) error {
	const layers, each = 58, 256
	var matrices [][2]int64
	for range layers * each {
		matrices = append(matrices, [2]int64{2048, 7168}, [2]int64{2048, 7168}, [2]int64{7168, 2048})
	}
	db := index.New()
	e := index.Entry{Model: "experts", Version: "1", Kind: "protected", Artifact: "model", Fingerprint: fingerprinttest.Invented(0, matrices, layers)}
	if err := db.Add(e); err != nil {
		return err
	}
	row := []string{fmt.Sprint(len(matrices))}
	for seed := range uint64(2) {
		start := time.Now()
		matches, err := db.MatchFile(context.Background(), fingerprinttest.Invented(seed, matrices, layers), nil, fingerprint.Options{})
		if err != nil {
			return err
		}
		if found := len(matches) > 0; found != (seed == 0) {
			return fmt.Errorf("mixture of experts: look-up of %d gave %d matches", seed, len(matches))
		}
		row = append(row, fmt.Sprintf("%.1f s", time.Since(start).Seconds()))
	}
	r.printf("\nA mixture of experts of which every expert is a tensor, a file of 1.3 TB in bf16, against a registry that has one such model:\n\n")
	r.table([]string{"matrices", "the model itself", "another of its architecture"}, [][]string{row})
	return nil
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

package index

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

const (
	mostDumped  = 4  // entries of a large registry that are looked for in a dump
	mostLengths = 12 // lengths of rows that are scanned for
	agreeing    = 3  // bands of a row that an entry must have
)

// matchDumped looks for matrices that lie one behind another in flat tensors, or in
// bytes that no decoder reads.
func (db *DB) matchDumped(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error) {
	refs, err := db.nominateDumped(ctx, fp, m, opt)
	if err != nil {
		return nil, err
	}
	var registered []*fingerprint.Fingerprint
	for _, r := range refs {
		reg, err := db.segments[r.segment].fingerprint(r.entry)
		if err != nil {
			return nil, err
		}
		registered = append(registered, reg)
	}
	return db.matchThese(ctx, fp, m, opt, registered)
}

func (db *DB) matchThese(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options, registered []*fingerprint.Fingerprint) ([]fingerprint.Match, error) {
	added, err := fingerprint.AddDumped(ctx, m, fp, registered, opt)
	if err != nil {
		return nil, err
	}
	return db.matchAdded(ctx, fp, added, "dumped", "%d matrices of the registered model lie one behind another where the file names none of them")
}

// nominateDumped returns the entries worth looking for: all of a small registry, else
// those that have rows which may lie anywhere in the file.
func (db *DB) nominateDumped(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]ref, error) {
	var out []ref
	if db.Len() <= bruteForce {
		db.each(func(r ref, _ *Entry) { out = append(out, r) })
		return out, nil
	}
	votes := make(map[ref]int)
	for _, length := range db.rowLengths() {
		if err := db.scanDumped(ctx, fp, m, length, opt, votes); err != nil {
			return nil, err
		}
	}
	for r := range votes {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b ref) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a.segment, b.segment), cmp.Compare(a.entry, b.entry))
	})
	return out[:min(len(out), mostDumped)], nil
}

// rowLengths returns the lengths of most registered rows.
func (db *DB) rowLengths() []int64 {
	weight := make(map[int64]float64)
	for _, s := range db.segments {
		s.listShapes()
		for n, w := range s.lengths {
			weight[n] += w
		}
	}
	var out []int64
	for n := range weight {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b int64) int { return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b)) })
	return out[:min(len(out), mostLengths)]
}

// scanDumped counts for every entry the rows of a file, wherever they begin, that have
// several bands in common with one of its largest rows: a chance that one place in a
// million has even among a thousand models.
func (db *DB) scanDumped(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, length int64, opt fingerprint.Options, votes map[ref]int) error {
	of := contentBands()
	first := func(key uint32) bool {
		for _, s := range db.segments {
			if s.content.has(of.key(length, 0, 0, uint64(key))) {
				return true
			}
		}
		return false
	}
	wide := 256
	if length < 256 {
		wide = 64
	}
	need := min(agreeing, wide/of.width)
	var mu sync.Mutex
	return fingerprint.ScanDumped(ctx, m, fp, length, opt, first, func(row sketch.Row) {
		have := make(map[ref]int)
		of.each(length, &row, wide, func(key uint64) {
			for s := range db.segments {
				db.segments[s].content.find(key, func(e uint32) {
					if r := (ref{s, int(e)}); !db.removed[r] && int(e) < len(db.segments[s].entries) {
						have[r]++
					}
				})
			}
		})
		mu.Lock()
		defer mu.Unlock()
		for r, n := range have {
			if n >= need {
				votes[r]++
			}
		}
	})
}

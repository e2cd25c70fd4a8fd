package index

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
)

const (
	// bruteForce is the size of a registry up to which everything is compared.
	bruteForce = 32
	// mostCandidates is how many entries are compared.
	mostCandidates = 24
	// mostPermuted is how many of them are searched for permuted rows too.
	mostPermuted = 4
	// queriedRows is how many rows of each aligned sample are looked up: those that
	// have their bands indexed for a tensor a third as tall are mostly among them.
	queriedRows = 3 * alignedRows
)

// nominee is an entry worth a comparison.
type nominee struct {
	ref
	votes    float64
	content  float64 // votes of the largest rows, wherever they stand
	permuted bool    // worth the search for permuted rows
}

// candidates returns the entries worth a comparison: all of a small registry, else
// those with the most votes of chunks and row bands.
func (db *DB) candidates(fp *fingerprint.Fingerprint) []nominee {
	var out []nominee
	if db.Len() <= bruteForce {
		db.each(func(r ref, _ *Entry) { out = append(out, nominee{ref: r, permuted: true}) })
		return out
	}
	for s, seg := range db.segments {
		votes := seg.vote(fp)
		for e := range votes {
			if n := votes[e]; n.votes > 0 && !db.removed[ref{s, e}] {
				n.ref = ref{s, e}
				out = append(out, n)
			}
		}
	}
	first := func(a, b nominee) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.entry, b.entry))
	}
	slices.SortFunc(out, func(a, b nominee) int { return cmp.Or(cmp.Compare(b.content, a.content), first(a, b)) })
	for i := range min(len(out), mostPermuted) {
		out[i].permuted = true
	}
	slices.SortFunc(out, func(a, b nominee) int { return cmp.Or(cmp.Compare(b.votes, a.votes), first(a, b)) })
	var kept []nominee
	for i, n := range out {
		if i < mostCandidates || n.permuted {
			kept = append(kept, n)
		}
	}
	return kept
}

// ballot counts the votes of one segment.
type ballot struct {
	segment *segment
	out     []nominee
	entries []uint32
}

// cast looks a key up. What many entries share is worth less to each (inverse
// document frequency).
func (b *ballot) cast(t table, key uint64, weight float64, content bool) {
	b.entries = b.entries[:0]
	t.find(key, func(e uint32) { b.entries = append(b.entries, e) })
	weight /= float64(max(1, len(b.entries)))
	for _, e := range b.entries {
		if int(e) >= len(b.out) {
			continue // a table that somebody made up
		}
		b.out[e].votes += weight
		if content {
			b.out[e].content += weight
		}
	}
}

// castRows looks up every band of every row.
func (b *ballot) castRows(t table, of bands, length int64, buckets int, rows []sketch.Row, weight float64, content bool) {
	for i := range rows {
		of.each(length, &rows[i], buckets, func(key uint64) { b.cast(t, key, weight, content) })
	}
}

// vote looks up what the suspect has and returns the votes of every entry. A chunk
// is worth many bands: it is never there by chance. The tables are asked side by
// side and their votes added in one order, so that the outcome is always the same.
func (s *segment) vote(fp *fingerprint.Fingerprint) []nominee {
	ballots := []func(*ballot, *fingerprint.Fingerprint){(*ballot).castChunks, (*ballot).castAligned, (*ballot).castContent}
	votes := make([]ballot, len(ballots))
	var asked sync.WaitGroup
	for i, cast := range ballots {
		votes[i] = ballot{segment: s, out: make([]nominee, len(s.entries))}
		asked.Go(func() { cast(&votes[i], fp) })
	}
	asked.Wait()
	sum := votes[0].out
	for _, v := range votes[1:] {
		for e := range sum {
			sum[e].votes += v.out[e].votes
			sum[e].content += v.out[e].content
		}
	}
	return sum
}

func (b *ballot) castChunks(fp *fingerprint.Fingerprint) {
	for p := range fp.Pieces {
		for _, c := range fp.Pieces[p].Chunks {
			if !c.Plain && c.Key != (fingerprint.ChunkKey{}) {
				b.cast(b.segment.chunks, binary.LittleEndian.Uint64(c.Key[:]), 100, false)
			}
		}
	}
}

func (b *ballot) castAligned(fp *fingerprint.Fingerprint) {
	eachSketch(fp, func(k *sketch.Tensor) {
		across := 64 // buckets of the columns
		if k.Count >= 256 {
			across = 256
		}
		b.castRows(b.segment.aligned, alignedBands(), k.Length, k.Buckets, k.Aligned[:min(len(k.Aligned), queriedRows)], 1, false)
		b.castRows(b.segment.aligned, alignedBands(), k.Count, across, k.Columns[:min(len(k.Columns), queriedRows)], 1, false)
	})
}

func (b *ballot) castContent(fp *fingerprint.Fingerprint) {
	eachSketch(fp, func(k *sketch.Tensor) {
		b.castRows(b.segment.content, contentBands(), k.Length, k.Buckets, k.Content, 0.5, true)
	})
}

// eachSketch calls f with the sketches that are evidence.
func eachSketch(fp *fingerprint.Fingerprint, f func(*sketch.Tensor)) {
	for t := range fp.Tensors {
		if k := fp.Tensors[t].Sketch; k != nil && fp.Tensors[t].Constant == "" {
			f(k)
		}
	}
}

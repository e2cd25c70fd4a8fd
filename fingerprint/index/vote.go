package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

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
func (db *DB) candidates(ctx context.Context, fp *fingerprint.Fingerprint) []nominee {
	var out []nominee
	if db.Len() <= bruteForce {
		db.each(func(r ref, _ *Entry) { out = append(out, nominee{ref: r, permuted: true}) })
		return out
	}
	for s, votes := range db.vote(ctx, fp) {
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

// ballot is what the suspect has of one kind: the keys that it looks up, rising, so that a table is
// walked once from its start to its end, and what each vote is worth.
type ballot struct {
	table   func(*segment) table
	keys    []uint64
	weight  float64
	content bool
}

// ballots lists what a suspect has. A chunk is worth many bands: it is never there by chance.
func ballots(ctx context.Context, fp *fingerprint.Fingerprint) []ballot {
	out := []ballot{
		{table: func(s *segment) table { return s.chunks }, keys: chunkVotes(fp), weight: 100},
		{table: func(s *segment) table { return s.aligned }, keys: alignedVotes(fp), weight: 1},
		{table: func(s *segment) table { return s.content }, keys: contentVotes(fp), weight: .5, content: true},
	}
	eachOf(ctx, len(out), func(i int) { slices.Sort(out[i].keys) })
	return out
}

// vote returns the votes of every entry of every segment. The tables are asked side by side and their
// votes added in one order, so that the outcome is always the same.
func (db *DB) vote(ctx context.Context, fp *fingerprint.Fingerprint) [][]nominee {
	cast := ballots(ctx, fp)
	parts := make([][]nominee, len(cast)*len(db.segments))
	eachOf(ctx, len(parts), func(i int) { parts[i] = db.segments[i/len(cast)].count(cast[i%len(cast)]) })
	out := make([][]nominee, len(db.segments))
	for i, part := range parts {
		sum := &out[i/len(cast)]
		if i%len(cast) == 0 {
			*sum = part
			continue
		}
		for e := range part {
			(*sum)[e].votes += part[e].votes
			(*sum)[e].content += part[e].content
		}
	}
	return out
}

// count looks the keys of one kind up. What many entries share is worth less to each (inverse
// document frequency).
func (s *segment) count(b ballot) []nominee {
	out := make([]nominee, len(s.entries))
	t, at, below := b.table(s), 0, uint64(0)
	for _, key := range b.keys {
		at, below = t.from(at, below, key), key
		end := at
		for end < t.len() && t.key(end) == key {
			end++
		}
		weight := b.weight / float64(max(1, end-at))
		for i := at; i < end; i++ {
			e := int(t.entry(i))
			if e >= len(out) {
				continue // a table that somebody made up
			}
			out[e].votes += weight
			if b.content {
				out[e].content += weight
			}
		}
	}
	return out
}

func chunkVotes(fp *fingerprint.Fingerprint) (keys []uint64) {
	for p := range fp.Pieces {
		for _, c := range fp.Pieces[p].Chunks {
			if !c.Plain() && c.Key != (fingerprint.ChunkKey{}) {
				keys = append(keys, binary.LittleEndian.Uint64(c.Key[:]))
			}
		}
	}
	return keys
}

func alignedVotes(fp *fingerprint.Fingerprint) (keys []uint64) {
	eachSketch(fp, func(k *sketch.Tensor) {
		across := 64 // buckets of the columns
		if k.Count >= 256 {
			across = 256
		}
		keys = alignedBands().append(keys, k.Length, k.Buckets, k.Aligned[:min(len(k.Aligned), queriedRows)])
		keys = alignedBands().append(keys, k.Count, across, k.Columns[:min(len(k.Columns), queriedRows)])
	})
	return keys
}

func contentVotes(fp *fingerprint.Fingerprint) (keys []uint64) {
	eachSketch(fp, func(k *sketch.Tensor) { keys = contentBands().append(keys, k.Length, k.Buckets, k.Content) })
	return keys
}

// eachSketch calls f with the sketches that are evidence.
func eachSketch(fp *fingerprint.Fingerprint, f func(*sketch.Tensor)) {
	for t := range fp.Tensors {
		if k := fp.Tensors[t].Sketch; k != nil && fp.Tensors[t].Constant == "" {
			f(k)
		}
	}
}

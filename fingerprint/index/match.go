package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"

	"weightwarden/fingerprint"
	"weightwarden/formats"
)

const (
	// bruteForce is the size of a registry up to which everything is compared.
	bruteForce = 32
	// mostCandidates is how many entries are compared in full.
	mostCandidates = 50
	// maxLogP is the bound that a match must stay under after it was multiplied by
	// the number of registered artifacts: 1e-9 for a whole registry.
	maxLogP = -20.7
)

// Match finds the registered models that fp is, or is made of, best first.
// Models that do not match are left out; an empty list means no match.
func (db *DB) Match(ctx context.Context, fp *fingerprint.Fingerprint) ([]fingerprint.Match, error) {
	var found []candidate
	trials := math.Log(float64(max(1, db.Len())))
	for _, r := range db.candidates(fp) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		reg, err := db.segments[r.segment].fingerprint(r.entry)
		if err != nil {
			return nil, err
		}
		c := fingerprint.Compare(reg, fp)
		if c.Relation == fingerprint.NoMatch || c.Relation == fingerprint.Inconclusive {
			continue
		}
		if c.LogP += trials; c.LogP > maxLogP {
			continue
		}
		e := &db.segments[r.segment].entries[r.entry]
		found = append(found, candidate{reg: reg, match: fingerprint.Match{
			Model: e.Model, Version: e.Version, Kind: e.Kind, Artifact: e.Artifact, Comparison: *c}})
	}
	return attribute(found, fp), nil
}

// refined is how many candidates are looked for again in the file.
const refined = 4

// MatchFile is Match with the file at hand: where a model that matches is not
// found in whole, the file is read once more at the places where fused, stacked
// or split tensors would hold the rest. m is what fp was computed from; opt is
// what it was computed with.
func (db *DB) MatchFile(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error) {
	matches, err := db.Match(ctx, fp)
	if err != nil || m == nil {
		return matches, err
	}
	again := false
	for i, match := range matches {
		if i >= refined || match.Coverage.Parameters >= 0.995 {
			continue
		}
		reg, ok := db.Fingerprint(match.Model, match.Version, match.Artifact)
		if !ok {
			continue
		}
		found, err := fingerprint.Refine(ctx, m, reg, fp, opt)
		if err != nil {
			return nil, err
		}
		again = again || found
	}
	if again {
		return db.Match(ctx, fp)
	}
	if len(matches) > 0 || opt.Quick {
		return matches, nil
	}
	if err := fingerprint.AddInvariants(ctx, m, fp); err != nil {
		return nil, err
	}
	return db.matchInvariants(ctx, fp)
}

// matchInvariants compares layer I with every registered model that has one:
// the numbers are few.
func (db *DB) matchInvariants(ctx context.Context, fp *fingerprint.Fingerprint) ([]fingerprint.Match, error) {
	if len(fp.Layers) == 0 {
		return nil, nil
	}
	var out []fingerprint.Match
	var failed error
	db.each(func(r ref, e *Entry) {
		if failed != nil || ctx.Err() != nil {
			return
		}
		reg, err := db.segments[r.segment].fingerprint(r.entry)
		if err != nil {
			failed = err
			return
		}
		if len(reg.Layers) == 0 {
			return
		}
		if c := fingerprint.CompareInvariants(reg, fp); c.Relation == fingerprint.Reparameterised {
			out = append(out, fingerprint.Match{Model: e.Model, Version: e.Version, Kind: e.Kind, Artifact: e.Artifact, Comparison: *c})
		}
	})
	slices.SortStableFunc(out, func(a, b fingerprint.Match) int { return cmp.Compare(a.LogP, b.LogP) })
	return out, cmp.Or(failed, ctx.Err())
}

// candidate is a registered model that matches, with its fingerprint.
type candidate struct {
	reg   *fingerprint.Fingerprint
	match fingerprint.Match
}

// candidates returns the entries worth a full comparison: all of a small
// registry, else those with the most votes of chunks and row bands.
func (db *DB) candidates(fp *fingerprint.Fingerprint) []ref {
	var out []ref
	if db.Len() <= bruteForce {
		db.each(func(r ref, _ *Entry) { out = append(out, r) })
		return out
	}
	votes := make(map[ref]float64)
	for s, seg := range db.segments {
		seg.vote(fp, func(entry uint32, weight float64) {
			if r := (ref{s, int(entry)}); int(entry) < len(seg.entries) && !db.removed[r] {
				votes[r] += weight
			}
		})
	}
	for r := range votes {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b ref) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a.segment, b.segment), cmp.Compare(a.entry, b.entry))
	})
	return out[:min(len(out), mostCandidates)]
}

// vote looks up what the suspect has. A chunk is worth many bands: it is never
// there by chance. What many entries share is worth less to each (inverse
// document frequency).
func (s *segment) vote(fp *fingerprint.Fingerprint, f func(entry uint32, weight float64)) {
	ballot := func(t table, key uint64, weight float64) {
		n := 0
		t.find(key, func(uint32) { n++ })
		if n > 0 {
			t.find(key, func(e uint32) { f(e, weight/float64(n)) })
		}
	}
	for p := range fp.Pieces {
		for _, c := range fp.Pieces[p].Chunks {
			if !c.Plain && c.Key != (fingerprint.ChunkKey{}) {
				ballot(s.chunks, binary.LittleEndian.Uint64(c.Key[:]), 100)
			}
		}
	}
	for t := range fp.Tensors {
		k := fp.Tensors[t].Sketch
		if k == nil || fp.Tensors[t].Constant != "" {
			continue
		}
		for i := range k.Aligned {
			eachBand(k.Length, &k.Aligned[i], k.Buckets, alignedBand, func(key uint64) { ballot(s.aligned, key, 1) })
		}
		for i := range k.Columns {
			b := 64
			if k.Count >= 256 {
				b = 256
			}
			eachBand(k.Count, &k.Columns[i], b, alignedBand, func(key uint64) { ballot(s.aligned, key, 1) })
		}
		for i := range k.Content {
			eachBand(k.Length, &k.Content[i], k.Buckets, contentBand, func(key uint64) { ballot(s.content, key, 0.5) })
		}
	}
}

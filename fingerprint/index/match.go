package index

import (
	"cmp"
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"weightwarden/fingerprint"
	"weightwarden/formats"
)

const (
	// maxLogP is the bound that a match must stay under after it was multiplied by
	// the number of registered artifacts: 1e-9 for a whole registry.
	maxLogP = -20.7
)

// Match finds the registered models that fp is, or is made of, best first.
// Models that do not match are left out; an empty list means no match.
func (db *DB) Match(ctx context.Context, fp *fingerprint.Fingerprint) ([]fingerprint.Match, error) {
	nominees := db.candidates(ctx, fp)
	compared := make([]*candidate, len(nominees))
	errs := make([]error, len(nominees))
	eachOf(ctx, len(nominees), func(i int) { compared[i], errs[i] = db.compare(nominees[i], fp) })
	if err := cmp.Or(errors.Join(errs...), ctx.Err()); err != nil {
		return nil, err
	}
	var found []candidate
	for _, c := range compared {
		if c != nil {
			found = append(found, *c)
		}
	}
	return db.attribute(found, fp), nil
}

// compare returns nil where fp has nothing of the nominee.
func (db *DB) compare(n nominee, fp *fingerprint.Fingerprint) (*candidate, error) {
	reg, err := db.segments[n.segment].fingerprint(n.entry)
	if err != nil {
		return nil, err
	}
	compare := fingerprint.CompareInPlace
	if n.permuted {
		compare = fingerprint.Compare
	}
	c := compare(reg, fp)
	if c.Relation == fingerprint.NoMatch || c.Relation == fingerprint.Inconclusive {
		return nil, nil
	}
	if c.LogP += db.logTrials(); c.LogP > maxLogP {
		return nil, nil
	}
	e := &db.segments[n.segment].entries[n.entry]
	return &candidate{reg: reg, match: fingerprint.Match{
		Model: e.Model, Version: e.Version, Kind: e.Kind, Artifact: e.Artifact, Comparison: *c}}, nil
}

// logTrials is what a bound grows by in the whole registry: each registered artifact
// is one more trial.
func (db *DB) logTrials() float64 { return math.Log(float64(max(1, db.Len()))) }

// refined is how many candidates are looked for again in the file.
const refined = 4

// MatchFile is Match with the file at hand: where a model that matches is not
// found in whole, the file is read once more at the places where fused, stacked
// or split tensors would hold the rest. m is what fp was computed from; opt is
// what it was computed with.
func (db *DB) MatchFile(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error) {
	matches, err := db.Match(ctx, fp)
	switch {
	case err != nil:
		return nil, err
	case m == nil && len(fp.Loose) == 0 && (opt.Quick || len(matches) > 0):
		return matches, nil
	case m == nil && len(fp.Loose) == 0:
		return db.matchInvariants(ctx, fp) // those it has
	case m == nil:
		m = &formats.Model{} // bytes only
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
		if matches, err = db.Match(ctx, fp); err != nil {
			return nil, err
		}
	}
	if opt.Quick {
		return matches, nil
	}
	if len(matches) > 0 {
		return db.complete(ctx, fp, m, opt, matches)
	}
	if matches, err = db.matchReshaped(ctx, fp, m, opt); err != nil || len(matches) > 0 {
		return matches, err
	}
	if matches, err = db.matchDumped(ctx, fp, m, opt); err != nil || len(matches) > 0 {
		return matches, err
	}
	if err := fingerprint.AddInvariants(ctx, m, fp, opt.Jobs); err != nil {
		return nil, err
	}
	return db.matchInvariants(ctx, fp)
}

// matchInvariants compares layer I with the registered models that have one.
func (db *DB) matchInvariants(ctx context.Context, fp *fingerprint.Fingerprint) ([]fingerprint.Match, error) {
	if len(fp.Layers) == 0 {
		return nil, nil
	}
	refs := db.nominateLayers(ctx, fp)
	found := make([]*fingerprint.Comparison, len(refs))
	errs := make([]error, len(refs))
	eachOf(ctx, len(refs), func(i int) {
		reg, err := db.segments[refs[i].segment].fingerprint(refs[i].entry)
		if err != nil || len(reg.Layers) == 0 {
			errs[i] = err
			return
		}
		if c := fingerprint.CompareInvariants(reg, fp); c.Relation == fingerprint.Reparameterised {
			found[i] = c
		}
	})
	var out []fingerprint.Match
	for i, c := range found {
		if e := &db.segments[refs[i].segment].entries[refs[i].entry]; c != nil {
			out = append(out, fingerprint.Match{Model: e.Model, Version: e.Version, Kind: e.Kind, Artifact: e.Artifact, Comparison: *c})
		}
	}
	slices.SortStableFunc(out, func(a, b fingerprint.Match) int {
		// Of a public base and its child, whose neurons agree as well, the base says enough.
		return cmp.Or(cmp.Compare(b.Evidence[0].Value, a.Evidence[0].Value), cmp.Compare(public(candidate{match: b}), public(candidate{match: a})), cmp.Compare(a.LogP, b.LogP))
	})
	return out, cmp.Or(errors.Join(errs...), ctx.Err())
}

// eachOf calls do with the numbers below n, on all cores, until ctx is done.
func eachOf(ctx context.Context, n int, do func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	workers.Wait()
}

// candidate is a registered model that matches, with its fingerprint.
type candidate struct {
	reg   *fingerprint.Fingerprint
	match fingerprint.Match
	own   bool   // tensors that no public model has were found too
	kin   string // why its own training may be there without a copy; empty where it may not
}

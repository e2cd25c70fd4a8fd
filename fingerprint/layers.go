package fingerprint

import (
	"context"
	"fmt"
	"math"

	"weightwarden/fingerprint/invariant"
	"weightwarden/formats"
)

// mostLayers bounds the feed-forward blocks that invariants are computed for.
const mostLayers = 512

// AddInvariants computes layer I: one more read of the feed-forward weights, on
// as many cores as jobs says, 0 meaning all. Compute does it at registration; for
// a suspect it is worth its time only when nothing else matched. Blocks that
// cannot be read are noted and left out.
func AddInvariants(ctx context.Context, m *formats.Model, fp *Fingerprint, jobs int) error {
	if m == nil {
		return nil
	}
	views := Views(m)
	blocks := invariant.Find(views)
	blocks = blocks[:min(len(blocks), mostLayers)]
	samples := make([]invariant.Layer, len(blocks))
	errs := make([]error, len(blocks))
	spread(ctx, jobs, len(blocks), func() func(int) {
		return func(i int) {
			var s *invariant.Block
			if s, errs[i] = invariant.Sample(ctx, views, blocks[i], true); errs[i] == nil {
				samples[i] = s.Layer(views[blocks[i].Gate].Name)
			}
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fp.Layers = nil
	for i, b := range blocks {
		if errs[i] != nil {
			fp.Notes = append(fp.Notes, fmt.Sprintf("block of %.100q has no invariants: %v", views[b.Gate].Name, errs[i]))
			continue
		}
		fp.Layers = append(fp.Layers, samples[i])
		fp.BytesRead += 3 * b.Hidden * b.Width
	}
	return nil
}

// CompareInvariants compares layer I alone. It answers with REPARAMETERISED, for
// review, or NO-MATCH: there is no exact bound, and unrelated layers of the same
// two models are the control.
func CompareInvariants(registered, suspect *Fingerprint) *Comparison {
	out := &Comparison{Relation: NoMatch}
	if registered.Scheme != suspect.Scheme {
		return out
	}
	a, ok := invariant.Compare(registered.Layers, suspect.Layers)
	if !ok {
		return out
	}
	out.LogP, out.Bound = -a.Z*math.Abs(a.Z)/2, "control-calibrated"
	out.Evidence = []Evidence{{Kind: "invariants", Value: float64(a.Neurons), Unit: "neurons", LogP: out.LogP, Bound: out.Bound,
		Text: fmt.Sprintf("%d of %d neurons agree in what rotation, permutation and rescaling leave unchanged; unrelated layers of the same models agree in %.1f of as many a layer (z = %.0f)",
			a.Neurons, a.Tested, a.Control, a.Z)}}
	if a.Z < invariant.Review {
		out.LogP = 0
		return out
	}
	out.Relation = Reparameterised
	share := float64(a.Layers) / float64(len(registered.Layers))
	out.Coverage = Coverage{Parameters: share * mlpShare(registered), Tensors: share * mlpShare(registered), Bytes: share * mlpShare(registered)}
	return out
}

// mlpShare is the share of a model's parameters that its feed-forward blocks hold.
func mlpShare(f *Fingerprint) float64 {
	names := make(map[string]bool)
	for _, l := range f.Layers {
		names[l.Name] = true
	}
	var gate, all float64
	for i := range f.Tensors {
		t := &f.Tensors[i]
		all += float64(t.Parameters)
		if names[t.Name] {
			gate += float64(t.Parameters)
		}
	}
	if all == 0 {
		return 0
	}
	return min(1, 3*gate/all)
}

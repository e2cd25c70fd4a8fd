package fingerprint

import (
	"cmp"
	"math"
	"slices"

	"weightwarden/fingerprint/sketch"
)

// The bound of the aligned test takes tensors for independent of each other and their rows for
// exchangeable. What of a registered model is neither is told by the model itself, once there is
// something to decide.

// mostDistinct is how many registered tensors the bound is taken over when they are told from
// their own repetitions: many more than a match needs.
const mostDistinct = 256

// distinct returns the outcomes of tensors whose rows are exchangeable and that are not alike among themselves. The bound takes
// them for independent of each other, and what a model has twice (tied or repeated layers, experts
// that were begun as copies) gives the same hits twice. Of what is alike the one with most hits
// stands for all, chosen from the alignments of all.
func (c *comparer) distinct(pairs []alignment) []Aligned {
	sorted := slices.Clone(pairs)
	slices.SortStableFunc(sorted, func(a, b alignment) int { return cmp.Compare(b.hits, a.hits) })
	var kept []alignment
	for _, a := range sorted {
		at := slices.IndexFunc(kept, func(k alignment) bool { return c.alike(a.registered, k.registered) })
		switch {
		case at >= 0:
			kept[at].tried += a.tried
		case len(kept) < mostDistinct && c.exchangeable(a.registered):
			kept = append(kept, a)
		}
	}
	return outcomes(kept)
}

// twin is how far apart, in parts of their bits, the rows of tensors are that are repetitions of each other:
// a cosine of .8. What is less alike and still finds its rows in place has a pattern.
const twin = .2

// alike reports whether two registered tensors have nearly the same rows. Eight rows say so of most
// that have not.
func (c *comparer) alike(x, y int) bool {
	a, b := c.reg.Tensors[x].Sketch, c.reg.Tensors[y].Sketch
	if a.Length != b.Length || a.Count != b.Count || len(a.Aligned) != len(b.Aligned) {
		return false
	}
	for _, n := range []int{min(8, len(a.Aligned)), len(a.Aligned)} {
		sum := 0
		for i := range n {
			sum += hamming(&a.Aligned[i].Bits, &b.Aligned[i].Bits)
		}
		if float64(sum) > twin*float64(n*a.Buckets) {
			return false
		}
	}
	return true
}

// exchangeable reports whether the rows of a registered tensor are in no order that other models share: those
// of position tables, taps of filters, bins of a scale, triangles, blocks are. Such rows are like their neighbours,
// or like the rows with the same number in other layers of the registered model.
func (c *comparer) exchangeable(t int) bool {
	return !ordered(c.reg.Tensors[t].Sketch) && !c.patterned(t)
}

// ordered reports whether sampled rows are nearer to the next ones than to all others. Measured: at most 3.7
// standard deviations in trained matrices, 5 to 24 in depthwise filters and in classifiers of pitch and of distances.
func ordered(k *sketch.Tensor) bool {
	const deviations = 5
	rows := slices.DeleteFunc(slices.Clone(k.Aligned), func(r sketch.Row) bool { return r.Norm <= 0 })
	slices.SortFunc(rows, func(a, b sketch.Row) int { return cmp.Compare(a.Index, b.Index) })
	if len(rows) < minCommon {
		return false
	}
	var sum, squares, n, next float64
	for i := range rows {
		for j := range i {
			d := float64(hamming(&rows[i].Bits, &rows[j].Bits))
			sum, squares, n = sum+d, squares+d*d, n+1
			if j == i-1 {
				next += d
			}
		}
	}
	mean, steps := sum/n, float64(len(rows)-1)
	spread := math.Sqrt(max(squares/n-mean*mean, 1e-2))
	return (mean-next/steps)*math.Sqrt(steps) > deviations*spread
}

// mostControls is how many other tensors of one shape a registered tensor is compared with.
const mostControls = 64

// patterned reports whether rows of a registered tensor are found at their place in most other tensors of the same
// model, which are no repetitions of it, more often than one time in 10^4. A quarter of these, with most hits, is left
// out: gate and up projections of one layer are related, neuron by neuron.
func (c *comparer) patterned(t int) bool {
	k := c.reg.Tensors[t].Sketch
	var hits []int
	for n := 1; n < len(c.reg.Tensors) && len(hits) < mostControls; n++ {
		other := (t + n) % len(c.reg.Tensors)
		o := &c.reg.Tensors[other]
		if o.Sketch == nil || o.Constant != "" || o.Sketch.Length != k.Length || o.Sketch.Count != k.Count || c.alike(t, other) {
			continue
		}
		h, _ := nearestHits(k, o.Sketch.Aligned)
		hits = append(hits, h)
	}
	slices.Sort(hits)
	hits = hits[:len(hits)-(len(hits)+3)/4]
	sum := 0
	for _, h := range hits {
		sum += h
	}
	n, s := float64(len(hits)), float64(sum) // of exchangeable rows one hit each at most on average, as Poisson's
	return s > n && s-n+s*math.Log(n/s) <= math.Log(1e-4)
}

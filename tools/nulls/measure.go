package main

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
)

// lines yields the lines of s that are not empty or comments.
func lines(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(s) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
	}
}

// pair is one comparison of independent things.
type pair struct {
	kind     string // "models" or "layers"
	a, b     string
	hits     int
	tensors  int
	logP     float64
	relation fingerprint.Relation
}

// report is everything that was measured.
type report struct {
	pairs     []pair
	over      int
	trials    int
	histogram map[int]int // hits per tensor pair, resampled
	tensors   int         // tensor pairs resampled
	sums      map[int]int // hits of a whole trial
	perTrial  float64     // mean number of tensors of a trial
	bestLogP  float64     // lowest bound that a trial reached
	trialOver int         // trials under 1e-12
	distances []int       // bits that differ between independent rows, histogram
}

// nearest holds, for the suspect's sampled rows of one tensor, which registered
// row is nearest (-1: a tie).
type nearest []int

func measure(models []model, trials int) *report {
	r := &report{histogram: map[int]int{}, sums: map[int]int{}, trials: trials, distances: make([]int, 257)}
	var pool [][]nearest // one list of tensors per independent pair
	for i := range models {
		for k := range models {
			if i == k || models[i].origin == models[k].origin {
				continue
			}
			c := fingerprint.Compare(models[i].fp, models[k].fp)
			ts := r.tensorPairs(models[i].fp, models[k].fp, false)
			r.addPair("models", models[i].name, models[k].name, ts, c.Relation)
			if len(ts) > 0 {
				pool = append(pool, ts)
			}
		}
		// Layers of one model at other depths are unrelated to each other.
		ts := r.tensorPairs(models[i].fp, models[i].fp, true)
		r.addPair("layers", models[i].name, models[i].name+", next layer", ts, "")
		if len(ts) > 0 {
			pool = append(pool, ts)
		}
	}
	r.resample(pool)
	return r
}

func (r *report) addPair(kind, a, b string, ts []nearest, rel fingerprint.Relation) {
	p := pair{kind: kind, a: a, b: b, tensors: len(ts), relation: rel}
	var aligned []fingerprint.Aligned
	for _, t := range ts {
		n := 0
		for i, j := range t {
			if i == j {
				n++
			}
		}
		p.hits += n
		aligned = append(aligned, fingerprint.Aligned{Hits: n, Tested: len(t), Tried: 1})
	}
	p.logP, _ = fingerprint.AlignedBound(aligned, len(ts))
	if rel != "" && rel != fingerprint.NoMatch {
		r.over++
	}
	r.pairs = append(r.pairs, p)
}

// tensorPairs finds the nearest rows for every tensor of a with the tensor of the
// same place in b; shifted, with the next tensor of the same shape in the model.
func (r *report) tensorPairs(a, b *fingerprint.Fingerprint, shifted bool) []nearest {
	var out []nearest
	for i := range a.Tensors {
		x := a.Tensors[i].Sketch
		if x == nil || a.Tensors[i].Constant != "" {
			continue
		}
		k := partner(a, b, i, shifted)
		if k < 0 {
			continue
		}
		y := b.Tensors[k].Sketch
		if n := r.nearestRows(x, y); n != nil {
			out = append(out, n)
		}
	}
	return out
}

func partner(a, b *fingerprint.Fingerprint, i int, shifted bool) int {
	fits := func(k int) bool {
		y := b.Tensors[k].Sketch
		x := a.Tensors[i].Sketch
		return y != nil && y.Length == x.Length && y.Count == x.Count && b.Tensors[k].Constant == ""
	}
	if !shifted {
		for k := range b.Tensors {
			if b.Tensors[k].Name == a.Tensors[i].Name && fits(k) {
				return k
			}
		}
		return -1
	}
	// The same role in another layer: gate and up of one layer share their
	// neurons' labels and are no null.
	for step := 1; step < len(b.Tensors); step++ {
		if k := (i + step) % len(b.Tensors); fits(k) && role(b.Tensors[k].Name) == role(a.Tensors[i].Name) {
			return k
		}
	}
	return -1
}

// role is a tensor's name without its layer number, the first number in it.
func role(name string) string {
	start := strings.IndexAny(name, "0123456789")
	if start < 0 {
		return name
	}
	rest := strings.TrimLeft(name[start:], "0123456789")
	return name[:start] + "#" + rest
}

func (r *report) nearestRows(x, y *sketch.Tensor) nearest {
	n := min(len(x.Aligned), len(y.Aligned))
	if n < 8 {
		return nil
	}
	out := make(nearest, n)
	for i := range out {
		best, tie := math.MaxInt, false
		for k := range n {
			d := hamming(&y.Aligned[i].Bits, &x.Aligned[k].Bits)
			if x.Buckets == 256 && x != y {
				r.distances[d]++
			}
			switch {
			case d < best:
				best, out[i], tie = d, k, false
			case d == best:
				tie = true
			}
		}
		if tie {
			out[i] = -1
		}
	}
	return out
}

func hamming(a, b *sketch.Bits) int {
	n := 0
	for i := range a {
		n += bits.OnesCount64(a[i] ^ b[i])
	}
	return n
}

// resample draws trials: an independent pair, with the labels of every
// registered tensor shuffled, which is what independence means.
func (r *report) resample(pool [][]nearest) {
	if len(pool) == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(2026, 11))
	var labels [64]int
	total := 0
	for range r.trials {
		ts := pool[rng.IntN(len(pool))]
		aligned := make([]fingerprint.Aligned, len(ts))
		sum := 0
		for t, n := range ts {
			for i := range n {
				labels[i] = i
			}
			rng.Shuffle(len(n), func(i, k int) { labels[i], labels[k] = labels[k], labels[i] })
			hits := 0
			for i, k := range n {
				if k >= 0 && labels[k] == i {
					hits++
				}
			}
			r.histogram[hits]++
			r.tensors++
			sum += hits
			aligned[t] = fingerprint.Aligned{Hits: hits, Tested: len(n), Tried: 1}
		}
		total += len(ts)
		if len(ts) == len(pool[0]) {
			r.sums[sum]++
		}
		logP, _ := fingerprint.AlignedBound(aligned, len(ts))
		r.bestLogP = min(r.bestLogP, logP)
		if logP <= math.Log(1e-12) {
			r.trialOver++
		}
	}
	r.perTrial = float64(total) / float64(r.trials)
	r.over += r.trialOver
}

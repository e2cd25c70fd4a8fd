package index

import (
	"math"
	"slices"

	"weightwarden/fingerprint"
)

// triple is one tensor of the suspect with the tensors of two registered models
// that it matches, as sums of layer T.
// strangers are what other, unrelated models that the suspect matches have there.
type triple struct {
	s, p, b   []float32
	strangers [][]float32
}

// triples lists the tensors of the suspect that both models have in place. Of all
// that match, those that are neither p nor b may be strangers.
func triples(fp *fingerprint.Fingerprint, p, b *candidate, all []candidate) []triple {
	ofP, ofB := inPlace(fp, p), inPlace(fp, b)
	var others []map[int][]float32
	for i := range all {
		if all[i].reg != p.reg && all[i].reg != b.reg {
			others = append(others, inPlace(fp, &all[i]))
		}
	}
	var out []triple
	for s := range fp.Tensors {
		x, y := ofP[s], ofB[s]
		if len(x) == 0 || len(y) == 0 {
			continue
		}
		z := fp.Tensors[s].Sketch.Sum
		n := min(len(x), len(y), len(z))
		x, y, z = folded(x, n), folded(y, n), folded(z, n)
		if n > 0 && len(x) == n && len(y) == n && len(z) == n {
			t := triple{s: z, p: x, b: y}
			for _, o := range others {
				if q := folded(o[s], n); len(q) == n && unrelated(q, y) {
					t.strangers = append(t.strangers, q)
				}
			}
			out = append(out, t)
		}
	}
	return out
}

// inPlace maps suspect tensors to the registered sums that can be subtracted
// from theirs: same rows in the same order.
func inPlace(fp *fingerprint.Fingerprint, c *candidate) map[int][]float32 {
	out, nearest := make(map[int][]float32), make(map[int]float64)
	for _, m := range c.match.Tensors {
		if m.Suspect < 0 || m.Suspect >= len(fp.Tensors) || m.Transform != "" {
			continue
		}
		s, r := fp.Tensors[m.Suspect].Sketch, c.reg.Tensors[m.Registered].Sketch
		if s != nil && r != nil && s.Count == r.Count && s.Length == r.Length && s.Buckets == r.Buckets {
			if known, ok := nearest[m.Suspect]; !ok || m.Cosine > known { // several may have rows of it
				out[m.Suspect], nearest[m.Suspect] = r.Sum, m.Cosine
			}
		}
	}
	return out
}

// unrelated reports whether two sums point in different directions.
func unrelated(a, b []float32) bool {
	return math.Abs(dot(a, b)) < 0.5*math.Sqrt(dot(a, a)*dot(b, b))
}

// without returns v with its component in the span of the directions taken out.
// They are nearly orthogonal, so that a few rounds over them converge.
func without(v []float32, directions ...[]float32) []float32 {
	out := append([]float32(nil), v...)
	rounds := 1
	if len(directions) > 1 {
		rounds = 4
	}
	for range rounds {
		for _, d := range directions {
			dd := dot(d, d)
			if dd <= 0 {
				continue
			}
			k := dot(out, d) / dd
			for i := range out {
				out[i] -= float32(k * float64(d[i]))
			}
		}
	}
	return out
}

// folded returns the sum with as many numbers as n, which is its length or half
// or a quarter of it (sketch.Tensor.Fold).
func folded(sum []float32, n int) []float32 {
	for len(sum) > n && len(sum)%2 == 0 {
		half := len(sum) / 2
		out := make([]float32, half)
		for i := range out {
			out[i] = sum[i] + sum[i+half]
		}
		sum = out
	}
	return sum
}

// delta says how much of what p has and b has not is in the suspect.
type delta struct {
	lambda  float64 // 0: the suspect is b, 1: it is p
	sd      float64 // standard deviation of lambda from the sketch noise
	rest    float64 // what b + lambda (p-b) leaves unexplained, against |p-b|^2
	size    float64 // |p-b| against |b|
	rho     float64 // correlation of the suspect's difference from b with p's
	mixed   bool    // strangers were taken out: what is left of them blurs rho
	tensors int
	uneven  bool // tensors differ in lambda as those of models do that were trained apart, or on
	even    bool // they differ less than those of mere siblings
}

// z is lambda in standard deviations.
func (d delta) z() float64 { return d.lambda / max(d.sd, 1e-9) }

// invisible is the squared share of the norm under which two models are the same
// as far as sums of 11 significant bits can tell.
const invisible = 3e-7

// measure computes the delta; false where the models cannot be told apart. Each
// tensor's own direction of b is projected out first, and those of strangers that
// were mixed in: children of one base share drift such as weight decay along it,
// and a rescaled copy differs along it only. Tensors weigh by their size relative
// to b.
func measure(ts []triple) (delta, bool) {
	var num, den, moved, variance, rest float64
	n, mixed := 0, false
	type sums struct{ w, pp, sp, ss, dim float64 }
	var all []sums
	for _, t := range ts {
		bb := dot(t.b, t.b)
		if bb <= 0 {
			continue
		}
		mixed = mixed || len(t.strangers) > 0
		directions := append([][]float32{t.b}, t.strangers...)
		suspect, own := without(t.s, directions...), without(t.p, directions...)
		x := sums{pp: dot(own, own), sp: dot(suspect, own), ss: dot(suspect, suspect)}
		x.w, x.dim = 1/bb, float64(len(t.b))
		num += x.w * x.sp
		den += x.w * x.pp
		moved += x.w * x.ss
		all = append(all, x)
		n++
	}
	if n == 0 || den/float64(n) < invisible {
		return delta{}, false
	}
	lambda := num / den
	for _, x := range all {
		r := max(0, x.ss-2*lambda*x.sp+lambda*lambda*x.pp)
		rest += x.w * r
		variance += x.w * x.w * x.pp * r / x.dim
	}
	spread := make([]share, len(all))
	for i, x := range all {
		spread[i] = share{lambda: x.sp / x.pp, variance: max(0, x.ss-x.sp*x.sp/x.pp) / (x.pp * x.dim), rho: x.sp / math.Sqrt(max(x.pp*x.ss, 1e-300))}
	}
	uneven, even := evenness(spread)
	return delta{uneven: uneven, even: even, lambda: lambda, sd: math.Sqrt(variance) / den, rest: rest / den, size: math.Sqrt(den / float64(n)),
		rho: num / math.Sqrt(max(den*moved, 1e-300)), mixed: mixed, tensors: n}, true
}

// share is how much of one tensor's own training is in the suspect.
type share struct{ lambda, variance, rho float64 }

// Bounds of how shares of tensors differ beyond the noise of sketches, in parts of their mean. Measured on testdata: under
// .03 after what is done to a file (cast, quantised, pruned, noised, mixed), .05 to .5 after training on from the
// protected model and after training on the same data apart, 1 and more among children of one base trained on different data.
const (
	leastShares = 6
	apart       = .04
	drift       = .5
	copied      = .985 // correlation from which a tensor is the protected one's own
)

// evenness says whether shares lie further apart than the noise explains (uneven), and whether so near to each other that
// they are no mere drift (even), each with some certainty. Where an eighth of the tensors are copies they are not uneven.
func evenness(of []share) (uneven, even bool) {
	of = slices.DeleteFunc(of, func(x share) bool { return math.IsNaN(x.lambda) || math.IsInf(x.lambda, 0) })
	n := float64(len(of))
	if n < leastShares {
		return false, false
	}
	var mean, noise, square float64
	copies := 0
	for _, x := range of {
		mean += x.lambda / n
		noise += x.variance / n
		if x.rho >= copied {
			copies++
		}
	}
	for _, x := range of {
		square += (x.lambda - mean) * (x.lambda - mean) / (n - 1)
	}
	deviation := noise * math.Sqrt(2/(n-1))
	uneven = copies*8 <= len(of) && square-noise > apart*apart*mean*mean && square-noise > 4*deviation
	return uneven, max(0, square-noise)+2*deviation <= drift*drift*mean*mean
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

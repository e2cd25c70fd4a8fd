package invariant

import (
	"cmp"
	"math"
	"slices"
)

// Agreement is how well the invariants of two models' layers fit.
type Agreement struct {
	Layers  int      // pairs of layers compared
	Neurons int      // neurons on which both halves of the invariants agree, over those pairs
	Tested  int      // neurons there were
	Control float64  // neurons that pairs of unrelated layers of the same two models agree on, mean a pair
	Spread  float64  // their standard deviation
	Z       float64  // Neurons against Layers*Control, in standard deviations
	Pairs   [][2]int // layer of a, layer of b
	Negated bool     // up and down projections of b have the other sign
}

// Review is the z from which a match of invariants is worth an analyst's look.
// Invariants have no exact null: the control is the agreement of unrelated layers.
const Review = 8

// Compare matches the layers of two models, in order, and takes all other pairs
// of layers as the control. Models with fewer than three layers cannot be judged.
//
// Up and down projections may both have been negated, which changes nothing of what a block
// computes. Where half of the neurons or fewer were, the others are enough; where more were, they are
// compared negated, and the better of the two answers counts.
func Compare(a, b []Layer) (Agreement, bool) {
	if len(a) < 3 || len(b) < 3 {
		return Agreement{}, false
	}
	x, y := prepareAll(a), prepareAll(b)
	out := compare(a, b, x, y)
	if out.Z >= Review {
		return out, true
	}
	for i := range y {
		y[i].negate()
	}
	if other := compare(a, b, x, y); other.Z > out.Z {
		other.Negated = true
		out = other
	}
	return out, true
}

func compare(a, b []Layer, x, y []prepared) Agreement {
	score := make([][]float64, len(a))
	for i := range a {
		score[i] = make([]float64, len(b))
		for k := range b {
			score[i][k] = float64(len(agree(&x[i], &y[k])))
		}
	}
	out := Agreement{Pairs: alignLayers(score)}
	paired := make(map[[2]int]bool)
	for _, p := range out.Pairs {
		paired[p] = true
		out.Neurons += int(score[p[0]][p[1]])
		out.Tested += min(len(a[p[0]].Neurons), len(b[p[1]].Neurons))
	}
	out.Layers = len(out.Pairs)
	var rest []float64
	for i := range score {
		for k := range score[i] {
			if !paired[[2]int{i, k}] {
				rest = append(rest, score[i][k])
			}
		}
	}
	out.Control, out.Spread = meanAndSpread(rest)
	// The best alignment of noise lies above its mean: a floor of Poisson noise
	// and of the largest control value keeps small registries honest.
	floor := math.Max(out.Control, 1)
	expected := float64(out.Layers) * (floor + out.Spread)
	out.Z = (float64(out.Neurons) - expected) / math.Sqrt(float64(out.Layers)*(out.Spread*out.Spread+floor))
	return out
}

// alignLayers picks the pairs of layers, rising in both models, with the largest
// sum of scores: layers may be dropped or repeated.
func alignLayers(score [][]float64) [][2]int {
	n, m := len(score), len(score[0])
	best := make([][]float64, n+1)
	for i := range best {
		best[i] = make([]float64, m+1)
	}
	for i := range n {
		for k := range m {
			best[i+1][k+1] = max(best[i][k]+score[i][k], best[i][k+1], best[i+1][k])
		}
	}
	var out [][2]int
	for i, k := n, m; i > 0 && k > 0; {
		switch best[i][k] {
		case best[i-1][k-1] + score[i-1][k-1]:
			out = append(out, [2]int{i - 1, k - 1})
			i, k = i-1, k-1
		case best[i-1][k]:
			i--
		default:
			k--
		}
	}
	slices.Reverse(out)
	return out
}

func meanAndSpread(v []float64) (mean, spread float64) {
	if len(v) == 0 {
		return 0, 0
	}
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	for _, x := range v {
		spread += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(spread / float64(len(v)))
}

// Agree returns the pairs of neurons (of a, of b) whose nearest neighbours under
// two disjoint halves of the invariants are the same: ln|g| and cos(g,u) against
// ln|u||d|, cos(g,d), cos(u,d). Negated says that b's up and down projections have the other sign.
func Agree(a, b *Layer, negated bool) [][2]int {
	x, y := prepare(a), prepare(b)
	if negated {
		y.negate()
	}
	return agree(&x, &y)
}

// The two halves; the first of each is what neurons are sorted by.
var halves = [2][]int{{0, 2}, {1, 3, 4}}

// prepared is a layer with what every comparison needs of it.
type prepared struct {
	neurons []Neuron // medians taken out of the logarithms: quantisation shifts all alike
	spread  Neuron   // of every number
	scaled  []Neuron // neurons over spread
	order   [2][]int // of scaled, by the first number of each half
}

func prepareAll(layers []Layer) []prepared {
	out := make([]prepared, len(layers))
	for i := range layers {
		out[i] = prepare(&layers[i])
	}
	return out
}

func prepare(l *Layer) prepared {
	p := prepared{neurons: slices.Clone(l.Neurons), scaled: make([]Neuron, len(l.Neurons))}
	for c := range p.spread {
		if len(l.Neurons) == 0 {
			break
		}
		column := make([]float64, len(l.Neurons))
		for i := range l.Neurons {
			column[i] = float64(l.Neurons[i][c])
		}
		_, spread := meanAndSpread(column)
		p.spread[c] = float32(max(spread, 1e-6))
		shift := 0.0
		if c < 2 {
			shift = median(column)
		}
		for i := range p.neurons {
			p.neurons[i][c] = float32(float64(l.Neurons[i][c]) - shift)
			p.scaled[i][c] = p.neurons[i][c] / p.spread[c]
		}
	}
	for h, columns := range halves {
		p.order[h] = make([]int, len(l.Neurons))
		for i := range p.order[h] {
			p.order[h][i] = i
		}
		slices.SortFunc(p.order[h], func(i, k int) int { return cmp.Compare(p.scaled[i][columns[0]], p.scaled[k][columns[0]]) })
	}
	return p
}

// negate gives the up and down projections the other sign.
func (p *prepared) negate() {
	for i := range p.neurons {
		p.neurons[i][2], p.neurons[i][3] = -p.neurons[i][2], -p.neurons[i][3]
	}
}

func agree(x, y *prepared) [][2]int {
	if len(x.neurons) == 0 {
		return nil
	}
	var out [][2]int
	for k, n := range y.neurons {
		for c := range n {
			n[c] /= x.spread[c]
		}
		if first := x.nearest(n, 0); first == x.nearest(n, 1) {
			out = append(out, [2]int{first, k})
		}
	}
	return out
}

// nearest returns the neuron of x that is nearest to a scaled one in one half of the numbers. It goes
// outwards from those with the same first number until that alone is further than the best.
func (p *prepared) nearest(to Neuron, half int) int {
	order, columns := p.order[half], halves[half]
	first := columns[0]
	up, _ := slices.BinarySearchFunc(order, to[first], func(i int, v float32) int { return cmp.Compare(p.scaled[i][first], v) })
	down := up - 1
	best, at := math.Inf(1), order[0]
	try := func(i int) bool {
		e := float64(p.scaled[i][first] - to[first])
		d := e * e
		if d > best {
			return false
		}
		for _, c := range columns[1:] {
			e := float64(p.scaled[i][c] - to[c])
			d += e * e
		}
		if d < best || d == best && i < at {
			best, at = d, i
		}
		return true
	}
	for down >= 0 || up < len(order) {
		if down >= 0 {
			if try(order[down]) {
				down--
			} else {
				down = -1
			}
		}
		if up < len(order) {
			if try(order[up]) {
				up++
			} else {
				up = len(order)
			}
		}
	}
	return at
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

package invariant

import (
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
}

// Review is the z from which a match of invariants is worth an analyst's look.
// Invariants have no exact null: the control is the agreement of unrelated layers.
const Review = 8

// Compare matches the layers of two models, in order, and takes all other pairs
// of layers as the control. Models with fewer than three layers cannot be judged.
func Compare(a, b []Layer) (Agreement, bool) {
	if len(a) < 3 || len(b) < 3 {
		return Agreement{}, false
	}
	score := make([][]float64, len(a))
	for i := range a {
		score[i] = make([]float64, len(b))
		for k := range b {
			score[i][k] = float64(len(Agree(&a[i], &b[k])))
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
	return out, true
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
// ln|u||d|, cos(g,d), cos(u,d).
func Agree(a, b *Layer) [][2]int {
	if len(a.Neurons) == 0 || len(b.Neurons) == 0 {
		return nil
	}
	x, y := normalise(a, b)
	var out [][2]int
	for k := range y {
		first := nearest(x, y[k], []int{0, 2})
		if first == nearest(x, y[k], []int{1, 3, 4}) {
			out = append(out, [2]int{first, k})
		}
	}
	return out
}

// normalise takes the medians out of the logarithms (quantisation shifts all
// alike) and scales every number by its spread in a.
func normalise(a, b *Layer) (x, y []Neuron) {
	x, y = slices.Clone(a.Neurons), slices.Clone(b.Neurons)
	for c := range x[0] {
		column := func(ns []Neuron) []float64 {
			v := make([]float64, len(ns))
			for i := range ns {
				v[i] = float64(ns[i][c])
			}
			return v
		}
		shiftX, shiftY := 0.0, 0.0
		if c < 2 {
			shiftX, shiftY = median(column(x)), median(column(y))
		}
		_, spread := meanAndSpread(column(x))
		spread = max(spread, 1e-6)
		for i := range x {
			x[i][c] = float32((float64(x[i][c]) - shiftX) / spread)
		}
		for i := range y {
			y[i][c] = float32((float64(y[i][c]) - shiftY) / spread)
		}
	}
	return x, y
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func nearest(list []Neuron, to Neuron, columns []int) int {
	best, at := math.Inf(1), -1
	for i := range list {
		d := 0.0
		for _, c := range columns {
			e := float64(list[i][c] - to[c])
			d += e * e
		}
		if d < best {
			best, at = d, i
		}
	}
	return at
}

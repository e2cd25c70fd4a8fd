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
	pairs := agree(&x, &y)
	slices.SortFunc(pairs, func(a, b [2]int) int { return cmp.Compare(a[1], b[1]) })
	return pairs
}

// The two halves; the first of each is what neurons are sorted by.
var halves = [2][]int{{0, 2}, {1, 3, 4}}

// prepared is a layer with what every comparison needs of it.
type prepared struct {
	neurons []Neuron   // medians taken out of the logarithms: quantisation shifts all alike
	spread  Neuron     // of every number
	sorted  [2][]point // neurons over spread, by the first number of each half
	place   []int      // of every neuron in the second half's order
}

// point is a neuron in one half of its numbers; the last is 0 where there are two.
type point struct {
	at     [3]float32
	neuron int32
}

func newPoint(n *Neuron, half, neuron int) (p point) {
	for i, c := range halves[half] {
		p.at[i] = n[c]
	}
	p.neuron = int32(neuron)
	return p
}

// distance is squared; beyond says that the first number alone makes it larger than so much.
func (p *point) distance(to *point, most float64) (d float64, beyond bool) {
	x, y, z := float64(p.at[0]-to.at[0]), float64(p.at[1]-to.at[1]), float64(p.at[2]-to.at[2])
	return x*x + y*y + z*z, x*x > most
}

func prepareAll(layers []Layer) []prepared {
	out := make([]prepared, len(layers))
	for i := range layers {
		out[i] = prepare(&layers[i])
	}
	return out
}

func prepare(l *Layer) prepared {
	p := prepared{neurons: slices.Clone(l.Neurons), place: make([]int, len(l.Neurons))}
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
		}
	}
	for h := range halves {
		p.sorted[h] = make([]point, len(p.neurons))
		for i := range p.neurons {
			n := p.scaled(&p.neurons[i])
			p.sorted[h][i] = newPoint(&n, h, i)
		}
		slices.SortFunc(p.sorted[h], func(a, b point) int { return cmp.Compare(a.at[0], b.at[0]) })
	}
	for i := range p.sorted[1] {
		p.place[p.sorted[1][i].neuron] = i
	}
	return p
}

// scaled returns a neuron over the layer's spread.
func (p *prepared) scaled(n *Neuron) (out Neuron) {
	for c := range n {
		out[c] = n[c] / p.spread[c]
	}
	return out
}

// negate gives the up and down projections the other sign.
func (p *prepared) negate() {
	for i := range p.neurons {
		p.neurons[i][2], p.neurons[i][3] = -p.neurons[i][2], -p.neurons[i][3]
	}
}

// agree goes through y by the first number.
func agree(x, y *prepared) [][2]int {
	if len(x.neurons) == 0 {
		return nil
	}
	var out [][2]int
	from := 0 // rises with the first number of y's neurons
	for i := range y.sorted[0] {
		k := int(y.sorted[0][i].neuron)
		n := x.scaled(&y.neurons[k])
		to := newPoint(&n, 0, k)
		for from < len(x.neurons) && x.sorted[0][from].at[0] < to.at[0] {
			from++
		}
		first := x.nearest(&to, from)
		if to = newPoint(&n, 1, k); x.isNearest(first, &to) {
			out = append(out, [2]int{first, k})
		}
	}
	return out
}

// nearest returns the neuron of x that is nearest to a scaled one in the first half of the numbers. It goes
// outwards from the first that is not below it in the first number, until that alone is further than the best.
func (p *prepared) nearest(to *point, up int) int {
	points, down := p.sorted[0], up-1
	best, at := math.Inf(1), points[0].neuron
	for down >= 0 || up < len(points) {
		if down >= 0 {
			d, beyond := points[down].distance(to, best)
			if d < best || d == best && points[down].neuron < at {
				best, at = d, points[down].neuron
			}
			if down--; beyond {
				down = -1
			}
		}
		if up < len(points) {
			d, beyond := points[up].distance(to, best)
			if d < best || d == best && points[up].neuron < at {
				best, at = d, points[up].neuron
			}
			if up++; beyond {
				up = len(points)
			}
		}
	}
	return int(at)
}

// soon is how many neurons are asked first: of one that is not the nearest, any other is nearer as often as not.
const soon = 8

// isNearest says whether a neuron is the nearest to a scaled one in the second half of the numbers.
func (p *prepared) isNearest(neuron int, to *point) bool {
	points := p.sorted[1]
	best, _ := points[p.place[neuron]].distance(to, math.Inf(1))
	nearer := func(a *point) (yes, beyond bool) {
		d, beyond := a.distance(to, best)
		return d < best || d == best && int(a.neuron) < neuron, beyond
	}
	for i := range min(soon, len(points)) {
		if yes, _ := nearer(&points[i]); yes {
			return false
		}
	}
	up := from(points, to)
	for down := up - 1; down >= 0; down-- {
		if yes, beyond := nearer(&points[down]); yes {
			return false
		} else if beyond {
			break
		}
	}
	for ; up < len(points); up++ {
		if yes, beyond := nearer(&points[up]); yes {
			return false
		} else if beyond {
			break
		}
	}
	return !math.IsNaN(best)
}

// from returns the first point that is not below another in the first number.
func from(points []point, to *point) int {
	low, high := 0, len(points)
	for low < high {
		if middle := (low + high) / 2; points[middle].at[0] < to.at[0] {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

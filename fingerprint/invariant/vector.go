package invariant

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Vector says in 1,024 bits how the sampled neurons of one layer lie among each other, so that of many registered
// models those worth a comparison are found: the signs of as many waves, summed over the neurons. Vectors of a
// layer and of its copy agree in many more than half of their bits, those of independent layers in half.
//
// The waves are short against the spread of neurons, so what all layers of one recipe have in common cancels (a
// random characteristic function, as in Rahimi and Recht, "Random features for large-scale kernel machines", 2007),
// and long against what quantisation moves a neuron by. Each is even in the sign of up and down projections taken
// together, which may be negated.
type Vector [vectorWords]uint64

const (
	vectorWords = 16
	vectorBits  = 64 * vectorWords
	waveNumber  = 2 // radians of a wave in one standard deviation of a neuron's number, in the mean square
)

// wave is one direction among neurons: turns in one standard deviation of each number, and its phase.
type wave struct {
	turns Neuron
	phase float32
}

// Waves is what vectors are made by, the same for every registry.
type Waves []wave

// NewWaves draws the waves, by a generator that is the same in all versions of the language: vectors are kept for
// years.
func NewWaves() Waves {
	g := rand.NewPCG(0x77617665, vectorBits)
	uniform := func() float64 { return float64(g.Uint64()>>11) / (1 << 53) }
	out := make(Waves, vectorBits)
	for i := range out {
		for c := range out[i].turns {
			normal := -6.0
			for range 12 {
				normal += uniform()
			}
			out[i].turns[c] = float32(normal * waveNumber / (2 * math.Pi))
		}
		out[i].phase = float32(uniform())
	}
	return out
}

// Vectors returns the vectors of layers.
func (w Waves) Vectors(layers []Layer) []Vector {
	out := make([]Vector, len(layers))
	for i := range layers {
		out[i] = w.vector(&layers[i])
	}
	return out
}

func (w Waves) vector(l *Layer) (v Vector) {
	neurons := standard(l)
	for i, wave := range w {
		sum, t := float32(0), &wave.turns
		for k := range neurons {
			n := &neurons[k]
			sum += cosine1(n[0]*t[0]+n[1]*t[1]+n[4]*t[4]+wave.phase) * cosine1(n[2]*t[2]+n[3]*t[3])
		}
		if sum > 0 {
			v[i/64] |= 1 << (i % 64)
		}
	}
	return v
}

// cosine1 is nearly the cosine of so many turns: parabolas with its zeros and peaks.
func cosine1(turns float32) float32 {
	t := turns - float32(math.Floor(float64(turns)))
	p := .25 - min(t, 1-t)
	return 16 * p * (.5 - max(p, -p))
}

// standard returns the neurons in standard deviations, told by medians since outliers are many.
func standard(l *Layer) []Neuron {
	out := slices.Clone(l.Neurons)
	if len(out) == 0 {
		return nil
	}
	column := make([]float64, len(out))
	for c := range out[0] {
		for i := range out {
			column[i] = float64(out[i][c])
		}
		shift := median(column)
		if c == 2 || c == 3 {
			shift = 0 // their sign is free
		}
		for i := range column {
			column[i] = math.Abs(float64(out[i][c]) - shift)
		}
		spread := max(1.4826*median(column), 1e-6)
		for i := range out {
			out[i][c] = float32((float64(out[i][c]) - shift) / spread)
		}
	}
	return out
}

// Likeness says how alike the layers of two models are by their vectors, taken in rising order: the sum over the
// best pairs of layers of how far they agree, in standard deviations of independent layers. It orders candidates
// and proves nothing.
func Likeness(a, b []Vector) float64 {
	best := make([]float64, len(b)+1) // over the layers of a so far and the first k of b
	for i := range a {
		diagonal := 0.0
		for k := range b {
			above := best[k+1]
			best[k+1] = max(diagonal+agreement(&a[i], &b[k]), above, best[k])
			diagonal = above
		}
	}
	return best[len(b)]
}

// agreement is 0 for independent layers, give or take 1, and 32 for the same one.
func agreement(a, b *Vector) float64 {
	differ := 0
	for i := range a {
		differ += bits.OnesCount64(a[i] ^ b[i])
	}
	return float64(vectorBits/2-differ) / math.Sqrt(vectorBits/4)
}

package invariant

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// cloud returns a layer of neurons whose numbers have a common spread.
func cloud(seed uint64, neurons int) Layer {
	g := rand.New(rand.NewPCG(seed, 3))
	l := Layer{Neurons: make([]Neuron, neurons)}
	for i := range l.Neurons {
		l.Neurons[i] = Neuron{float32(3 + .4*g.NormFloat64()), float32(-2 + .2*g.NormFloat64()), float32(.02 * g.NormFloat64()), float32(.05 * g.NormFloat64()), float32(.1 + .03*g.NormFloat64())}
	}
	return l
}

// moved returns the layer with noise of a share of every number's spread, in another order, some neurons negated.
func moved(l Layer, seed uint64, share float64) Layer {
	g := rand.New(rand.NewPCG(seed, 4))
	spread := [5]float64{.4, .2, .02, .05, .03}
	out := Layer{}
	for _, i := range g.Perm(len(l.Neurons)) {
		n := l.Neurons[i]
		for c := range n {
			n[c] += float32(share * spread[c] * g.NormFloat64())
		}
		if i%3 == 0 {
			n[2], n[3] = -n[2], -n[3]
		}
		n[0]++ // scale
		out.Neurons = append(out.Neurons, n)
	}
	return out
}

// TestVectors: copies agree however they are ordered, scaled and signed, less with noise; strangers do not.
func TestVectors(t *testing.T) {
	w := NewWaves()
	layers := []Layer{cloud(1, Sampled), cloud(2, Sampled), cloud(3, Sampled), cloud(4, Sampled)}
	own := w.Vectors(layers)
	likeness := func(share float64, drop int) float64 {
		var other []Layer
		for i := drop; i < len(layers); i++ {
			other = append(other, moved(layers[i], uint64(i), share))
		}
		return Likeness(own, w.Vectors(other))
	}
	for _, c := range []struct {
		name        string
		got         float64
		least, most float64
	}{
		{"the same", likeness(0, 0), 125, 128},
		{"noise of a tenth", likeness(.1, 0), 80, 105},
		{"noise of .3", likeness(.3, 0), 30, 60},
		{"two dropped", likeness(0, 2), 62, 66},
	} {
		if c.got < c.least || c.got > c.most {
			t.Errorf("%s: likeness %.1f, want %.0f to %.0f", c.name, c.got, c.least, c.most)
		}
	}
	sum, most := 0.0, 0.0
	for seed := range uint64(100) {
		var strangers []Layer
		for i := range uint64(4) {
			strangers = append(strangers, cloud(1000+4*seed+i, Sampled))
		}
		v := Likeness(own, w.Vectors(strangers))
		sum, most = sum+v/100, max(most, v)
	}
	if most > 25 || sum > 16 {
		t.Errorf("strangers are alike by %.1f, at most %.1f", sum, most)
	}
}

// TestVectorStays: registries keep vectors, so they must stay what they are. Processors that fuse operations may turn
// a bit whose sum is next to nothing.
func TestVectorStays(t *testing.T) {
	l := Layer{}
	for i := range 64 {
		x := float32(i)
		l.Neurons = append(l.Neurons, Neuron{x / 64, float32(i*i%37) / 37, float32(i*7%13-6) / 100, float32(i*5%17-8) / 50, float32(i*11%29) / 29})
	}
	got, want := NewWaves().Vectors([]Layer{l})[0], Vector{0x95109b7d869659de, 0x1dfb01e0b57a73df, 0x42040580003d65b2, 0xe935ad5799b97791,
		0xa35e9b8f23a5998f, 0xd21127143132852b, 0xec1e777d059fc907, 0x860ba47afd43c29e, 0xb26e28d32a04bb, 0xee6ad3d26d39ba00, 0x9243c02dbbc80acf,
		0x2e3226ed2de75db1, 0x81bcb16711deb6c8, 0x6136b077664057b0, 0x2014693442ba5caf, 0x1d2c8e790d0c398e}
	differ := 0
	for i := range got {
		differ += bits.OnesCount64(got[i] ^ want[i])
	}
	if differ > 2 {
		t.Errorf("%d bits differ: %#x", differ, got)
	}
}

// TestHostileNeurons: numbers that are none make a vector like any other.
func TestHostileNeurons(t *testing.T) {
	w := NewWaves()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, l := range []Layer{
		{},
		{Neurons: []Neuron{{}}},
		{Neurons: []Neuron{{nan, nan, nan, nan, nan}, {inf, -inf, inf, 0, nan}, {1, 2, 3, 4, 5}}},
		{Neurons: []Neuron{{3e38, -3e38, 3e38, 3e38, 3e38}, {1, 1, 1, 1, 1}}},
	} {
		v := w.Vectors([]Layer{l})
		if got := Likeness(v, v); got != 32 {
			t.Errorf("%v: likeness with itself %v", l.Neurons, got)
		}
	}
	if got := Likeness(nil, w.Vectors([]Layer{{}})); got != 0 {
		t.Errorf("no layers: %v", got)
	}
}

package simd

import (
	"math"
	"slices"
	"testing"
)

func TestAccumulate(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			row, signs := s.floats(n, true), s.words((n+31)/32)
			for _, buckets := range []int{64, 256} {
				want := s.floats(buckets, false)
				got := slices.Clone(want)
				for j, v := range row {
					if signs[j/32]>>(j%32)&1 == 1 {
						v = -v
					}
					want[j%buckets] += v
				}
				p.accumulate(got, row, signs)
				if i := sameBits(got, want); i >= 0 {
					t.Fatalf("%d columns, %d buckets: bucket %d is %g, want %g", n, buckets, i, got[i], want[i])
				}
			}
		}
	})
}

func TestAccumulateClipped(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			row, signs := s.floats(n, true), s.words((n+31)/32)
			if n%7 == 6 {
				row[s.IntN(n)] = float32(math.NaN())
			}
			mean, limit := s.Float32()-0.5, 2*s.Float32()
			for _, buckets := range []int{64, 256} {
				want := s.floats(buckets, false)
				got := slices.Clone(want)
				accumulateClippedPure(want, row, signs, mean, limit, 0)
				p.accumulateClipped(got, row, signs, mean, limit)
				if i := sameBits(got, want); i >= 0 {
					t.Fatalf("%d columns, %d buckets: bucket %d is %g, want %g", n, buckets, i, got[i], want[i])
				}
			}
		}
	})
}

// TestAccumulateShortSigns leaves out what has no sign.
func TestAccumulateShortSigns(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		row, signs := s.floats(1000, false), s.words(20)
		var got, want [256]float32
		p.accumulate(got[:], row, signs)
		p.accumulate(want[:], row[:640], signs)
		if got != want {
			t.Error("columns without a sign were taken in")
		}
		p.accumulate(got[:], row, nil)
		if got != want {
			t.Error("a row without any sign changed the buckets")
		}
	})
}

func TestClip(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct{ v, limit, want float32 }{
		{1, 2, 1}, {3, 2, 2}, {-3, 2, -2}, {inf, 2, 2}, {-inf, 2, -2}, {nan, 2, nan}, {5, inf, 5}, {0.5, 0, 0},
	} {
		if got := clip(c.v, c.limit); got != c.want && (got == got || c.want == c.want) {
			t.Errorf("clip(%g, %g) = %g, want %g", c.v, c.limit, got, c.want)
		}
	}
}

func TestStats(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			row := s.floats(n, n%5 == 0)
			if n%7 == 6 {
				row[s.IntN(n)] = float32(math.NaN())
			}
			var want partial
			want.addPure(row, 0)
			w, g := want.total(), p.stats(row)
			if i := sameBits([]float32{g.Sum, g.SumSquares}, []float32{w.Sum, w.SumSquares}); i >= 0 {
				t.Fatalf("%d columns: %+v, want %+v", n, g, w)
			}
		}
	})
}

// TestStatsAreSums compares with sums in float64.
func TestStatsAreSums(t *testing.T) {
	s := newSource()
	row := make([]float32, 5000)
	var sum, squares float64
	for i := range row {
		row[i] = float32(s.NormFloat64()) + 0.25
		v := float64(row[i])
		sum, squares = sum+v, squares+v*v
	}
	got := Stats(row)
	if math.Abs(float64(got.Sum)-sum) > 1e-2 || math.Abs(float64(got.SumSquares)-squares) > 1e-2 {
		t.Errorf("Stats = %+v, want %g, %g", got, sum, squares)
	}
}

func TestAddScaled(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			row, got := s.floats(n, true), s.floats(n+n%3, false)
			for _, negative := range []bool{false, true} {
				want := slices.Clone(got)
				for j, v := range row {
					if negative {
						v = -v
					}
					want[j] += v
				}
				p.addScaled(got, row, negative)
				if i := sameBits(got, want); i >= 0 {
					t.Fatalf("%d columns, negative %v: column %d is %g, want %g", n, negative, i, got[i], want[i])
				}
			}
		}
		p.addScaled(make([]float32, 3), make([]float32, 100), false) // must stay inside the shorter slice
	})
}

func TestSquares(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			row, gain := s.floats(n, false), s.floats(n+n%3, false)
			plain := 0.0
			for j, v := range row {
				x := float64(v) * float64(gain[j])
				plain += x * x
			}
			got, want := p.squares(row, gain), pathPure.squares(row, gain)
			if got != want || math.Abs(got-plain) > 1e-12*plain {
				t.Fatalf("%d values: %g, plain Go says %g, one sum %g", n, got, want, plain)
			}
		}
		if got := p.squares(make([]float32, 3), make([]float32, 100)); got != 0 {
			t.Errorf("squares of zeros: %g", got)
		}
		if got := p.squares([]float32{1, float32(math.Inf(1))}, []float32{1, 1}); !math.IsInf(got, 1) {
			t.Errorf("squares of an infinity: %g", got)
		}
	})
}

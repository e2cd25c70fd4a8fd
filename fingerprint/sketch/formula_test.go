package sketch

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainPredictable says the same as predictable, every sum written out.
func plainPredictable(row []float32) bool {
	x := row[(len(row)-min(len(row), 1024))/2:][:min(len(row), 1024)]
	var a [order][order + 1]float64
	energy := 0.0
	for n := order; n < len(x); n++ {
		energy += float64(x[n]) * float64(x[n])
		for i := range order {
			for j := i; j < order; j++ {
				a[i][j] += float64(x[n-1-i]) * float64(x[n-1-j])
			}
			a[i][order] += float64(x[n-1-i]) * float64(x[n])
		}
	}
	if energy == 0 || math.IsNaN(energy) || math.IsInf(energy, 0) {
		return false
	}
	rest := 0.0
	for c, n := solve(&a), order; n < len(x); n++ {
		e := float64(x[n])
		for i := range order {
			e -= c[i] * float64(x[n-1-i])
		}
		rest += e * e
	}
	return rest < 1e-3*energy
}

func TestPredictableAgreesWithPlainSums(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	shapes := map[string]func(n int) float64{
		"sine":        func(n int) float64 { return math.Sin(.37*float64(n) + .2) },
		"two sines":   func(n int) float64 { return math.Sin(.1*float64(n)) + .3*math.Cos(1.7*float64(n)) },
		"Hann sine":   func(n int) float64 { return (1 - math.Cos(.02*float64(n))) * math.Sin(.5*float64(n)) },
		"exponential": func(n int) float64 { return math.Pow(.98, float64(n)) },
		"growing":     func(n int) float64 { return math.Pow(2, float64(n%120)/2) },
		"parabola":    func(n int) float64 { return float64(n*n) - 50 },
		"weights":     func(int) float64 { return r.NormFloat64() },
		"constant":    func(int) float64 { return 3 },
		"zero":        func(int) float64 { return 0 },
		"infinite":    func(n int) float64 { return math.Inf(1) },
		"huge":        func(int) float64 { return 1e30 * r.NormFloat64() },
	}
	took := map[bool]int{}
	for name, value := range shapes {
		for _, length := range []int{4 * order, 63, 64, 100, 1000, 1024, 1025, 4096} {
			for _, noise := range []float64{0, 1e-3, 3e-2, 3.1e-2, 3.2e-2, 4e-2, .05, .3} {
				row := make([]float32, length)
				for n := range row {
					row[n] = float32(value(n) + noise*r.NormFloat64())
				}
				got := predictable(row, 0)
				if want := plainPredictable(row); got != want {
					t.Errorf("%s of %d with noise %g: %v, plain sums say %v", name, length, noise, got, want)
				}
				took[got]++
			}
		}
	}
	if took[true] < 50 || took[false] < 50 {
		t.Errorf("rows tried are too much alike: %v", took)
	}
}

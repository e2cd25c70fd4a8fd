package sketch

import "math"

// formulaRows is how many rows and columns are tested.
const formulaRows = 8

// order of the linear recurrence. Eight terms follow sinusoids, exponentials,
// polynomials and windowed sinusoids (a Hann window times a sine needs six): the
// rows or columns of STFT and DCT bases, position tables, RoPE caches, ALiBi
// slopes. Trained weights are noise to it.
const order = 8

// formulaTest counts rows and columns that a formula made.
type formulaTest struct {
	rows, rowHits, columns, columnHits int
}

func (f *formulaTest) add(row []float32) {
	f.rows++
	if f.rowHits == f.rows-1 && predictable(row) { // one that follows no formula settles it
		f.rowHits++
	}
}

func (f *formulaTest) addColumn(column []float32) {
	f.columns++
	if f.columnHits == f.columns-1 && predictable(column) {
		f.columnHits++
	}
}

// constant reports whether all tested rows, or all tested columns, follow a
// formula.
func (f *formulaTest) constant() bool {
	return f.rows >= 4 && f.rowHits == f.rows || f.columns >= 4 && f.columnHits == f.columns
}

// predictable reports whether a linear recurrence of the given order leaves less
// than a thousandth of the row's energy unexplained.
func predictable(row []float32) bool {
	x := row[:min(len(row), 1024)]
	if len(x) < 4*order {
		return false
	}
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
	coefficients := solve(&a)
	rest := 0.0
	for n := order; n < len(x); n++ {
		e := float64(x[n])
		for i, c := range coefficients {
			e -= c * float64(x[n-1-i])
		}
		rest += e * e
	}
	return rest < 1e-3*energy
}

// solve solves the normal equations (upper triangle and right side in a) with a
// slight ridge, by Gaussian elimination on the symmetric matrix.
func solve(a *[order][order + 1]float64) [order]float64 {
	trace := 0.0
	for i := range order {
		trace += a[i][i]
		for j := range i {
			a[i][j] = a[j][i]
		}
	}
	for i := range order {
		a[i][i] += trace * 1e-10
	}
	for i := range order {
		for r := i + 1; r < order; r++ {
			f := a[r][i] / a[i][i]
			for c := i; c <= order; c++ {
				a[r][c] -= f * a[i][c]
			}
		}
	}
	var out [order]float64
	for i := order - 1; i >= 0; i-- {
		v := a[i][order]
		for c := i + 1; c < order; c++ {
			v -= a[i][c] * out[c]
		}
		out[i] = v / a[i][i]
	}
	return out
}

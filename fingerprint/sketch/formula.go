package sketch

import "math"

// formulaRows is how many rows and columns are tested at most, and formulaLeast how
// many must have been: rows of one value say nothing.
const (
	formulaRows  = 16
	formulaLeast = 4
)

// order of the linear recurrence. Eight terms follow sinusoids, exponentials,
// polynomials and windowed sinusoids (a Hann window times a sine needs six): the
// rows or columns of STFT and DCT bases, position tables, RoPE caches, ALiBi
// slopes. Trained weights are noise to it.
const order = 8

// Formula counts rows and says whether a formula made all of them. The zero value is
// ready.
type Formula struct {
	rows, hits int
	thorough   bool // look for repetitions, too
}

// Add tests a row, which it leaves as it is. One that follows no formula settles it.
func (f *Formula) Add(row []float32) {
	if f.hits < f.rows || flat(row) {
		return
	}
	if mean := centre(row); piecewise(row, mean) || predictable(row, mean) {
		f.rows, f.hits = f.rows+1, f.hits+1
		return
	}
	yes, says := false, true
	if f.thorough {
		yes, says = repeats(row)
	}
	if says {
		f.rows++
	}
	if yes {
		f.hits++
	}
}

// centre returns the mean of a row, which is taken out of it before it is tested: vectors of norms
// are 1 and a little noise, and that is no formula. It is 0 where it is not finite.
func centre(row []float32) float32 {
	var a, b, c, d float64 // sums that do not wait for each other
	n := 0
	for ; n+4 <= len(row); n += 4 {
		a += float64(row[n])
		b += float64(row[n+1])
		c += float64(row[n+2])
		d += float64(row[n+3])
	}
	for ; n < len(row); n++ {
		a += float64(row[n])
	}
	mean := float32((a + b + c + d) / float64(len(row)))
	if math.IsNaN(float64(mean)) || math.IsInf(float64(mean), 0) {
		return 0
	}
	return mean
}

// Holds reports whether enough rows were tested, and all of them follow a formula.
func (f *Formula) Holds() bool { return f.rows >= formulaLeast && f.hits == f.rows }

// flat reports whether all values of a row are equal.
func flat(row []float32) bool {
	for _, v := range row {
		if v != row[0] {
			return false
		}
	}
	return true
}

// piecewise reports whether a row, less its mean, is a few straight pieces: masks of attention,
// identities, windows, filter banks, whatever their scale and with -Inf in them too.
// A value counts as explained when it repeats the one before or, up to the rounding
// of 8-bit mantissas, lies on the line of the two before. Of trained weights that
// holds for a few per cent by chance, of ternary ones for half, and of pruned ones
// for as many as are zero: those with one weight in 400 left would pass for tables.
func piecewise(row []float32, mean float32) bool {
	breaks, most := 0, 6+len(row)/128
	for n := 2; n < len(row); n++ {
		x, y, z := row[n]-mean, row[n-1]-mean, row[n-2]-mean
		if x == y {
			continue
		}
		scale := max(abs(x), abs(y), abs(z))
		if abs(x-2*y+z) <= scale/32 && !math.IsInf(float64(scale), 0) {
			continue
		}
		if breaks++; breaks > most {
			return false
		}
	}
	return len(row) >= MinLength
}

// Bounds of the search for repetitions.
const (
	repeatWindow = 4096 // values in the middle of a row
	longestLag   = 1024
	leastCounted = 8  // values that say something
	manyCounted  = 24 // of so many and more a few may be new
)

// repeats reports whether a row is made of values that repeat the one before, or the one a period
// ago up to a sign that is the same for all: columns of positions and masks in two dimensions, masks that
// stride, Hadamard matrices. What more than half of the row is (the zeros of pruned weights, the nothing of masks)
// does not count; rows of one value more, a few times, say nothing.
func repeats(row []float32) (yes, says bool) {
	x := row[(len(row)-min(len(row), repeatWindow))/2:][:min(len(row), repeatWindow)]
	counts := others(x)
	runs, counted, equal := 0, 0, true
	var first float32
	for n := 1; n < len(x); n++ {
		if !counts(x[n]) {
			continue
		}
		if counted++; counted == 1 {
			first = x[n]
		}
		equal = equal && x[n] == first
		if x[n] == x[n-1] {
			runs++
		}
	}
	if counted < leastCounted {
		return false, !equal
	}
	if counted >= manyCounted && (counted-runs)*8 <= counted {
		return true, true
	}
	// A period is tried if it explains the last value, of those that count and begin a run, or one of two before it.
	anchors := 3
	for at := len(x) - 1; at > leastCounted && anchors > 0; at-- {
		if x[at] == x[at-1] || !counts(x[at]) {
			continue
		}
		anchors--
		for lag := 2; lag <= min(at, len(x)/2, len(x)-2*manyCounted, longestLag); lag++ {
			if near(x[at], x[at-lag]) && periodic(x, lag, 1, counts) || near(x[at], -x[at-lag]) && periodic(x, lag, -1, counts) {
				return true, true
			}
		}
	}
	return false, true
}

// periodic reports whether all that counts, but for one value in 16 of many, repeats the value before or
// the one a lag ago. Of signs drawn at random one in four does neither.
func periodic(x []float32, lag int, sign float32, counts func(float32) bool) bool {
	counted, fresh := 0, 0
	for n := lag; n < len(x); n++ {
		if !counts(x[n]) {
			continue
		}
		counted++
		if x[n] != x[n-1] && !near(x[n], sign*x[n-lag]) {
			if fresh++; fresh*16 > len(x) {
				return false
			}
		}
	}
	return counted >= leastCounted && fresh == 0 || counted >= manyCounted && fresh*16 <= counted
}

// near allows for the last bits of a number that was computed in two ways.
func near(x, y float32) bool { return x == y || abs(x-y) <= 1e-5*abs(x) }

// others tells the values of a row from the one that more than half of it are, if there is one
// (Boyer and Moore's vote, 1981).
func others(row []float32) func(float32) bool {
	most, lead, n := float32(0), 0, 0
	for _, v := range row {
		switch {
		case lead == 0:
			most, lead = v, 1
		case v == most:
			lead++
		default:
			lead--
		}
	}
	for _, v := range row {
		if v == most {
			n++
		}
	}
	if 2*n <= len(row) {
		return func(float32) bool { return true }
	}
	return func(v float32) bool { return v != most }
}

func abs(v float32) float32 { return float32(math.Abs(float64(v))) }

// predictable reports whether a linear recurrence of the given order leaves less
// than a thousandth of the row's energy unexplained, its mean taken out.
func predictable(row []float32, mean float32) bool {
	if len(row) < 4*order {
		return false
	}
	var values [1024]float64
	x := values[:min(len(row), len(values))]
	row = row[(len(row)-len(x))/2:] // filters of short tones are zero but in the middle
	for n := range x {
		x[n] = float64(row[n] - mean)
	}
	p := products(x)
	energy := p[0][0]
	if energy == 0 || math.IsNaN(energy) || math.IsInf(energy, 0) {
		return false
	}
	var a [order][order + 1]float64
	for i := range order {
		copy(a[i][i:order], p[i+1][i+1:])
		a[i][order] = p[0][i+1]
	}
	coefficients := solve(&a)
	// What the products say is left is good to many digits, and nearly every row of weights ends here.
	if left(&p, &coefficients) > 2e-3*energy {
		return false
	}
	rest := 0.0
	for n := order; n < len(x); n++ {
		e := x[n]
		for i, c := range coefficients {
			e -= c * x[n-1-i]
		}
		rest += e * e
	}
	return rest < 1e-3*energy
}

// products returns the sums of x[n-i] x[n-j] over n from order on, for i <= j. Those further down a
// diagonal differ by the terms at the two ends only (Makhoul, Linear prediction, 1975: covariance method).
func products(x []float64) (p [order + 1][order + 1]float64) {
	for j := range p {
		p[0][j] = dot(x[order:], x[order-j:])
	}
	last := len(x) - 1
	for i := range order {
		for j := i; j < order; j++ {
			p[i+1][j+1] = p[i][j] + x[order-1-i]*x[order-1-j] - x[last-i]*x[last-j]
		}
	}
	return p
}

// dot is over the length of x, in four sums that do not wait for each other.
func dot(x, y []float64) float64 {
	var a, b, c, d float64
	y = y[:len(x)]
	n := 0
	for ; n+4 <= len(x); n += 4 {
		a += x[n] * y[n]
		b += x[n+1] * y[n+1]
		c += x[n+2] * y[n+2]
		d += x[n+3] * y[n+3]
	}
	for ; n < len(x); n++ {
		a += x[n] * y[n]
	}
	return a + b + c + d
}

// left is the energy that the recurrence leaves, by the products alone.
func left(p *[order + 1][order + 1]float64, coefficients *[order]float64) float64 {
	sum := p[0][0]
	for i, c := range coefficients {
		sum -= 2 * c * p[0][i+1]
		for j, d := range coefficients {
			sum += c * d * p[min(i, j)+1][max(i, j)+1]
		}
	}
	return sum
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

package fingerprint

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"weightwarden/fingerprint/sketch"
)

// minCommon is how many rows two samples must have in common to be compared.
const minCommon = 8

// sketches finds, for every registered tensor that was not found exactly, the
// suspect tensor that is most like it, and bounds the probability that
// independent models agree as well.
func (c *comparer) sketches() {
	var pairs []alignment
	testable := 0
	for t := range c.reg.Tensors {
		rt := &c.reg.Tensors[t]
		if rt.Sketch == nil || rt.Constant != "" {
			continue
		}
		testable++
		if c.found[t].share == 1 {
			continue
		}
		if a, ok := c.align(t); ok {
			pairs = append(pairs, a)
		}
	}
	c.boundRows(pairs, testable)
	if c.rowLogP <= maxLogP {
		for _, a := range pairs {
			c.creditRows(a)
			c.creditParts(a.registered, a.parts)
		}
	}
}

// alignment is the best partner of a registered tensor.
type alignment struct {
	registered, suspect int
	transposed          bool
	segment             *sketch.Segment // nil: the suspect tensor from its first row on
	distance            float64         // mean share of bits that differ, 0 to 1
	rows                int             // sampled rows that the two have in common
	hits, tested        int
	tried               int
	parts               []part // that together hold more of it
}

// align tries every suspect tensor of fitting length, in both orientations, and
// the places that were read for this one.
func (c *comparer) align(t int) (alignment, bool) {
	r := c.reg.Tensors[t].Sketch
	best := alignment{registered: t, suspect: -1, distance: 1}
	own := newSide(t, false, r.Aligned)
	sides, tried := c.partners.candidates(&own, r.Length)
	for _, k := range sides {
		// Of equally near tensors (tied, repeated) the first wins.
		if d, n := meanDistance(r, k.rows); best.beaten(d, n) {
			best.suspect, best.transposed, best.distance, best.rows = k.tensor, k.transposed, d, n
		}
	}
	for _, s := range c.segmented {
		tried += best.alignSegments(s, t, r, c.sus.Tensors[s].Sketch)
	}
	best.tried = tried
	if best.suspect < 0 {
		return best, false
	}
	rows, _ := facing(r, c.sus.Tensors[best.suspect].Sketch, best.transposed)
	if best.segment != nil {
		rows = best.segment.Rows
	}
	best.hits, best.tested = nearestHits(r, rows)
	if best.distance <= probeNear {
		best.parts = c.parts(t, sides, tried)
	}
	return best, true
}

// alignSegments tries the places of tensor t that were read for it.
func (best *alignment) alignSegments(s, t int, r, k *sketch.Tensor) (tried int) {
	for i := range k.Segments {
		g := &k.Segments[i]
		if g.Registered != t || k.Length != r.Length {
			continue
		}
		d, n := meanDistance(r, g.Rows)
		if n < minCommon {
			continue
		}
		tried++
		if best.beaten(d, n) {
			best.suspect, best.transposed, best.distance, best.rows, best.segment = s, false, d, n, g
		}
	}
	return tried
}

// beaten reports whether an alignment of so many rows, this far apart on average, is a better
// one: a part of the tensor is no better than the whole for being a little nearer.
func (best *alignment) beaten(distance float64, rows int) bool {
	const little = .02
	switch {
	case best.suspect < 0 || max(distance, best.distance) > probeNear:
	case rows > best.rows+best.rows/4:
		return distance < best.distance+little
	case best.rows > rows+rows/4:
		return distance < best.distance-little
	}
	return distance < best.distance
}

// facing returns the suspect's rows that lie along the registered rows.
func facing(r, k *sketch.Tensor, transposed bool) ([]sketch.Row, bool) {
	if transposed {
		// Columns of the suspect have as many elements as it has rows.
		return k.Columns, len(k.Columns) > 0 && k.Count == r.Length
	}
	return k.Aligned, k.Length == r.Length
}

// common calls f for the pairs of rows that have the same number.
func common(r *sketch.Tensor, rows []sketch.Row, f func(a, b *sketch.Row)) {
	if len(rows) == len(r.Aligned) && len(rows) > 0 && rows[len(rows)-1].Index == r.Aligned[len(rows)-1].Index {
		for i := range rows {
			if rows[i].Index == r.Aligned[i].Index && rows[i].Norm > 0 && r.Aligned[i].Norm > 0 {
				f(&r.Aligned[i], &rows[i])
			}
		}
		return
	}
	at := make(map[int64]int, len(rows))
	for i := range rows {
		at[rows[i].Index] = i
	}
	for i := range r.Aligned {
		if k, ok := at[r.Aligned[i].Index]; ok && rows[k].Norm > 0 && r.Aligned[i].Norm > 0 {
			f(&r.Aligned[i], &rows[k])
		}
	}
}

func meanDistance(r *sketch.Tensor, rows []sketch.Row) (float64, int) {
	sum, n := 0, 0
	common(r, rows, func(a, b *sketch.Row) {
		sum += hamming(&a.Bits, &b.Bits)
		n++
	})
	if n == 0 {
		return 1, 0
	}
	return float64(sum) / float64(n*r.Buckets), n
}

func hamming(a, b *sketch.Bits) int {
	return bits.OnesCount64(a[0]^b[0]) + bits.OnesCount64(a[1]^b[1]) +
		bits.OnesCount64(a[2]^b[2]) + bits.OnesCount64(a[3]^b[3])
}

// nearestHits counts the suspect rows whose nearest registered row, of those in
// the common sample, is the one at the same place. A tie is no hit.
func nearestHits(r *sketch.Tensor, rows []sketch.Row) (hits, tested int) {
	var reg, sus []*sketch.Row
	common(r, rows, func(a, b *sketch.Row) { reg, sus = append(reg, a), append(sus, b) })
	for i, s := range sus {
		own := hamming(&reg[i].Bits, &s.Bits)
		nearest := true
		for k, other := range reg {
			if k != i && hamming(&other.Bits, &s.Bits) <= own {
				nearest = false
				break
			}
		}
		if nearest {
			hits++
		}
	}
	return hits, len(sus)
}

// Aligned is the outcome of the aligned test for one registered tensor.
type Aligned struct {
	Hits   int // sampled rows whose nearest registered row is at the same place
	Tested int // rows sampled
	Tried  int // alignments that the best one was chosen from
}

// AlignedBound bounds the probability that an independent model has as many hits
// as the best of the given tensors, out of testable registered ones. It returns
// its natural logarithm and how many of the tensors, taken by falling hits, give it.
//
// For one alignment of independent tensors the number of hits K obeys
// E[binomial(K, k)] <= 1/k!, so its generating function is at most that of a
// Poisson(1). For the best of A alignments, E[e^(zK)] <= A exp(e^z - 1). Summed over
// m tensors chosen, after looking, from T testable ones:
//
//	P(K >= k) <= C(T, m) A^m exp(-m) (e m / k)^k   for k > m
//
// and once more times T for the choice of m.
func AlignedBound(tensors []Aligned, testable int) (logP float64, m int) {
	sorted := slices.Clone(tensors)
	slices.SortStableFunc(sorted, func(a, b Aligned) int { return cmp.Compare(b.Hits, a.Hits) })
	hits, tries := 0, 0.0
	for i, a := range sorted {
		hits += a.Hits
		tries += math.Log(float64(max(1, a.Tried)))
		n, k := float64(i+1), float64(hits)
		if k <= n {
			continue
		}
		p := logChoose(testable, i+1) + tries - n + k*(1+math.Log(n)-math.Log(k)) + math.Log(float64(testable))
		if p < logP {
			logP, m = p, i+1
		}
	}
	return logP, m
}

// boundRows applies AlignedBound to the pairs found.
func (c *comparer) boundRows(pairs []alignment, testable int) {
	tensors := outcomes(pairs)
	if c.rowLogP, c.rowCount = AlignedBound(tensors, testable); c.rowLogP <= maxLogP {
		tensors = c.distinct(pairs)
		c.rowLogP, c.rowCount = AlignedBound(tensors, testable)
	}
	slices.SortStableFunc(tensors, func(a, b Aligned) int { return cmp.Compare(b.Hits, a.Hits) })
	for _, a := range tensors[:c.rowCount] {
		c.rowHits += a.Hits
		c.rowTested += a.Tested
	}
}

func outcomes(pairs []alignment) []Aligned {
	tensors := make([]Aligned, len(pairs))
	for i, a := range pairs {
		tensors[i] = Aligned{a.hits, a.tested, a.tried}
	}
	return tensors
}

// logChoose is the natural logarithm of n over k.
func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	d, _ := math.Lgamma(float64(n - k + 1))
	return a - b - d
}

// creditRows books a tensor as found when its own rows say so: hits that an
// independent tensor reaches with probability under 1e-4 in the alignments tried, and bits that agree more
// often than by chance. Gates and up projections of one layer have hits of each other without.
func (c *comparer) creditRows(a alignment) {
	bits := float64(a.rows * c.reg.Tensors[a.registered].Sketch.Buckets)
	if !unlikely(a.hits, a.tried) || a.distance > .5-1.5/math.Sqrt(bits) {
		return
	}
	f, rt, st := &c.found[a.registered], &c.reg.Tensors[a.registered], &c.sus.Tensors[a.suspect]
	share := 1.0
	n := cmp.Or(st.Sketch.Have, st.Sketch.Count)
	if a.transposed {
		n = st.Sketch.Length
	}
	if n < rt.Sketch.Count {
		share = float64(n) / float64(rt.Sketch.Count)
	}
	if f.share >= share {
		return
	}
	f.share, f.suspect, f.hits, f.tested, f.aligned = share, a.suspect, a.hits, a.tested, true
	f.cosine = math.Cos(math.Pi * a.distance)
	f.relation = relationOf(rt, st, a.distance, a.transposed || a.segment != nil || st.Moved != "" || st.Sketch.Places > 0 || n != rt.Sketch.Count)
	if a.transposed {
		f.transform = "transposed"
	} else if st.Moved != "" {
		f.transform = st.Moved
	} else if a.segment != nil {
		f.transform = segmentText(a.segment.Offset, n, rt.Sketch.Count)
	} else if st.Sketch.Count > rt.Sketch.Count {
		f.transform = "first rows of a taller tensor"
	} else if st.Sketch.Have > 0 {
		f.transform = fmt.Sprintf("%d of %d rows", n, rt.Sketch.Count)
	} else if share < 1 {
		f.transform = "first rows"
	}
}

// segmentText says where in the suspect a registered tensor lies, or which part of
// it the suspect is.
func segmentText(offset, suspectRows, registeredRows int64) string {
	if offset >= 0 {
		return fmt.Sprintf("in rows %d-%d of a larger tensor", offset, offset+registeredRows-1)
	}
	return fmt.Sprintf("rows %d-%d only", -offset, -offset+suspectRows-1)
}

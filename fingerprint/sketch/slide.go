package sketch

// SlideBits is how many bits of a row sketch Slide computes: of unrelated rows one in
// 16 million agrees in all of them.
const SlideBits = 24

// Slide computes the first SlideBits bits of the sketch of every run of length values,
// as if a row began there: out[o] is that of values[o : o+length]. It is how rows are
// found where nothing says where rows begin. len(values) must be at least
// len(out)+length-1. The mean is not taken out and nothing is clipped: both are small
// next to the sums, and the caller may clip values beforehand; so a bit whose sum is
// near zero may differ from that of RowOf.
//
// The sum of bit b at o+1 is over other weights than that at o, with other signs, so
// nothing can be carried along; what helps is that sums of neighbouring o read
// neighbouring values with one sign.
func (m *Maker) Slide(out []uint32, values []float32, length int) {
	signs := m.signsFor(length)
	step := buckets(int64(length))
	clear(out)
	sums := make([]float32, min(len(out), slideBatch))
	for from := 0; from < len(out); from += slideBatch {
		batch := out[from:min(len(out), from+slideBatch)]
		for b := range SlideBits {
			sums := sums[:len(batch)]
			clear(sums)
			slideBit(sums, values[from:], signs, b, step, length)
			for i, s := range sums {
				if s > 0 {
					batch[i] |= 1 << b
				}
			}
		}
	}
}

// slideBatch is how many sums are worked on at a time: they stay in a core's
// first-level cache.
const slideBatch = 1 << 11

// slideBit adds up one bucket for every place.
func slideBit(sums, values []float32, signs []uint32, bit, step, length int) {
	n := len(sums)
	sign := func(j int) float32 { return float32(1 - 2*int(signs[j/32]>>(j%32)&1)) }
	j := bit
	for ; j+3*step < length; j += 4 * step {
		a, b, c, d := values[j:][:n], values[j+step:][:n], values[j+2*step:][:n], values[j+3*step:][:n]
		sa, sb, sc, sd := sign(j), sign(j+step), sign(j+2*step), sign(j+3*step)
		for i := range sums {
			sums[i] += float32(sa*a[i]) + float32(sb*b[i]) + float32(sc*c[i]) + float32(sd*d[i])
		}
	}
	for ; j < length; j += step {
		a, sa := values[j:][:n], sign(j)
		for i := range sums {
			sums[i] += float32(sa * a[i])
		}
	}
}

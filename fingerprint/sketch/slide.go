package sketch

import (
	"math"

	"weightwarden/fingerprint/internal/simd"
)

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
				batch[i] |= positive(s) << b
			}
		}
	}
}

// slideBatch is how many sums are worked on at a time: they stay in a core's
// first-level cache.
const slideBatch = 1 << 11

// positive is 1 above zero and else 0, without a branch that nobody could foresee: weights are as often negative.
func positive(v float32) uint32 { return uint32(-int32(math.Float32bits(v))) >> 31 }

// slideBit adds up one bucket for every place.
func slideBit(sums, values []float32, signs []uint32, bit, step, length int) {
	for j := bit; j < length; j += step {
		simd.AddScaled(sums, values[j:], signs[j/32]>>(j%32)&1 == 1)
	}
}

package simd

import "os"

// path is one implementation of all kernels.
type path uint8

const (
	pathPure path = iota
	pathAVX2
	pathAVX512 // the kernels of AVX2, wider ones of those that cost most, and one more for hashing
	pathNEON
)

// String returns the name that WEIGHTWARDEN_SIMD takes.
func (p path) String() string {
	return [...]string{pathPure: "pure", pathAVX2: "avx2", pathAVX512: "avx512", pathNEON: "neon"}[p]
}

// active is the path of this process.
var active = choose(os.Getenv("WEIGHTWARDEN_SIMD"))

// Active names the path in use: "pure", "avx2", "avx512" or "neon". It is the best that the processor has unless the environment
// variable WEIGHTWARDEN_SIMD names another that it has too.
func Active() string { return active.String() }

// HasBlocks reports whether the path in use has kernels for block types; without them, decoders that are written for
// speed in plain Go do better than the ones here, which are written to define the result.
func HasBlocks() bool { return active.hasBlocks() }

func (p path) hasBlocks() bool { return p.avx2() }

func (p path) hasHash() bool { return p == pathAVX512 }

// avx2 reports whether the kernels of AVX2 are to be used.
func (p path) avx2() bool { return p == pathAVX2 || p == pathAVX512 }

// choose returns the path called wanted if this build and this processor have it, else the best they have.
func choose(wanted string) path {
	have := available()
	for _, p := range have {
		if p.String() == wanted {
			return p
		}
	}
	return have[len(have)-1]
}

func (p path) findCut(data []byte, c1, c2, threshold uint32, from int) int {
	if threshold == 0 {
		return -1
	}
	from = (max(from, 0) + 3) &^ 3
	from = p.skipUncut(data, c1, c2, threshold, from)
	return findCutPure(data, c1, c2, threshold, from)
}

func (p path) accumulate(acc, row []float32, signs []uint32) {
	row = row[:min(len(row), 32*len(signs))]
	accumulatePure(acc, row, signs, p.accumulateGroups(acc, row, signs))
}

func (p path) accumulateClipped(acc, row []float32, signs []uint32, mean, limit float32) {
	row = row[:min(len(row), 32*len(signs))]
	accumulateClippedPure(acc, row, signs, mean, limit, p.accumulateClippedGroups(acc, row, signs, mean, limit))
}

func (p path) stats(row []float32) RowStats {
	var s partial
	s.addPure(row, p.statsGroups(&s, row))
	return s.total()
}

func (p path) addScaled(cols, row []float32, negative bool) {
	n := min(len(cols), len(row))
	cols, row = cols[:n], row[:n]
	addScaledPure(cols, row, negative, p.addScaledGroups(cols, row, negative))
}

func (p path) squares(row, gain []float32) float64 {
	n := min(len(row), len(gain))
	row, gain = row[:n], gain[:n]
	var sums [squareLanes]float64
	squaresPure(&sums, row, gain, p.squaresGroups(&sums, row, gain))
	for half := squareLanes / 2; half > 0; half /= 2 {
		for i := range half {
			sums[i] += sums[i+half]
		}
	}
	return sums[0]
}

func (p path) widen(dst []float32, src []byte, w widening) int {
	n := min(len(dst), len(src)/w.size())
	dst, src = dst[:n], src[:n*w.size()]
	widenPure(dst, src, w, p.widenGroups(dst, src, w))
	return n
}

func (p path) decodeBlocks(dst []float32, src []byte, b block) int {
	values, size := b.shape()
	n := min(len(dst)/values, len(src)/size)
	dst, src = dst[:n*values], src[:n*size]
	done := p.decodeSomeBlocks(dst, src, b)
	decodeBlocksPure(dst[done*values:], src[done*size:], b)
	return n * values
}

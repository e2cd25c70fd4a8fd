//go:build !purego

package simd

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// available lists the paths this processor has, the best last. The kernels need AVX2 for integers and F16C for binary16;
// no processor is known that has the first without the second, but both are asked for.
func available() []path {
	switch {
	case !cpuid.CPU.Supports(cpuid.AVX2, cpuid.F16C):
		return []path{pathPure}
	case !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512VL):
		return []path{pathPure, pathAVX2}
	}
	return []path{pathPure, pathAVX2, pathAVX512}
}

// The methods below do as much of the work as whole groups allow and return where plain Go goes on.

// skipUncut returns a position from which FindCut finds the same cut as from the given one.
func (p path) skipUncut(data []byte, c1, c2, threshold uint32, from int) int {
	const group = 128 // bytes; the last position of a group reads 4 more
	from = p.skipUncutWide(data, c1, c2, threshold, from)
	groups := (len(data) - from - 4) / group
	if !p.avx2() || groups <= 0 {
		return from
	}
	return from + group*cutGroupsAVX2(&data[from], groups, c1, c2, threshold-1)
}

// skipUncutWide is skipUncut in wider steps.
func (p path) skipUncutWide(data []byte, c1, c2, threshold uint32, from int) int {
	const group = 256 // bytes
	groups := (len(data) - from - 4) / group
	if p != pathAVX512 || groups <= 0 {
		return from
	}
	return from + group*cutGroupsAVX512(&data[from], groups, c1, c2, threshold-1)
}

// accumulateGroups takes whole groups of 64 columns in, stripe after stripe of 64 buckets.
func (p path) accumulateGroups(acc, row []float32, signs []uint32) int {
	groups := len(row) / 64
	if !p.avx2() {
		return 0
	}
	for s, stripes := 0, len(acc)/64; s < min(stripes, groups); s++ {
		accumulateAVX2(&acc[64*s], &row[64*s], &signs[2*s], (groups-s+stripes-1)/stripes, stripes)
	}
	return 64 * groups
}

// clippedKernel returns the row sketch of the paths that have AVX2.
func (p path) clippedKernel() func(acc, row *float32, signs *uint32, groups, step int, mean, limit float32) {
	if p == pathAVX512 {
		return accumulateClippedAVX512
	}
	return accumulateClippedAVX2
}

func (p path) accumulateClippedGroups(acc, row []float32, signs []uint32, mean, limit float32) int {
	groups := len(row) / 64
	if !p.avx2() {
		return 0
	}
	kernel := p.clippedKernel()
	for s, stripes := 0, len(acc)/64; s < min(stripes, groups); s++ {
		kernel(&acc[64*s], &row[64*s], &signs[2*s], (groups-s+stripes-1)/stripes, stripes, mean, limit)
	}
	return 64 * groups
}

func (p path) statsGroups(s *partial, row []float32) int {
	groups := len(row) / lanes
	if !p.avx2() || groups == 0 {
		return 0
	}
	if p == pathAVX512 { // called by name, lest s move to the heap
		statsAVX512(&s.sum[0], &row[0], groups) // squares follow the sums
	} else {
		statsAVX2(&s.sum[0], &row[0], groups)
	}
	return lanes * groups
}

func (p path) addScaledGroups(cols, row []float32, negative bool) int {
	groups := len(row) / 32
	if !p.avx2() || groups == 0 {
		return 0
	}
	var flip uint32
	if negative {
		flip = 1 << 31
	}
	addScaledAVX2(&cols[0], &row[0], groups, flip)
	return 32 * groups
}

func (p path) squaresGroups(sums *[squareLanes]float64, row, gain []float32) int {
	groups := len(row) / squareLanes
	if !p.avx2() || groups == 0 {
		return 0
	}
	squaresAVX2(&sums[0], &row[0], &gain[0], groups)
	return squareLanes * groups
}

func (p path) widenGroups(dst []float32, src []byte, w widening) int {
	groups := len(dst) / 32
	if !p.avx2() || groups == 0 {
		return 0
	}
	switch w {
	case widenF32: // x86 is little-endian: the bytes are the values
		return copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)), src) / 4
	case widenF16:
		widenF16AVX2(&dst[0], &src[0], groups)
	case widenBF16:
		p.bf16Kernel()(&dst[0], &src[0], groups)
	case widenI8:
		widenI8AVX2(&dst[0], &src[0], groups)
	case widenF8E4M3:
		widenF8E4M3AVX2(&dst[0], &src[0], groups)
	case widenF8E5M2:
		widenF8E5M2AVX2(&dst[0], &src[0], groups)
	default:
		return 0
	}
	return 32 * groups
}

// bf16Kernel returns the kernel for bfloat16 of the paths that have AVX2.
func (p path) bf16Kernel() func(dst *float32, src *byte, groups int) {
	if p == pathAVX512 {
		return widenBF16AVX512
	}
	return widenBF16AVX2
}

// q4kKernel returns the kernel for Q4_K of the paths that have AVX2.
func (p path) q4kKernel() func(dst *float32, src *byte, blocks int) {
	if p == pathAVX512 {
		return decodeQ4KAVX512
	}
	return decodeQ4KAVX2
}

// decodeSomeBlocks returns the number of blocks decoded.
func (p path) decodeSomeBlocks(dst []float32, src []byte, b block) int {
	values, _ := b.shape()
	n := len(dst) / values
	if !p.avx2() || n == 0 {
		return 0
	}
	switch b {
	case blockQ8_0:
		decodeQ8_0AVX2(&dst[0], &src[0], n)
	case blockQ4_0:
		decodeQ4_0AVX2(&dst[0], &src[0], n)
	case blockQ4_K:
		p.q4kKernel()(&dst[0], &src[0], n)
	case blockQ6_K:
		decodeQ6KAVX2(&dst[0], &src[0], n)
	case blockQ5_K:
		decodeQ5KAVX2(&dst[0], &src[0], n)
	case blockQ3_K:
		decodeQ3KAVX2(&dst[0], &src[0], n)
	case blockQ2_K:
		decodeQ2KAVX2(&dst[0], &src[0], n)
	case blockIQ4_NL:
		decodeIQ4NLAVX2(&dst[0], &src[0], n)
	case blockIQ4_XS:
		decodeIQ4XSAVX2(&dst[0], &src[0], n)
	case blockMXFP4:
		decodeMXFP4AVX2(&dst[0], &src[0], n)
	default:
		return 0
	}
	return n
}

// hashLanes does what Hash16 promises, or nothing where it returns false.
func (p path) hashLanes(out *[32 * HashLanes]byte, data []byte, j *HashJob) bool {
	if !p.hasHash() {
		return false
	}
	hash16AVX512(&out[0], &data[0], j.Stride, j.Blocks, &j.Key[0], &j.Counters[0], j.Flags, j.First, j.Last, j.Length)
	return true
}

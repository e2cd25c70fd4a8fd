//go:build !purego

package simd

import (
	"unsafe"
)

// available lists the paths this processor has, the best last: every arm64 has NEON.
func available() []path { return []path{pathPure, pathNEON} }

// The methods below do as much of the work as whole groups allow and return where plain Go goes on.

// skipUncut returns a position from which FindCut finds the same cut as from the given one.
func (p path) skipUncut(data []byte, c1, c2, threshold uint32, from int) int {
	const group = 128 // bytes; the last position of a group reads 4 more
	groups := (len(data) - from - 4) / group
	if p != pathNEON || groups <= 0 {
		return from
	}
	return from + group*cutGroupsNEON(&data[from], groups, c1, c2, threshold-1)
}

// accumulateGroups takes whole groups of 64 columns in, stripe after stripe of 64 buckets.
func (p path) accumulateGroups(acc, row []float32, signs []uint32) int {
	groups := len(row) / 64
	if p != pathNEON {
		return 0
	}
	for s, stripes := 0, len(acc)/64; s < min(stripes, groups); s++ {
		accumulateNEON(&acc[64*s], &row[64*s], &signs[2*s], (groups-s+stripes-1)/stripes, stripes)
	}
	return 64 * groups
}

func (p path) accumulateClippedGroups(acc, row []float32, signs []uint32, mean, limit float32) int {
	groups := len(row) / 64
	if p != pathNEON {
		return 0
	}
	for s, stripes := 0, len(acc)/64; s < min(stripes, groups); s++ {
		accumulateClippedNEON(&acc[64*s], &row[64*s], &signs[2*s], (groups-s+stripes-1)/stripes, stripes, mean, limit)
	}
	return 64 * groups
}

func (p path) statsGroups(s *partial, row []float32) int {
	groups := len(row) / lanes
	if p != pathNEON || groups == 0 {
		return 0
	}
	statsNEON(&s.sum[0], &row[0], groups) // squares follow the sums
	return lanes * groups
}

func (p path) addScaledGroups(cols, row []float32, negative bool) int {
	groups := len(row) / 32
	if p != pathNEON || groups == 0 {
		return 0
	}
	var flip uint32
	if negative {
		flip = 1 << 31
	}
	addScaledNEON(&cols[0], &row[0], groups, flip)
	return 32 * groups
}

// squaresGroups does nothing: there is no kernel here.
func (path) squaresGroups(_ *[squareLanes]float64, _, _ []float32) int { return 0 }

func (p path) widenGroups(dst []float32, src []byte, w widening) int {
	groups := len(dst) / 32
	if p != pathNEON || groups == 0 {
		return 0
	}
	switch w {
	case widenF32: // arm64 is little-endian, as Go runs it: the bytes are the values
		return copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)), src) / 4
	case widenF16:
		widenF16NEON(&dst[0], &src[0], groups)
	case widenBF16:
		widenBF16NEON(&dst[0], &src[0], groups)
	case widenI8:
		widenI8NEON(&dst[0], &src[0], groups)
	default:
		return 0
	}
	return 32 * groups
}

// decodeSomeBlocks decodes nothing: blocks are left to plain Go here.
func (path) decodeSomeBlocks(_ []float32, _ []byte, _ block) int { return 0 }

// hashLanes does nothing: there is no kernel here.
func (path) hashLanes(_ *[32 * HashLanes]byte, _ []byte, _ *HashJob) bool { return false }

//go:build !purego

package simd

// The kernels of neon_arm64.s, with the meaning of their AVX2 namesakes.

//go:noescape
func cutGroupsNEON(data *byte, groups int, c1, c2, last uint32) int

//go:noescape
func accumulateNEON(acc, row *float32, signs *uint32, groups, step int)

//go:noescape
func accumulateClippedNEON(acc, row *float32, signs *uint32, groups, step int, mean, limit float32)

//go:noescape
func statsNEON(lanes, row *float32, groups int)

//go:noescape
func addScaledNEON(cols, row *float32, groups int, flip uint32)

//go:noescape
func widenF16NEON(dst *float32, src *byte, groups int)

//go:noescape
func widenBF16NEON(dst *float32, src *byte, groups int)

//go:noescape
func widenI8NEON(dst *float32, src *byte, groups int)

package quant

import (
	"slices"

	"weightwarden/formats"
)

// halvesOf lists where the binary16 numbers of a block lie, for the types whose
// blocks consist of such and of single bytes: those that big-endian GGUF files can
// hold (gguf's gguf_convert_endian writes Q4_0, Q8_0, Q4_K, Q6_K, MXFP4 and NVFP4).
// False for types with wider fields, of whose order nothing is known.
func halvesOf(d formats.DType) ([]int, bool) {
	switch d {
	case formats.Q4_0, formats.Q8_0, formats.IQ4_NL, formats.IQ2_S, formats.IQ3_S, formats.Q1_0, formats.Q2_0:
		return []int{0}, true
	case formats.Q4_1, formats.Q4_K, formats.Q5_K:
		return []int{0, 2}, true
	case formats.Q2_K:
		return []int{80, 82}, true
	case formats.Q3_K:
		return []int{108}, true
	case formats.Q6_K:
		return []int{208}, true
	case formats.TQ1_0:
		return []int{52}, true
	case formats.TQ2_0:
		return []int{64}, true
	case formats.MXFP4, formats.NVFP4:
		return nil, true
	}
	return nil, false
}

// swapBlocks makes the big-endian blocks in buf little-endian.
func swapBlocks(buf []byte, size int, halves []int) {
	for block := range slices.Chunk(buf, size) {
		for _, at := range halves {
			if at+1 < len(block) {
				block[at], block[at+1] = block[at+1], block[at]
			}
		}
	}
}
